#include "worker/train/weight_average.h"

#include <torch/torch.h>

#include <algorithm>

namespace graft {

void WeightAverage::Update(const Suffix& suffix) {
  if (!on()) return;
  torch::NoGradGuard no_grad;
  ++steps_;
  const double t = static_cast<double>(steps_);
  const double decay = std::min(decay_, (1 + t) / (10 + t));
  for (const auto& [name, value] : suffix.State()) {
    at::Tensor& average = averages_[name];
    if (average.defined()) {
      average.lerp_(value, 1 - decay);
    } else {
      average = value.clone();
    }
  }
}

std::map<std::string, at::Tensor> WeightAverage::Weights(const Suffix& suffix) const {
  return averages_.empty() ? suffix.State() : averages_;
}

void WeightAverage::Restore(const std::map<std::string, at::Tensor>& averages, int64_t steps) {
  averages_.clear();
  for (const auto& [name, value] : averages) averages_[name] = value.clone();
  steps_ = steps;
}

}  // namespace graft

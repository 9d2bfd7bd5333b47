#pragma once

#include <cstdint>
#include <map>
#include <string>

#include <ATen/core/Tensor.h>

#include "worker/model/suffix.h"

namespace graft {

// Exponential moving average of a suffix's weights and running statistics over its steps. The first steps count more,
// min(decay, (1 + t) / (10 + t)), so that the random beginning is forgotten (tf.train.ExponentialMovingAverage).
// Source: Polyak and Juditsky 1992.
//
// Threads: one at a time.
class WeightAverage {
 public:
  explicit WeightAverage(double decay) : decay_(decay) {}  // 0: keeps nothing

  bool on() const { return decay_ > 0; }
  void Update(const Suffix& suffix);  // after each step
  // The averages; the weights themselves before the first step or when it is off.
  std::map<std::string, at::Tensor> Weights(const Suffix& suffix) const;

  const std::map<std::string, at::Tensor>& averages() const { return averages_; }
  int64_t steps() const { return steps_; }
  void Restore(const std::map<std::string, at::Tensor>& averages, int64_t steps);

 private:
  const double decay_;
  int64_t steps_ = 0;
  std::map<std::string, at::Tensor> averages_;
};

}  // namespace graft

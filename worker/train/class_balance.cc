#include "worker/train/class_balance.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "worker/base/random.h"
#include "worker/base/status.h"

namespace graft {
namespace {

constexpr uint64_t kStream = 0x62616c;  // "bal": keeps these numbers apart from other users of the same seed

constexpr double kLargestPositiveWeight = 100;

// The pictures of each class, in their order.
std::vector<std::vector<int64_t>> ByClass(const std::vector<int>& labels, int classes) {
  std::vector<std::vector<int64_t>> pictures(classes);
  for (size_t i = 0; i < labels.size(); ++i) {
    GRAFT_CHECK(labels[i] >= 0 && labels[i] < classes);
    pictures[labels[i]].push_back(static_cast<int64_t>(i));
  }
  return pictures;
}

// Fisher-Yates.
template <typename T>
void Shuffle(std::vector<T>* values, CounterRandom* random) {
  for (size_t i = values->size(); i > 1; --i) std::swap((*values)[i - 1], (*values)[random->Below(i)]);
}

}  // namespace

absl::Status CheckForLabels(ClassBalance balance, bool multi_label) {
  if (!multi_label || balance != ClassBalance::kSampling) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "class_balance: got sampling, want none or weights: a picture of a multi-label dataset has no one class to be "
      "drawn by");
}

std::vector<double> BalancedWeights(const std::vector<int>& labels, int classes) {
  std::vector<double> weights;
  for (const std::vector<int64_t>& pictures : ByClass(labels, classes)) {
    const double fair_share = static_cast<double>(labels.size()) / classes;
    weights.push_back(pictures.empty() ? 0 : fair_share / static_cast<double>(pictures.size()));
  }
  return weights;
}

std::vector<double> PositiveWeights(const Labelling& labels, int classes) {
  std::vector<double> weights;
  for (const int64_t count : labels.Counts(classes)) {
    const auto with = static_cast<double>(count), without = static_cast<double>(labels.size()) - with;
    weights.push_back(count == 0 ? 1 : std::clamp(without / with, 1 / kLargestPositiveWeight, kLargestPositiveWeight));
  }
  return weights;
}

std::vector<int64_t> BalancedIndices(const std::vector<int>& labels, int classes, uint64_t seed, uint64_t phase,
                                     uint64_t epoch) {
  CounterRandom random{kStream, seed, phase, epoch};
  std::vector<std::vector<int64_t>> present = ByClass(labels, classes);
  present.erase(std::remove_if(present.begin(), present.end(), [](const auto& pictures) { return pictures.empty(); }),
                present.end());
  Shuffle(&present, &random);  // who is once more than the others
  std::vector<int64_t> indices;
  for (size_t i = 0; i < present.size(); ++i) {
    const size_t draws = labels.size() / present.size() + (i < labels.size() % present.size() ? 1 : 0);
    for (size_t drawn = 0; drawn < draws; ++drawn) {
      const size_t place = drawn % present[i].size();
      if (place == 0) Shuffle(&present[i], &random);
      indices.push_back(present[i][place]);
    }
  }
  Shuffle(&indices, &random);
  return indices;
}

}  // namespace graft

#include "worker/train/folds.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "worker/base/status.h"
#include "worker/data/sampler.h"

namespace graft {
namespace {

// Streams of ShuffledIndices() (its `epoch`) that no epoch of a training reaches: phase.h allows 10000.
constexpr uint64_t kFoldStream = uint64_t{1} << 30;
constexpr uint64_t kSubsetStream = kFoldStream + 1;

// The examples of each class in random order. Each class has a sequence of its own, so that one more example of a class
// does not reorder the others.
std::map<int, std::vector<int64_t>> ShuffledClasses(const std::vector<int>& labels, uint64_t seed, uint64_t stream) {
  std::map<int, std::vector<int64_t>> classes;
  for (size_t i = 0; i < labels.size(); ++i) classes[labels[i]].push_back(static_cast<int64_t>(i));
  for (auto& [label, examples] : classes) {
    const auto count = static_cast<int64_t>(examples.size());
    std::vector<int64_t> shuffled;
    for (const int64_t place : ShuffledIndices(count, seed, static_cast<uint64_t>(label), stream)) {
      shuffled.push_back(examples[place]);
    }
    examples = std::move(shuffled);
  }
  return classes;
}

}  // namespace

std::vector<int> StratifiedFolds(const std::vector<int>& labels, int folds, uint64_t seed) {
  GRAFT_CHECK(folds >= 1);
  std::vector<int> fold_of(labels.size());
  int64_t dealt = 0;  // a class goes on at the fold where the one before it stopped: whole folds stay even too
  for (const auto& [label, examples] : ShuffledClasses(labels, seed, kFoldStream)) {
    for (const int64_t example : examples) fold_of[example] = static_cast<int>(dealt++ % folds);
  }
  return fold_of;
}

std::vector<int64_t> StratifiedSubset(const std::vector<int>& labels, double fraction, uint64_t seed) {
  GRAFT_CHECK(fraction >= 0 && fraction <= 1);
  std::vector<int64_t> subset;
  for (const auto& [label, examples] : ShuffledClasses(labels, seed, kSubsetStream)) {
    // Rounded class by class: this count grows with the fraction, which nesting needs and largest remainders lack.
    const int64_t count = std::max<int64_t>(1, std::llround(fraction * static_cast<double>(examples.size())));
    subset.insert(subset.end(), examples.begin(), examples.begin() + count);
  }
  std::sort(subset.begin(), subset.end());
  return subset;
}

}  // namespace graft

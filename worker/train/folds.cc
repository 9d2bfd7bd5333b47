#include "worker/train/folds.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <utility>

#include "worker/base/random.h"
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

using LabelSets = std::vector<std::vector<int>>;

// Sechidis et al. 2011, algorithm 1, into folds of equal shares.
class IterativeStratification {
 public:
  IterativeStratification(const LabelSets& sets, const std::vector<int64_t>& examples, int folds,
                          CounterRandom* random)
      : sets_(sets), examples_(examples), random_(*random), fold_of_(examples.size(), kNone) {
    for (const int64_t example : examples) labels_.insert(labels_.end(), sets[example].begin(), sets[example].end());
    std::sort(labels_.begin(), labels_.end());
    labels_.erase(std::unique(labels_.begin(), labels_.end()), labels_.end());
    places_of_.resize(labels_.size());
    const auto count = static_cast<int64_t>(examples.size());
    for (const int64_t place : ShuffledIndices(count, random_.Next(), 0, kFoldStream)) {
      places_.push_back(place);
      for (const int label : sets_[examples_[place]]) places_of_[IndexOf(label)].push_back(place);
    }
    for (const auto& places : places_of_) left_.push_back(static_cast<int64_t>(places.size()));
    std::vector<double> share;
    for (const int64_t n : left_) share.push_back(static_cast<double>(n) / folds);
    wanted_.assign(folds, share);
    wanted_in_all_.assign(folds, static_cast<double>(count) / folds);
  }

  // The fold of each of `examples`.
  std::vector<int> Assign() {
    for (int64_t label = Rarest(); label != kNone; label = Rarest()) {
      for (const int64_t place : places_of_[label]) {
        if (fold_of_[place] == kNone) Give(place, FoldThatLacks([&](int fold) { return wanted_[fold][label]; }));
      }
    }
    for (const int64_t place : places_) {  // what has no label
      if (fold_of_[place] == kNone) Give(place, FoldThatLacks([](int) { return 0.0; }));
    }
    return std::move(fold_of_);
  }

 private:
  static constexpr int kNone = -1;

  int64_t IndexOf(int label) const { return std::lower_bound(labels_.begin(), labels_.end(), label) - labels_.begin(); }

  // The label with the fewest examples left, but some.
  int64_t Rarest() const {
    int64_t rarest = kNone;
    for (size_t i = 0; i < left_.size(); ++i) {
      if (left_[i] > 0 && (rarest == kNone || left_[i] < left_[rarest])) rarest = static_cast<int64_t>(i);
    }
    return rarest;
  }

  // The fold that lacks most; of equals the one that lacks most examples, of these any.
  template <typename Lack>
  int FoldThatLacks(const Lack& lack) {
    std::vector<int> best;
    for (int fold = 0; fold < static_cast<int>(wanted_.size()); ++fold) {
      const auto key = [&](int f) { return std::make_pair(lack(f), wanted_in_all_[f]); };
      if (!best.empty() && key(fold) < key(best.front())) continue;
      if (!best.empty() && key(fold) > key(best.front())) best.clear();
      best.push_back(fold);
    }
    return best[best.size() == 1 ? 0 : random_.Below(best.size())];
  }

  void Give(int64_t place, int fold) {
    fold_of_[place] = fold;
    wanted_in_all_[fold] -= 1;
    for (const int label : sets_[examples_[place]]) {
      const int64_t i = IndexOf(label);
      wanted_[fold][i] -= 1;
      --left_[i];
    }
  }

  const LabelSets& sets_;
  const std::vector<int64_t>& examples_;
  CounterRandom& random_;
  std::vector<int> labels_;                      // those that there are; below, a label is an index into these
  std::vector<int64_t> places_;                  // in `examples`, shuffled
  std::vector<std::vector<int64_t>> places_of_;  // of each label
  std::vector<int64_t> left_;                    // examples of each label that have no fold yet
  std::vector<std::vector<double>> wanted_;      // [folds][labels]: examples that a fold still wants
  std::vector<double> wanted_in_all_;            // [folds]
  std::vector<int> fold_of_;
};

std::vector<int64_t> AllOf(const LabelSets& sets) {
  std::vector<int64_t> all(sets.size());
  std::iota(all.begin(), all.end(), 0);
  return all;
}

// Appends `examples` in an order whose first half is stratified, and so on within the halves.
void AppendByHalves(const LabelSets& sets, const std::vector<int64_t>& examples, CounterRandom* random,
                    std::vector<int64_t>* order) {
  if (examples.size() < 2) {
    order->insert(order->end(), examples.begin(), examples.end());
    return;
  }
  const std::vector<int> half_of = IterativeStratification(sets, examples, 2, random).Assign();
  for (const int half : {0, 1}) {
    std::vector<int64_t> part;
    for (size_t i = 0; i < examples.size(); ++i) {
      if (half_of[i] == half) part.push_back(examples[i]);
    }
    AppendByHalves(sets, part, random, order);
  }
}

std::vector<int64_t> SubsetOf(const LabelSets& sets, double fraction, uint64_t seed) {
  CounterRandom random{kSubsetStream, seed};
  std::vector<int64_t> order, subset;
  AppendByHalves(sets, AllOf(sets), &random, &order);
  const int64_t first = std::llround(fraction * static_cast<double>(order.size()));
  std::set<int> seen;
  for (size_t i = 0; i < order.size(); ++i) {
    bool is_new = false;  // the first of a label is part of every subset
    for (const int label : sets[order[i]]) is_new |= seen.insert(label).second;
    if (is_new || static_cast<int64_t>(i) < first) subset.push_back(order[i]);
  }
  std::sort(subset.begin(), subset.end());
  return subset;
}

}  // namespace

std::vector<int> StratifiedFolds(const Labelling& labels, int folds, uint64_t seed) {
  GRAFT_CHECK(folds >= 1);
  if (labels.multi_label()) {
    CounterRandom random{kFoldStream, seed};
    return IterativeStratification(labels.sets(), AllOf(labels.sets()), folds, &random).Assign();
  }
  std::vector<int> fold_of(labels.size());
  int64_t dealt = 0;  // a class goes on at the fold where the one before it stopped: whole folds stay even too
  for (const auto& [label, examples] : ShuffledClasses(labels.one_each(), seed, kFoldStream)) {
    for (const int64_t example : examples) fold_of[example] = static_cast<int>(dealt++ % folds);
  }
  return fold_of;
}

std::vector<int64_t> StratifiedSubset(const Labelling& labels, double fraction, uint64_t seed) {
  GRAFT_CHECK(fraction >= 0 && fraction <= 1);
  if (labels.multi_label()) return SubsetOf(labels.sets(), fraction, seed);
  std::vector<int64_t> subset;
  for (const auto& [label, examples] : ShuffledClasses(labels.one_each(), seed, kSubsetStream)) {
    // Rounded class by class: this count grows with the fraction, which nesting needs and largest remainders lack.
    const int64_t count = std::max<int64_t>(1, std::llround(fraction * static_cast<double>(examples.size())));
    subset.insert(subset.end(), examples.begin(), examples.begin() + count);
  }
  std::sort(subset.begin(), subset.end());
  return subset;
}

std::vector<int64_t> StratifiedSample(const Labelling& labels, int64_t most, uint64_t seed) {
  const auto count = static_cast<int64_t>(labels.size());
  if (count > most) return StratifiedSubset(labels, static_cast<double>(most) / static_cast<double>(count), seed);
  std::vector<int64_t> all(count);
  std::iota(all.begin(), all.end(), 0);
  return all;
}

}  // namespace graft

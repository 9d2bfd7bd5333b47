#pragma once

#include <cstdint>
#include <vector>

namespace graft {

// What is done about classes of different sizes.
enum class ClassBalance {
  kNone,
  kWeights,   // a picture of a small class counts more in the loss
  kSampling,  // a picture of a small class comes up more often
};

// n / (classes * n_c) of each class c, so that every class's pictures weigh n / classes together (King and Zeng 2001,
// "Logistic regression in rare events data"; scikit-learn's "balanced"); 0 for a class without pictures.
// `labels` are in [0, classes).
std::vector<double> BalancedWeights(const std::vector<int>& labels, int classes);

// An epoch of labels.size() indices into `labels` in which every class that has pictures comes up equally often; where
// that does not divide, some of them, chosen at random, once more. Within a class pictures are drawn without
// replacement until they are used up, then anew. Like ShuffledIndices() it depends on nothing but its arguments.
std::vector<int64_t> BalancedIndices(const std::vector<int>& labels, int classes, uint64_t seed, uint64_t phase,
                                     uint64_t epoch);

}  // namespace graft

#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "worker/data/labelling.h"

namespace graft {

// What is done about classes of different sizes.
enum class ClassBalance {
  kNone,
  kWeights,   // a picture of a small class counts more in the loss
  kSampling,  // a picture of a small class comes up more often
};

// A picture of a multi-label dataset has no one class to be drawn by.
//   InvalidArgument  sampling with a multi-label dataset: "class_balance: got sampling, want ..."
absl::Status CheckForLabels(ClassBalance balance, bool multi_label);

// n / (classes * n_c) of each class c, so that every class's pictures weigh n / classes together (King and Zeng 2001,
// "Logistic regression in rare events data"; scikit-learn's "balanced"); 0 for a class without pictures.
// `labels` are in [0, classes).
std::vector<double> BalancedWeights(const std::vector<int>& labels, int classes);

// Of a multi-label dataset: for each class (n - n_c) / n_c, so that the pictures with a class weigh as much together as
// those without (torch's pos_weight); at least 0.01 and at most 100, or a few pictures would throw the weights about. 1
// for a class without pictures.
std::vector<double> PositiveWeights(const Labelling& labels, int classes);

// An epoch of labels.size() indices into `labels` in which every class that has pictures comes up equally often; where
// that does not divide, some of them, chosen at random, once more. Within a class pictures are drawn without
// replacement until they are used up, then anew. Like ShuffledIndices() it depends on nothing but its arguments.
std::vector<int64_t> BalancedIndices(const std::vector<int>& labels, int classes, uint64_t seed, uint64_t phase,
                                     uint64_t epoch);

}  // namespace graft

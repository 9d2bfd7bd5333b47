#pragma once

#include <cstdint>
#include <vector>

namespace graft {

// The fold in [0, folds) of each example: seeded, stratified. The folds' shares of one class differ by at most one
// example, and so do whole folds, so that none is empty while folds <= labels.size(). The same on every platform.
// `labels` may be any numbers; folds >= 1.
std::vector<int> StratifiedFolds(const std::vector<int>& labels, int folds, uint64_t seed);

// Ascending indices of a seeded subset with about `fraction` (0 to 1) of each class's examples and at least one of
// each. Subsets of one seed are nested: a smaller fraction's is part of a larger one's.
std::vector<int64_t> StratifiedSubset(const std::vector<int>& labels, double fraction, uint64_t seed);

}  // namespace graft

#pragma once

#include <cstdint>
#include <vector>

#include "worker/data/labelling.h"

namespace graft {

// The fold in [0, folds) of each example: seeded, stratified; folds >= 1. None is empty while folds <= labels.size(). The
// same on every platform. Labels may be any numbers.
//
// With one class each, the folds' shares of one class differ by at most one example, and so do whole folds. With any
// number of classes, iterative stratification: the rarest class's examples are dealt first, each to the fold that lacks
// most of them, so that shares are near equal, those of rare classes above all (Sechidis et al. 2011, On the
// stratification of multi-label data, algorithm 1).
std::vector<int> StratifiedFolds(const Labelling& labels, int folds, uint64_t seed);

// Ascending indices of a seeded subset with about `fraction` (0 to 1) of each class's examples and at least one of
// each. Subsets of one seed are nested: a smaller fraction's is part of a larger one's. With any number of classes it
// is the beginning of an order that halves the examples by iterative stratification, the halves likewise, and so on.
std::vector<int64_t> StratifiedSubset(const Labelling& labels, double fraction, uint64_t seed);
// The same of about `most` examples; all if there are no more.
std::vector<int64_t> StratifiedSample(const Labelling& labels, int64_t most, uint64_t seed);

}  // namespace graft

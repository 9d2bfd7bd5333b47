#pragma once

#include <cstdint>
#include <vector>

#include "server/store/records.h"

namespace graft {

struct SplitOptions {
  double validation_fraction = 0.2;  // (0, 0.9]
  uint64_t seed = 0;
};

// Divides all items that are not kTest into kTrain and kValidation, class by class: a class of n >= 2 pictures gets
// round(n * validation_fraction), and from 1 to n - 1, validation pictures. Which ones depends only on the seed and the
// pictures' digests, so the order of the items and their names do not matter.
void SplitOffValidation(const SplitOptions& options, std::vector<DatasetItem>* items);

// The same of pictures with any number of classes, where the classes' shares cannot all be kept at once: by iterative
// stratification, with the numbers above as the goal of each class, and of the pictures without one. Whatever it takes,
// each class that has a picture keeps one for training; a class of two or more gets one for validation where that
// allows it.
// Source: Sechidis, Tsoumakas and Vlahavas 2011, "On the Stratification of Multi-Label Data", algorithm 1.
void SplitOffMultiLabelValidation(const SplitOptions& options, std::vector<DatasetItem>* items);

}  // namespace graft

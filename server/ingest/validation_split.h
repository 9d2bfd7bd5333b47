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

}  // namespace graft

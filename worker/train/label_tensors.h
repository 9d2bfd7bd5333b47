#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "absl/status/status.h"
#include "worker/data/labelling.h"

namespace graft {

//   InvalidArgument  not one for each of `rows` rows; a label outside [0, classes)
absl::Status CheckLabels(const Labelling& labels, int64_t rows, int classes);

// 1 for each class that a picture has, else 0: [n, classes] of `dtype`, on the CPU.
at::Tensor TargetsOf(const Labelling& labels, int classes, at::ScalarType dtype);

// Whether the largest of a row's `logits` [n, classes] is its label's; of a multi-label dataset, whether those that are
// not negative are its labels'. bool [n].
at::Tensor AreRight(const at::Tensor& logits, const Labelling& labels);

}  // namespace graft

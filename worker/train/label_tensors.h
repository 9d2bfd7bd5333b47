#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "absl/status/status.h"
#include "worker/data/labelling.h"

namespace graft {

//   InvalidArgument  not one for each of `rows` rows; a label outside [0, classes)
absl::Status CheckLabels(const Labelling& labels, int64_t rows, int classes);

// 1 for each class that a picture has, else 0: [labels.size(), classes] of `dtype`, on the CPU.
at::Tensor TargetsOf(const Labelling& labels, int classes, at::ScalarType dtype);

// Rows of `logits` that are IsExactMatch() of `targets`: both float32 [n, classes] on the CPU, contiguous.
int64_t CountExactMatches(const at::Tensor& logits, const at::Tensor& targets, bool multi_label);

// Their share of the rows of `logits`, float32 [n, classes] on the CPU, for targets that are the labels.
double ExactMatchRatio(const at::Tensor& logits, const Labelling& labels);

}  // namespace graft

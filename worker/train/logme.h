#pragma once

#include <ATen/core/Tensor.h>

#include "absl/status/statusor.h"
#include "worker/data/labelling.h"

namespace graft {

// How well `features` (float32 or float64 [n, width], CPU) suit the labels (in [0, classes)), without training: the
// log evidence per example of a Bayesian linear regression of a class's one-hot (or multi-hot) labels, at the most
// likely strengths of weights and noise, in the mean over the classes that have examples. Higher transfers better.
// Scores compare backbones on the same labels; one alone means nothing. The features' scale does not matter, their
// offset does.
//
// Threads:  computes on the calling thread with its intra-op threads, in float64.
// Source:   LogME, You et al. 2021 (arXiv:2102.11005); its fixed point, You et al. 2022 (arXiv:2110.10545).
//   InvalidArgument    features or labels other than described, no rows, no row with a label, features that are not
//                      finite
//   ResourceExhausted  out of memory;  Internal  LibTorch failed otherwise
absl::StatusOr<double> LogMe(const at::Tensor& features, const Labelling& labels, int classes);

}  // namespace graft

#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "absl/status/statusor.h"
#include "worker/base/cancel_token.h"
#include "worker/base/worker_pool.h"
#include "worker/data/labelling.h"

namespace graft {

struct LinearProbeOptions {
  double l2 = 1e-2;          // > 0, see FitLinearProbe()
  int max_iterations = 200;  // >= 1
  double tolerance = 1e-5;   // > 0: of the gradient's Euclidean norm
};

struct LinearProbe {
  at::Tensor weight;  // float32 [classes, width]: logits = features weight' + bias
  at::Tensor bias;    // float32 [classes]
  int iterations = 0;
  bool converged = false;  // the gradient's norm is below the tolerance
};

// Multinomial logistic regression on `features` (float32 [n, width], CPU), labels in [0, classes). It minimises
//   1/n sum_i -log softmax(W z_i + b)[y_i] + l2/2 |W|^2
// where z is the features, each with its mean over the n rows taken away and divided by its population standard
// deviation (by 1 where that is 0). The result is for the raw features. The bias is not penalised: that of a class
// without rows falls until the tolerance stops it. With any number of classes to a row it is a logistic regression for
// each class: softmax's term is the sum over classes of -log sigmoid(+-(W z_i + b)), + where the row has the class.
//
// Threads:  computes on the calling thread with its intra-op threads.
// Source:   L-BFGS, Nocedal & Wright 2006, "Numerical Optimization", algorithms 7.4 and 7.5.
//   InvalidArgument    features, labels or options other than described, no rows, features that are not finite
//   Cancelled          `cancel` was switched (checked each iteration)
//   ResourceExhausted  out of memory;  Internal  LibTorch failed otherwise
absl::StatusOr<LinearProbe> FitLinearProbe(const at::Tensor& features, const Labelling& labels, int classes,
                                           const LinearProbeOptions& options, const CancelToken& cancel = {});

struct CrossValidation {
  std::vector<float> logits;          // [n][classes], each row from the probe that was fitted without its fold
  std::vector<double> fold_accuracy;  // [folds]; multi-label: exact matches
  double mean = 0, standard_deviation = 0;  // of fold_accuracy; the sample's, with folds - 1
  double log_loss = 0;                // mean cross-entropy of all rows, nats; multi-label: over classes too
};

// Fits a probe for each of the StratifiedFolds() without that fold's rows, standardisation included, and predicts them.
// The folds run side by side on `pool`, each with two copies of its rows; the result does not depend on its size.
//   InvalidArgument  as FitLinearProbe(), and folds outside [2, n];  others as FitLinearProbe()
absl::StatusOr<CrossValidation> CrossValidateProbe(const at::Tensor& features, const Labelling& labels, int classes,
                                                   int folds, uint64_t seed, const LinearProbeOptions& options,
                                                   WorkerPool* pool, const CancelToken& cancel);

}  // namespace graft

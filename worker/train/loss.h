#pragma once

#include <vector>

#include <ATen/core/Tensor.h>

#include "absl/status/status.h"

namespace graft {

enum class LossKind {
  kCrossEntropy,
  kSquaredHinge,        // a linear support vector machine for each class against the others
  kBinaryCrossEntropy,  // a logistic regression for each class: any number of classes to a row
};

struct LossOptions {
  LossKind kind = LossKind::kCrossEntropy;
  double label_smoothing = 0;         // share of a target that goes to all classes alike; not with the hinge
  std::vector<double> class_weights;  // one for each class; empty: all 1
  bool multi_label = false;           // a row's targets are any number of classes; not with cross-entropy

  //   InvalidArgument  every violation, one a line: "label_smoothing: got 1, want >= 0 and < 1"
  absl::Status Validate(int classes) const;
};

// Sum over rows of the loss of `logits` [n, classes] against `targets` [n, classes], each row of which sums to 1, or,
// with multi_label, holds a number in [0, 1] for each class; both on the CPU, float32 or float64. `gradient`, of the
// same shape and dtype, becomes `factor` times its derivative by the logits. In closed form: autograd's dispatch costs
// more than the arithmetic. A row's loss and gradient depend on no other row, and sums are float64: those of a batch's
// shards add up to the batch's to far more digits than a float32's.
//   kCrossEntropy  -sum_c w_c q_c log softmax(z)_c with q = (1 - s) target + s / classes, s the label smoothing
//                  (Szegedy et al. 2016, arXiv:1512.00567); the class weights w as in torch's cross_entropy
//   kSquaredHinge  w_label sum_c max(0, 1 - y_c z_c)^2, y_c = 1 for the label and -1 for the others (Tang 2013,
//                  arXiv:1306.0239); for a soft target the expectation over its labels. A weight is the row's, not the
//                  term's: w_c on all of class c's term would scale that class's problem and move no boundary.
//                  With multi_label sum_c w_c t_c max(0, 1 - z_c)^2 + (1 - t_c) max(0, 1 + z_c)^2: each class is a
//                  problem of its own, in which a weight is that of the rows that have the class.
//   kBinaryCrossEntropy  sum_c -w_c q_c log s(z_c) - (1 - q_c) log(1 - s(z_c)), s the sigmoid, q = (1 - l) target + l/2
//                  with l the label smoothing; w_c is torch's pos_weight. The sum over classes, not torch's mean: a
//                  class's gradient is then that of softmax cross-entropy in size, and does not fall with the number
//                  of classes, so that learning rates carry over.
// Requires: options.Validate(classes) is OK.
double LossAndGradient(const at::Tensor& logits, const at::Tensor& targets, const LossOptions& options, double factor,
                       at::Tensor* gradient);

// What a batch's loss is divided by for its mean: its rows, or with class weights the sum of the rows' weights
// (torch's reduction="mean" with labels), sum_c w_c target_c each; with multi_label its rows in any case, as torch does
// with pos_weight. The weights of a batch's shards add up to its own.
// 0 only where all of a batch's classes have weight 0: it teaches nothing, and there is no mean.
double LossWeight(const at::Tensor& targets, const LossOptions& options);

}  // namespace graft

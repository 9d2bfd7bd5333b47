#include "worker/train/loss.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "worker/base/status.h"

namespace graft {
namespace {

at::Tensor ClassWeights(const at::Tensor& targets, const LossOptions& options) {
  return at::tensor(options.class_weights, targets.options());  // [classes]
}

// `values` [n, classes], each column times its class's weight.
at::Tensor Weighted(const at::Tensor& values, const LossOptions& options) {
  return options.class_weights.empty() ? values : values * ClassWeights(values, options);
}

at::Tensor CrossEntropy(const at::Tensor& logits, const at::Tensor& targets, const LossOptions& options) {
  const double smoothing = options.label_smoothing;
  const at::Tensor smooth = targets * (1 - smoothing) + smoothing / static_cast<double>(targets.size(1));
  return -Weighted(smooth, options) * at::log_softmax(logits, 1);  // [n, classes]
}

at::Tensor BinaryCrossEntropy(const at::Tensor& logits, const at::Tensor& targets, const LossOptions& options) {
  const at::Tensor smooth = targets * (1 - options.label_smoothing) + options.label_smoothing / 2;
  return -(Weighted(smooth, options) * at::log_sigmoid(logits) + (1 - smooth) * at::log_sigmoid(-logits));
}

at::Tensor SquaredHinge(const at::Tensor& logits, const at::Tensor& targets, const LossOptions& options) {
  const at::Tensor as_label = Weighted(targets, options);                // [n, classes]
  const at::Tensor as_other =
      options.multi_label ? 1 - targets : as_label.sum(1, /*keepdim=*/true) - as_label;
  return as_label * at::relu(1 - logits).square() + as_other * at::relu(1 + logits).square();
}

at::Tensor Terms(const at::Tensor& logits, const at::Tensor& targets, const LossOptions& options) {
  if (options.kind == LossKind::kCrossEntropy) return CrossEntropy(logits, targets, options);
  if (options.kind == LossKind::kSquaredHinge) return SquaredHinge(logits, targets, options);
  return BinaryCrossEntropy(logits, targets, options);
}

}  // namespace

absl::Status LossOptions::Validate(int classes) const {
  std::vector<std::string> violations;
  if (!(label_smoothing >= 0 && label_smoothing < 1)) {
    violations.push_back(absl::StrCat("label_smoothing: got ", label_smoothing, ", want >= 0 and < 1"));
  } else if (label_smoothing != 0 && kind == LossKind::kSquaredHinge) {
    violations.push_back("label_smoothing: only with the cross-entropy loss");
  }
  if (multi_label ? kind == LossKind::kCrossEntropy : kind == LossKind::kBinaryCrossEntropy) {
    violations.push_back(absl::StrCat("multi_label: got ", multi_label ? "true, want false with cross-entropy"
                                                                       : "false, want true with binary cross-entropy"));
  }
  if (!class_weights.empty() && class_weights.size() != static_cast<size_t>(classes)) {
    violations.push_back(absl::StrCat("class_weights: got ", class_weights.size(), ", want one for each of ", classes,
                                      " classes"));
  }
  for (size_t i = 0; i < class_weights.size(); ++i) {
    if (std::isfinite(class_weights[i]) && class_weights[i] >= 0) continue;
    violations.push_back(absl::StrCat("class_weights[", i, "]: got ", class_weights[i], ", want >= 0 and finite"));
  }
  if (!class_weights.empty() &&
      std::all_of(class_weights.begin(), class_weights.end(), [](double weight) { return weight == 0; })) {
    violations.push_back("class_weights: got only 0, want one or more > 0");
  }
  return violations.empty() ? absl::OkStatus() : absl::InvalidArgumentError(absl::StrJoin(violations, "\n"));
}

at::Tensor LossSum(const at::Tensor& logits, const at::Tensor& targets, const LossOptions& options) {
  GRAFT_CHECK(logits.dim() == 2 && logits.sizes() == targets.sizes());
  const at::Tensor z = logits.to(targets.scalar_type());
  // In float64, so that the sum over a batch's shards is the batch's to far more digits than a float32 holds.
  return Terms(z, targets, options).sum(at::kDouble);
}

double LossWeight(const at::Tensor& targets, const LossOptions& options) {
  if (options.class_weights.empty() || options.multi_label) return static_cast<double>(targets.size(0));
  return Weighted(targets, options).sum(at::kDouble).item<double>();
}

}  // namespace graft

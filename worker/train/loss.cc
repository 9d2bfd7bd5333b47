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

// One picture's. `weights`: of the classes, or null.
template <typename T>
struct Row {
  const T* logits;
  const T* targets;
  const double* weights;
  T* gradient;
  int64_t classes;

  double WeightOf(int64_t c) const { return weights == nullptr ? 1 : weights[c]; }
};

template <typename T>
double CrossEntropy(const Row<T>& row, double smoothing, double factor) {
  const T largest = *std::max_element(row.logits, row.logits + row.classes);
  double exponentials = 0, all = 0, loss = 0;
  for (int64_t c = 0; c < row.classes; ++c) {
    row.gradient[c] = std::exp(row.logits[c] - largest);
    exponentials += row.gradient[c];
  }
  const double log_sum = std::log(exponentials);
  const auto share = [&](int64_t c) {
    return row.WeightOf(c) * (row.targets[c] * (1 - smoothing) + smoothing / static_cast<double>(row.classes));
  };
  for (int64_t c = 0; c < row.classes; ++c) {
    const double q = share(c);
    all += q;
    loss += q * (log_sum + largest - row.logits[c]);
  }
  for (int64_t c = 0; c < row.classes; ++c) {
    row.gradient[c] = static_cast<T>(factor * (all * row.gradient[c] / exponentials - share(c)));
  }
  return loss;
}

template <typename T>
double SquaredHinge(const Row<T>& row, bool multi_label, double factor) {
  double all = 0, loss = 0;
  for (int64_t c = 0; c < row.classes; ++c) all += row.WeightOf(c) * row.targets[c];
  for (int64_t c = 0; c < row.classes; ++c) {
    const double as_label = row.WeightOf(c) * row.targets[c];
    const double as_other = multi_label ? 1 - row.targets[c] : all - as_label;
    const double below = std::max<double>(0, 1 - row.logits[c]), above = std::max<double>(0, 1 + row.logits[c]);
    loss += as_label * below * below + as_other * above * above;
    row.gradient[c] = static_cast<T>(factor * 2 * (as_other * above - as_label * below));
  }
  return loss;
}

// Of each class on its own. A class's weight is that of its being there.
template <typename T>
double BinaryCrossEntropy(const Row<T>& row, double smoothing, double factor) {
  double loss = 0;
  for (int64_t c = 0; c < row.classes; ++c) {
    const double z = row.logits[c], q = row.targets[c] * (1 - smoothing) + smoothing / 2;
    const double yes = row.WeightOf(c) * q, no = 1 - q;
    const double small = std::exp(-std::abs(z)), rest = std::log1p(small);  // no overflow, whatever the logit
    const double sigmoid = (z >= 0 ? 1 : small) / (1 + small), opposite = (z >= 0 ? small : 1) / (1 + small);
    loss += yes * (std::max(-z, 0.0) + rest) + no * (std::max(z, 0.0) + rest);
    row.gradient[c] = static_cast<T>(factor * (no * sigmoid - yes * opposite));
  }
  return loss;
}

template <typename T>
double LossOfRow(const Row<T>& row, const LossOptions& options, double factor) {
  if (options.kind == LossKind::kCrossEntropy) return CrossEntropy(row, options.label_smoothing, factor);
  if (options.kind == LossKind::kBinaryCrossEntropy) return BinaryCrossEntropy(row, options.label_smoothing, factor);
  return SquaredHinge(row, options.multi_label, factor);
}

template <typename T>
double SumRows(const at::Tensor& logits, const at::Tensor& targets, const LossOptions& options, double factor,
               at::Tensor* gradient) {
  const double* const weights = options.class_weights.empty() ? nullptr : options.class_weights.data();
  const int64_t classes = logits.size(1);
  Row<T> row{logits.data_ptr<T>(), targets.data_ptr<T>(), weights, gradient->data_ptr<T>(), classes};
  double loss = 0;
  for (int64_t i = 0; i < logits.size(0); ++i) {
    loss += LossOfRow(row, options, factor);
    row.logits += classes;
    row.targets += classes;
    row.gradient += classes;
  }
  return loss;
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

double LossAndGradient(const at::Tensor& logits, const at::Tensor& targets, const LossOptions& options, double factor,
                       at::Tensor* gradient) {
  GRAFT_CHECK(logits.dim() == 2 && logits.sizes() == targets.sizes() &&
              logits.scalar_type() == targets.scalar_type());
  const at::Tensor z = logits.contiguous(), t = targets.contiguous();
  *gradient = at::empty_like(z);
  return z.scalar_type() == at::kFloat ? SumRows<float>(z, t, options, factor, gradient)
                                       : SumRows<double>(z, t, options, factor, gradient);
}

double LossWeight(const at::Tensor& targets, const LossOptions& options) {
  if (options.class_weights.empty() || options.multi_label) return static_cast<double>(targets.size(0));
  const at::Tensor weights = at::tensor(options.class_weights, at::kDouble);  // [classes]
  return (targets.to(at::kDouble) * weights).sum().item<double>();
}

}  // namespace graft

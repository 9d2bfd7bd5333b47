#include "worker/train/label_tensors.h"

#include <ATen/ATen.h>

#include "absl/strings/str_cat.h"

namespace graft {

absl::Status CheckLabels(const Labelling& labels, int64_t rows, int classes) {
  if (static_cast<int64_t>(labels.size()) != rows) {
    return absl::InvalidArgumentError(
        absl::StrCat("labels: got ", labels.size(), ", want one for each of ", rows, " rows"));
  }
  absl::Status status;
  const auto check = [&](int label) {
    if (label >= 0 && label < classes) return;
    status.Update(absl::InvalidArgumentError(absl::StrCat("labels: got ", label, ", want 0 to ", classes - 1)));
  };
  for (const int label : labels.one_each()) check(label);
  for (const std::vector<int>& set : labels.sets()) {
    for (const int label : set) check(label);
  }
  return status;
}

at::Tensor TargetsOf(const Labelling& labels, int classes, at::ScalarType dtype) {
  at::Tensor targets = at::zeros({static_cast<int64_t>(labels.size()), classes}, at::kDouble);
  double* row = targets.data_ptr<double>();
  for (size_t i = 0; i < labels.size(); ++i, row += classes) {
    if (!labels.multi_label()) {
      row[labels.one_each()[i]] = 1;
      continue;
    }
    for (const int label : labels.sets()[i]) row[label] = 1;
  }
  return targets.to(dtype);
}

at::Tensor AreRight(const at::Tensor& logits, const Labelling& labels) {
  if (!labels.multi_label()) return logits.argmax(1).eq(at::tensor(labels.one_each(), at::kLong));
  return logits.ge(0).eq(TargetsOf(labels, static_cast<int>(logits.size(1)), at::kBool)).all(1);
}

}  // namespace graft

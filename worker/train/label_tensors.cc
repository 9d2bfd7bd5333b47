#include "worker/train/label_tensors.h"

#include <ATen/ATen.h>

#include "absl/strings/str_cat.h"
#include "worker/train/evaluation.h"

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
  at::Tensor targets = at::zeros({static_cast<int64_t>(labels.size()), classes}, at::kFloat);
  float* row = targets.data_ptr<float>();
  for (size_t i = 0; i < labels.size(); ++i, row += classes) {
    if (!labels.multi_label()) {
      row[labels.one_each()[i]] = 1;
      continue;
    }
    for (const int label : labels.sets()[i]) row[label] = 1;
  }
  return targets.to(dtype);
}

int64_t CountExactMatches(const at::Tensor& logits, const at::Tensor& targets, bool multi_label) {
  const int64_t classes = logits.size(1);
  const float *z = logits.data_ptr<float>(), *t = targets.data_ptr<float>();
  int64_t matches = 0;
  for (int64_t i = 0; i < logits.size(0); ++i, z += classes, t += classes) {
    matches += IsExactMatch(z, t, classes, multi_label);
  }
  return matches;
}

double ExactMatchRatio(const at::Tensor& logits, const Labelling& labels) {
  const at::Tensor targets = TargetsOf(labels, static_cast<int>(logits.size(1)), at::kFloat);
  const int64_t matches = CountExactMatches(logits.contiguous(), targets, labels.multi_label());
  return static_cast<double>(matches) / static_cast<double>(labels.size());
}

}  // namespace graft

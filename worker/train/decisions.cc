#include "worker/train/decisions.h"

#include <cmath>
#include <cstddef>

#include "worker/base/status.h"
#include "worker/train/calibration.h"

namespace graft {

Decisions DecisionsOf(const Labelling& labels, const std::vector<float>& logits, int classes) {
  const auto k = static_cast<size_t>(classes);
  GRAFT_CHECK(logits.size() == labels.size() * k);
  if (!labels.multi_label()) return {logits, labels.one_each(), classes, 1};
  Decisions decisions{{}, std::vector<int>(logits.size(), Decisions::kNo), 2, classes};
  decisions.logits.assign(logits.size() * 2, 0);
  for (size_t i = 0; i < logits.size(); ++i) decisions.logits[2 * i] = logits[i];
  for (size_t i = 0; i < labels.size(); ++i) {
    for (const int label : labels.sets()[i]) decisions.labels[i * k + label] = Decisions::kYes;
  }
  return decisions;
}

Decisions DecisionsOfClass(const Labelling& labels, const std::vector<float>& logits, int classes, int which) {
  Decisions decisions;
  decisions.classes = 2;
  for (size_t i = 0; i < labels.size(); ++i) {
    decisions.logits.push_back(logits[i * static_cast<size_t>(classes) + which]);
    decisions.logits.push_back(0);
    decisions.labels.push_back(labels.Has(i, which) ? Decisions::kYes : Decisions::kNo);
  }
  return decisions;
}

std::vector<float> ProbabilitiesOf(bool multi_label, const std::vector<float>& logits, int classes,
                                   double temperature) {
  if (!multi_label) return Softmax(logits, classes, temperature);
  std::vector<float> probabilities;
  probabilities.reserve(logits.size());
  for (const float z : logits) probabilities.push_back(static_cast<float>(1 / (1 + std::exp(-z / temperature))));
  return probabilities;
}

}  // namespace graft

#pragma once

#include <vector>

#include "worker/data/labelling.h"

namespace graft {

// Pictures as problems of one class each. Those of a dataset with one class each are that already; a multi-label
// problem is one of two classes for each picture and class, "has it this class?": row picture * classes + class, answer
// 0 for yes with the class's logit, 1 for no with logit 0, so that the softmax of a row is the sigmoid and what is left
// of 1, and that a tie is a yes. What is said about one problem (temperature, calibration error, mistakes) is so said
// about the other.
struct Decisions {
  static constexpr int kYes = 0, kNo = 1;

  std::vector<float> logits;  // row-major [labels.size()][classes]
  std::vector<int> labels;
  int classes = 0;
  int each = 1;  // rows that a picture has
};

// `logits` is row-major [labels.size()][classes].
Decisions DecisionsOf(const Labelling& labels, const std::vector<float>& logits, int classes);

// Of one class: rows are pictures.
Decisions DecisionsOfClass(const Labelling& labels, const std::vector<float>& logits, int classes, int which);

// What is served for `logits` (worker/infer/predictor.h): the softmax of a row's logits / temperature, or each one's
// sigmoid.
std::vector<float> ProbabilitiesOf(bool multi_label, const std::vector<float>& logits, int classes, double temperature);

}  // namespace graft

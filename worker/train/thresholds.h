#pragma once

#include <cstdint>
#include <vector>

#include "worker/data/labelling.h"
#include "worker/train/evaluation.h"

namespace graft {

// "Say class c when its probability is at least `threshold`", and what that does to some pictures.
struct ClassThreshold {
  bool reachable = false;  // false: no threshold is precise enough, or no picture is of this class; nothing else holds
  double threshold = 1;    // always the probability of a picture that it was chosen on
  double precision = 0;    // 0 when no picture is at or above the threshold
  double recall = 0;       // 0 when no picture is of this class
  int64_t predicted = 0;        // pictures at or above the threshold
  Interval precision_interval;  // 95 %; optimistic on the pictures that the threshold was chosen on
};

// For each class, the threshold with the largest recall among those with at least `precision`; among thresholds of
// equal recall the most precise; and what it does to these same pictures. Pictures with the same probability are all
// taken or all left. `probabilities` is row-major [labels.size()][classes], without NaN; a picture may pass the
// thresholds of several classes, or of none.
std::vector<ClassThreshold> ThresholdsForPrecision(const std::vector<float>& probabilities, const Labelling& labels,
                                                   int classes, double precision);

// `thresholds`, with what they do to other pictures; `probabilities` of them as above.
std::vector<ClassThreshold> MeasureThresholds(std::vector<ClassThreshold> thresholds,
                                              const std::vector<float>& probabilities, const Labelling& labels);

}  // namespace graft

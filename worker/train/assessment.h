#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/base/cancel_token.h"
#include "worker/base/worker_pool.h"
#include "worker/data/activations.h"
#include "worker/data/dataset.h"
#include "worker/train/calibration.h"
#include "worker/train/evaluation.h"
#include "worker/train/learning_curve.h"
#include "worker/train/thresholds.h"

namespace graft {

// A picture worth a person's look. Of a multi-label dataset one of label and predicted is -1: label c and predicted -1
// is "labelled c, but the network says no", label -1 and predicted c "not labelled c, but the network says c".
struct Suspect {
  std::string name;
  int label = 0, predicted = 0;  // class indices
  double confidence = 0;         // probability of what the network says
};

struct CrossValidated {
  int folds = 0;
  double mean = 0, standard_deviation = 0;  // of the folds' accuracies
  std::vector<int64_t> confusion;           // out of fold, row-major [true][predicted]; multi-label: empty
  int64_t images = 0;                       // training pictures that were looked at, see ProbeImages()
};

struct LearningCurve {
  std::vector<CurvePoint> points;
  CurveForecast forecast;
};

// How good a model is, and what its pictures tell.
struct Assessment {
  Evaluation evaluation;   // of calibrated probabilities, on the test split when there is one, else on validation
  Calibration calibration; // temperature fitted on validation; its figures are of `evaluation`'s split, out of sample
  std::vector<ClassThreshold> thresholds;  // of each class: chosen on validation, measured on `evaluation`'s split
  std::vector<Suspect> mistakes;           // the most confidently wrong, at most 20
  std::vector<Suspect> label_issues;       // at most 20, and with cross-validation 20 training pictures more
  std::optional<CrossValidated> cross_validated;
  std::optional<LearningCurve> learning_curve;
  double last_accuracy = 0;  // of the last epoch's weights, on `evaluation`'s split
};

struct LabelledLogits {
  const std::vector<Example>* examples = nullptr;
  std::vector<float> logits;  // row-major [examples->size()][classes]
};

// `test` may be without examples.
Assessment Assess(const std::vector<std::string>& class_names, const LabelledLogits& validation,
                  const LabelledLogits& test, double precision_target);

// How many pictures of a split the probes below look at, when one's features are `row_bytes`: 64 MiB of features, since
// each thread that fits a probe copies them twice, but not fewer than 4000 pictures, as AUTO's ranking. Of a larger
// split it is a seeded, stratified part.
int64_t ProbeImages(int64_t row_bytes);

struct ProbeData {
  Activations* train = nullptr;       // features: the last stage's
  Activations* validation = nullptr;  // features too
  int classes = 0;
  uint64_t seed = 0;
  WorkerPool* pool = nullptr;
  CancelToken cancel;
  int64_t max_images = 0;  // of each split; 0: ProbeImages()
};

// k-fold cross-validation of a linear probe on the frozen backbone's features of the training pictures, whose
// label issues (out of fold, confident learning) go to `issues`.   Errors as CrossValidateProbe().
absl::StatusOr<CrossValidated> CrossValidate(const ProbeData& data, int folds, std::vector<Suspect>* issues);

// Errors on validation of linear probes trained on nested subsets, each half the next, of 3 seeds; on the largest,
// which every seed has, of one. A point's deviation is that of its seeds, but at least the StandardError() of what it
// was measured on.   Errors likewise.
absl::StatusOr<LearningCurve> MeasureLearningCurve(const ProbeData& data, int subsets);

}  // namespace graft

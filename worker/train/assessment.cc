#include "worker/train/assessment.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "worker/backbone/torch_status.h"
#include "worker/base/status.h"
#include "worker/train/folds.h"
#include "worker/train/label_review.h"
#include "worker/train/linear_probe.h"

namespace graft {
namespace {

constexpr int64_t kSuspects = 20;
constexpr int kCurveSeeds = 3;

std::vector<Suspect> Mistakes(const std::vector<Example>& examples, const std::vector<float>& probabilities,
                              const std::vector<int>& labels, int classes) {
  std::vector<Suspect> suspects;
  for (const Mistake& m : MostConfidentlyWrong(probabilities, labels, classes, kSuspects)) {
    suspects.push_back({examples[m.example].name, m.label, m.predicted, m.confidence});
  }
  return suspects;
}

std::vector<Suspect> LabelIssues(const std::vector<Example>& examples, const std::vector<float>& probabilities,
                                 const std::vector<int>& labels, int classes) {
  std::vector<Suspect> suspects;
  for (const LabelIssue& issue : LikelyLabelErrors(probabilities, labels, classes, kSuspects)) {
    const double confidence = probabilities[issue.example * classes + issue.suggested];
    suspects.push_back({examples[issue.example].name, issue.label, issue.suggested, confidence});
  }
  return suspects;
}

double AccuracyOf(const at::Tensor& features, const std::vector<int>& labels, const LinearProbe& probe) {
  const at::Tensor predicted = at::linear(features, probe.weight, probe.bias).argmax(1);
  const at::Tensor truth = at::tensor(labels, at::kLong);
  return predicted.eq(truth).to(at::kDouble).mean().item<double>();
}

absl::StatusOr<at::Tensor> AllRows(Activations* activations, WorkerPool* pool, const CancelToken& cancel) {
  std::vector<int64_t> all(activations->size());
  std::iota(all.begin(), all.end(), 0);
  RETURN_IF_ERROR(activations->Prepare(0, all.data(), activations->size(), pool, cancel));
  return activations->Gather(all.data(), activations->size());
}

}  // namespace

Assessment Assess(const std::vector<std::string>& class_names, const LabelledLogits& validation,
                  const LabelledLogits& test, double precision_target) {
  const auto classes = static_cast<int>(class_names.size());
  const std::vector<int> validation_labels = LabelsOf(*validation.examples);
  const bool on_test = !test.examples->empty();
  const LabelledLogits& split = on_test ? test : validation;
  const std::vector<int> labels = LabelsOf(*split.examples);
  Assessment a;
  a.calibration = CrossFitCalibration(validation.logits, validation_labels, classes);
  const double temperature = a.calibration.temperature;
  const std::vector<float> probabilities = Softmax(split.logits, classes, temperature);
  if (on_test) {
    const std::vector<float> raw = Softmax(test.logits, classes, 1);
    a.calibration.ece_before = ExpectedCalibrationError(raw, labels, classes);
    a.calibration.ece_after = ExpectedCalibrationError(probabilities, labels, classes);
    a.calibration.brier_before = BrierScore(raw, labels, classes);
    a.calibration.brier_after = BrierScore(probabilities, labels, classes);
    a.calibration.nll_before = NegativeLogLikelihood(test.logits, labels, classes, 1);
    a.calibration.nll_after = NegativeLogLikelihood(test.logits, labels, classes, temperature);
  }
  a.evaluation = Evaluate(class_names, labels, probabilities);
  a.evaluation.on_test = on_test;
  a.last_accuracy = a.evaluation.accuracy;
  a.thresholds = ThresholdsForPrecision(probabilities, labels, classes, precision_target);
  a.mistakes = Mistakes(*split.examples, probabilities, labels, classes);
  a.label_issues = LabelIssues(*split.examples, probabilities, labels, classes);
  return a;
}

absl::StatusOr<CrossValidated> CrossValidate(const ProbeData& data, int folds, std::vector<Suspect>* issues) {
  ASSIGN_OR_RETURN(const at::Tensor features, AllRows(data.train, data.pool, data.cancel));
  const std::vector<Example>& examples = data.train->examples();
  const std::vector<int> labels = LabelsOf(examples);
  ASSIGN_OR_RETURN(const CrossValidation result,
                   CrossValidateProbe(features, labels, data.classes, folds, data.seed, {}, data.pool, data.cancel));
  CrossValidated out;
  out.folds = folds;
  out.mean = result.mean;
  out.standard_deviation = result.standard_deviation;
  const std::vector<float> probabilities = Softmax(result.logits, data.classes, 1);
  out.confusion = Evaluate(std::vector<std::string>(data.classes), labels, probabilities).confusion;
  *issues = LabelIssues(examples, probabilities, labels, data.classes);
  return out;
}

absl::StatusOr<LearningCurve> MeasureLearningCurve(const ProbeData& data, int subsets) {
  ASSIGN_OR_RETURN(const at::Tensor train, AllRows(data.train, data.pool, data.cancel));
  ASSIGN_OR_RETURN(const at::Tensor validation, AllRows(data.validation, data.pool, data.cancel));
  const std::vector<int> train_labels = LabelsOf(data.train->examples());
  const std::vector<int> validation_labels = LabelsOf(data.validation->examples());
  struct Run {
    int64_t images = 0;
    double error = 0;
  };
  std::vector<Run> runs(static_cast<size_t>(subsets) * kCurveSeeds);
  RETURN_IF_ERROR(data.pool->ParallelFor(static_cast<int64_t>(runs.size()), [&](int, int64_t i) -> absl::Status {
    const double fraction = std::pow(0.5, static_cast<double>(i / kCurveSeeds));
    const std::vector<int64_t> subset = StratifiedSubset(train_labels, fraction, data.seed + i % kCurveSeeds);
    std::vector<int> labels;
    for (const int64_t index : subset) labels.push_back(train_labels[index]);
    return TryTorch("fit a probe to a subset", [&]() -> absl::Status {
      torch::NoGradGuard no_grad;
      const at::Tensor rows = train.index_select(0, at::tensor(subset, at::kLong));
      ASSIGN_OR_RETURN(const LinearProbe probe, FitLinearProbe(rows, labels, data.classes, {}, data.cancel));
      runs[i] = {static_cast<int64_t>(subset.size()), 1 - AccuracyOf(validation, validation_labels, probe)};
      return absl::OkStatus();
    });
  }));
  LearningCurve curve;
  for (int s = subsets - 1; s >= 0; --s) {
    CurvePoint point;
    double squares = 0;
    for (int k = 0; k < kCurveSeeds; ++k) point.error += runs[s * kCurveSeeds + k].error / kCurveSeeds;
    for (int k = 0; k < kCurveSeeds; ++k) squares += std::pow(runs[s * kCurveSeeds + k].error - point.error, 2);
    point.images = runs[s * kCurveSeeds].images;
    point.standard_deviation = std::sqrt(squares / (kCurveSeeds - 1));
    curve.points.push_back(point);
  }
  curve.forecast = ForecastTwice(curve.points);
  return curve;
}

}  // namespace graft

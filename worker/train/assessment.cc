#include "worker/train/assessment.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "worker/backbone/torch_status.h"
#include "worker/base/status.h"
#include "worker/train/decisions.h"
#include "worker/train/folds.h"
#include "worker/train/label_tensors.h"
#include "worker/train/label_review.h"
#include "worker/train/linear_probe.h"

namespace graft {
namespace {

constexpr int64_t kSuspects = 20;
constexpr int kCurveSeeds = 3;

// Pictures and what a network says about them.
struct Judged {
  const std::vector<Example>& examples;
  Labelling labels;
  const std::vector<float>& logits;  // row-major [examples.size()][classes]
  int classes = 0;
  double temperature = 1;
};

// Of class `which` a decision is wrong: the network says no to its label, or yes where it is not labelled so.
Suspect SuspectDecision(const std::string& name, int which, int answer, double confidence) {
  return answer == Decisions::kYes ? Suspect{name, which, -1, confidence} : Suspect{name, -1, which, confidence};
}

std::vector<Suspect> Mistakes(const Judged& split) {
  const Decisions decisions = DecisionsOf(split.labels, split.logits, split.classes);
  const std::vector<float> probabilities = Softmax(decisions.logits, decisions.classes, split.temperature);
  std::vector<Suspect> suspects;
  for (const Mistake& m : MostConfidentlyWrong(probabilities, decisions.labels, decisions.classes, kSuspects)) {
    const std::string& name = split.examples[m.example / decisions.each].name;
    if (split.labels.multi_label()) {
      const auto which = static_cast<int>(m.example % decisions.each);
      suspects.push_back(SuspectDecision(name, which, m.label, m.confidence));
    } else {
      suspects.push_back({name, m.label, m.predicted, m.confidence});
    }
  }
  return suspects;
}

struct Issue {
  double score = 0;
  Suspect suspect;
};

// Those of one problem, the worst first; of one class of a multi-label one, `which`.
void AppendIssues(const Judged& split, const Decisions& decisions, int which, std::vector<Issue>* issues) {
  const std::vector<float> probabilities = Softmax(decisions.logits, decisions.classes, split.temperature);
  for (const LabelIssue& i : LikelyLabelErrors(probabilities, decisions.labels, decisions.classes, kSuspects)) {
    const std::string& name = split.examples[i.example].name;
    const double confidence = probabilities[i.example * decisions.classes + i.suggested];
    issues->push_back({i.score, split.labels.multi_label() ? SuspectDecision(name, which, i.label, confidence)
                                                           : Suspect{name, i.label, i.suggested, confidence}});
  }
}

std::vector<Suspect> LabelIssues(const Judged& split) {
  std::vector<Issue> issues;
  if (split.labels.multi_label()) {
    for (int c = 0; c < split.classes; ++c) {
      AppendIssues(split, DecisionsOfClass(split.labels, split.logits, split.classes, c), c, &issues);
    }
  } else {
    AppendIssues(split, DecisionsOf(split.labels, split.logits, split.classes), 0, &issues);
  }
  std::stable_sort(issues.begin(), issues.end(), [](const Issue& a, const Issue& b) { return a.score < b.score; });
  std::vector<Suspect> suspects;
  for (const Issue& issue : issues) {
    if (suspects.size() < kSuspects) suspects.push_back(issue.suspect);
  }
  return suspects;
}

double AccuracyOf(const at::Tensor& features, const Labelling& labels, const LinearProbe& probe) {
  return ExactMatchRatio(at::linear(features, probe.weight, probe.bias), labels);
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
  const bool on_test = !test.examples->empty();
  const LabelledLogits& split = on_test ? test : validation;
  const Labelling labels = Labelling::Of(*split.examples);
  Assessment a;
  a.calibration = CrossFitCalibration(validation.logits, Labelling::Of(*validation.examples), classes);
  const double temperature = a.calibration.temperature;
  if (on_test) a.calibration = MeasureCalibration(test.logits, labels, classes, temperature);
  a.evaluation = EvaluateLogits(class_names, labels, split.logits, temperature);
  a.evaluation.on_test = on_test;
  a.last_accuracy = a.evaluation.accuracy;
  a.thresholds = ThresholdsForPrecision(ProbabilitiesOf(labels.multi_label(), split.logits, classes, temperature),
                                        labels, classes, precision_target);
  const Judged judged{*split.examples, labels, split.logits, classes, temperature};
  a.mistakes = Mistakes(judged);
  a.label_issues = LabelIssues(judged);
  return a;
}

absl::StatusOr<CrossValidated> CrossValidate(const ProbeData& data, int folds, std::vector<Suspect>* issues) {
  ASSIGN_OR_RETURN(const at::Tensor features, AllRows(data.train, data.pool, data.cancel));
  const std::vector<Example>& examples = data.train->examples();
  const Labelling labels = Labelling::Of(examples);
  ASSIGN_OR_RETURN(const CrossValidation result,
                   CrossValidateProbe(features, labels, data.classes, folds, data.seed, {}, data.pool, data.cancel));
  CrossValidated out;
  out.folds = folds;
  out.mean = result.mean;
  out.standard_deviation = result.standard_deviation;
  if (!labels.multi_label()) {
    out.confusion = EvaluateLogits(std::vector<std::string>(data.classes), labels, result.logits).confusion;
  }
  *issues = LabelIssues({examples, labels, result.logits, data.classes});
  return out;
}

absl::StatusOr<LearningCurve> MeasureLearningCurve(const ProbeData& data, int subsets) {
  ASSIGN_OR_RETURN(const at::Tensor train, AllRows(data.train, data.pool, data.cancel));
  ASSIGN_OR_RETURN(const at::Tensor validation, AllRows(data.validation, data.pool, data.cancel));
  const Labelling train_labels = Labelling::Of(data.train->examples());
  const Labelling validation_labels = Labelling::Of(data.validation->examples());
  struct Run {
    int64_t images = 0;
    double error = 0;
  };
  std::vector<Run> runs(static_cast<size_t>(subsets) * kCurveSeeds);
  RETURN_IF_ERROR(data.pool->ParallelFor(static_cast<int64_t>(runs.size()), [&](int, int64_t i) -> absl::Status {
    const double fraction = std::pow(0.5, static_cast<double>(i / kCurveSeeds));
    const std::vector<int64_t> subset = StratifiedSubset(train_labels, fraction, data.seed + i % kCurveSeeds);
    return TryTorch("fit a probe to a subset", [&]() -> absl::Status {
      torch::NoGradGuard no_grad;
      const at::Tensor rows = train.index_select(0, at::tensor(subset, at::kLong));
      ASSIGN_OR_RETURN(const LinearProbe probe,
                       FitLinearProbe(rows, train_labels.At(subset), data.classes, {}, data.cancel));
      runs[i] = {static_cast<int64_t>(subset.size()), 1 - AccuracyOf(validation, validation_labels, probe)};
      return absl::OkStatus();
    });
  }));
  LearningCurve curve;
  for (int s = subsets - 1; s >= 0; --s) {
    CurvePoint point;
    double squares = 0;
    int64_t images = 0;  // of all seeds' subsets, which may differ in size
    for (int k = 0; k < kCurveSeeds; ++k) point.error += runs[s * kCurveSeeds + k].error / kCurveSeeds;
    for (int k = 0; k < kCurveSeeds; ++k) images += runs[s * kCurveSeeds + k].images;
    for (int k = 0; k < kCurveSeeds; ++k) squares += std::pow(runs[s * kCurveSeeds + k].error - point.error, 2);
    point.images = (images + kCurveSeeds / 2) / kCurveSeeds;  // rounded
    point.standard_deviation = std::sqrt(squares / (kCurveSeeds - 1));
    curve.points.push_back(point);
  }
  curve.forecast = ForecastTwice(curve.points);
  return curve;
}

}  // namespace graft

#include "worker/train/assessment.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <utility>

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
constexpr int64_t kProbeBytes = int64_t{64} << 20;  // 8192 pictures of 2048 features
constexpr int64_t kFewImages = 4000;

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

// A probe of the learning curve.
struct CurveRun {
  int halvings = 0;  // of the training rows
  uint64_t seed = 0;
  int64_t images = 0;
  double error = 0;
};

// Of the probes of one size, whose errors were measured on so many pictures.
CurvePoint PointOf(const std::vector<CurveRun>& runs, int64_t measured_on) {
  const auto count = static_cast<int64_t>(runs.size());
  CurvePoint point;
  double squares = 0;
  int64_t images = 0;  // of all seeds' subsets, which may differ in size
  for (const CurveRun& run : runs) point.error += run.error / static_cast<double>(count);
  for (const CurveRun& run : runs) images += run.images;
  for (const CurveRun& run : runs) squares += std::pow(run.error - point.error, 2);
  point.images = (images + count / 2) / count;  // rounded
  const double spread = count > 1 ? std::sqrt(squares / static_cast<double>(count - 1)) : 0;
  // Equal errors of three seeds, or one seed, would make a point certain.
  point.standard_deviation = std::max(spread, StandardError(point.error, measured_on));
  return point;
}

// What probes look at of a split.
struct ProbeRows {
  std::vector<Example> examples;
  Labelling labels;
  at::Tensor features;  // float32 [examples.size(), width]
};

absl::StatusOr<ProbeRows> RowsOf(Activations* activations, const ProbeData& data) {
  RETURN_IF_ERROR(activations->WindowImages().status());  // row_sizes() are known after it
  const int64_t row_bytes = activations->row_sizes().back() * static_cast<int64_t>(sizeof(float));
  const int64_t most = data.max_images > 0 ? data.max_images : ProbeImages(row_bytes);
  const std::vector<int64_t> chosen = StratifiedSample(Labelling::Of(activations->examples()), most, data.seed);
  const auto n = static_cast<int64_t>(chosen.size());
  RETURN_IF_ERROR(activations->Prepare(0, chosen.data(), n, data.pool, data.cancel));
  ProbeRows rows;
  ASSIGN_OR_RETURN(rows.features, activations->Gather(chosen.data(), n));
  for (const int64_t i : chosen) rows.examples.push_back(activations->examples()[i]);
  rows.labels = Labelling::Of(rows.examples);
  return rows;
}

}  // namespace

Assessment Assess(const std::vector<std::string>& class_names, const LabelledLogits& validation,
                  const LabelledLogits& test, double precision_target) {
  const auto classes = static_cast<int>(class_names.size());
  const bool on_test = !test.examples->empty();
  const LabelledLogits& split = on_test ? test : validation;
  const Labelling labels = Labelling::Of(*split.examples), validation_labels = Labelling::Of(*validation.examples);
  Assessment a;
  a.calibration = CrossFitCalibration(validation.logits, validation_labels, classes);
  const double temperature = a.calibration.temperature;
  if (on_test) a.calibration = MeasureCalibration(test.logits, labels, classes, temperature);
  a.evaluation = EvaluateLogits(class_names, labels, split.logits, temperature);
  a.evaluation.on_test = on_test;
  a.last_accuracy = a.evaluation.accuracy;
  const auto probabilities = [&](const LabelledLogits& of) {
    return ProbabilitiesOf(labels.multi_label(), of.logits, classes, temperature);
  };
  a.thresholds = ThresholdsForPrecision(probabilities(validation), validation_labels, classes, precision_target);
  if (on_test) a.thresholds = MeasureThresholds(std::move(a.thresholds), probabilities(test), labels);
  const Judged judged{*split.examples, labels, split.logits, classes, temperature};
  a.mistakes = Mistakes(judged);
  a.label_issues = LabelIssues(judged);
  return a;
}

int64_t ProbeImages(int64_t row_bytes) { return std::max(kFewImages, kProbeBytes / row_bytes); }

absl::StatusOr<CrossValidated> CrossValidate(const ProbeData& data, int folds, std::vector<Suspect>* issues) {
  ASSIGN_OR_RETURN(const ProbeRows rows, RowsOf(data.train, data));
  ASSIGN_OR_RETURN(const CrossValidation result, CrossValidateProbe(rows.features, rows.labels, data.classes, folds,
                                                                    data.seed, {}, data.pool, data.cancel));
  CrossValidated out;
  out.folds = folds;
  out.images = static_cast<int64_t>(rows.examples.size());
  out.mean = result.mean;
  out.standard_deviation = result.standard_deviation;
  if (!rows.labels.multi_label()) {
    out.confusion = EvaluateLogits(std::vector<std::string>(data.classes), rows.labels, result.logits).confusion;
  }
  *issues = LabelIssues({rows.examples, rows.labels, result.logits, data.classes});
  return out;
}

absl::StatusOr<LearningCurve> MeasureLearningCurve(const ProbeData& data, int subsets) {
  ASSIGN_OR_RETURN(const ProbeRows train, RowsOf(data.train, data));
  ASSIGN_OR_RETURN(const ProbeRows validation, RowsOf(data.validation, data));
  std::vector<CurveRun> runs{{0, data.seed}};  // all rows are the same for every seed
  for (int halvings = 1; halvings < subsets; ++halvings) {
    for (int k = 0; k < kCurveSeeds; ++k) runs.push_back({halvings, data.seed + k});
  }
  RETURN_IF_ERROR(data.pool->ParallelFor(static_cast<int64_t>(runs.size()), [&](int, int64_t i) -> absl::Status {
    CurveRun& run = runs[i];
    const std::vector<int64_t> subset = StratifiedSubset(train.labels, std::pow(0.5, run.halvings), run.seed);
    return TryTorch("fit a probe to a subset", [&]() -> absl::Status {
      torch::NoGradGuard no_grad;
      const at::Tensor rows = train.features.index_select(0, at::tensor(subset, at::kLong));
      ASSIGN_OR_RETURN(const LinearProbe probe,
                       FitLinearProbe(rows, train.labels.At(subset), data.classes, {}, data.cancel));
      run.images = static_cast<int64_t>(subset.size());
      run.error = 1 - AccuracyOf(validation.features, validation.labels, probe);
      return absl::OkStatus();
    });
  }));
  LearningCurve curve;
  const auto measured_on = static_cast<int64_t>(validation.labels.size());
  for (auto first = runs.begin(); first != runs.end();) {
    const auto last = std::find_if(first, runs.end(), [&](const CurveRun& r) { return r.halvings != first->halvings; });
    curve.points.insert(curve.points.begin(), PointOf({first, last}, measured_on));
    first = last;
  }
  curve.forecast = ForecastTwice(curve.points);
  return curve;
}

}  // namespace graft

#include "worker/train/train_check.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "worker/base/status.h"
#include "worker/data/labelling.h"

namespace graft {
namespace {

// As a loss takes it.
absl::Status CheckLabelSmoothing(const std::string& where, double smoothing, HeadType head) {
  if (!(smoothing >= 0 && smoothing < 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, "label_smoothing: got ", smoothing, ", want 0 <= label_smoothing < 1"));
  }
  if (smoothing == 0 || head != HeadType::kLinearSvm) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(where, "label_smoothing: got ", smoothing, ", want 0 with the linear-svm head"));
}

absl::Status CheckPhases(const std::vector<Phase>& phases, HeadType head, const Backbone& backbone) {
  if (phases.empty()) return absl::InvalidArgumentError("phases: got none, want at least one");
  for (size_t i = 0; i < phases.size(); ++i) {
    const Phase& p = phases[i];
    const std::string where = absl::StrCat("phases[", i, "].");
    if (p.split_point < 0 || p.split_point > backbone.num_stages()) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, "split_point: got ", p.split_point, ", want 0 to ", backbone.num_stages()));
    }
    if (i > 0 && p.split_point > phases[i - 1].split_point) {
      // Its frozen prefix is the pretrained one: what an earlier phase trained there would be lost without a word.
      return absl::InvalidArgumentError(absl::StrCat(where, "split_point: got ", p.split_point, ", want at most ",
                                                     phases[i - 1].split_point, ", that of the phase before"));
    }
    if (p.epochs < 1 || p.batch_size < 1 || p.accumulate_batches < 1) {
      return absl::InvalidArgumentError(absl::StrCat(where, "epochs, batch_size and accumulate_batches: want >= 1"));
    }
    RETURN_IF_ERROR(CheckLabelSmoothing(where, p.label_smoothing, head));
    for (const absl::Status& part : {p.optimizer.Validate(), p.schedule.Validate(), p.mix.Validate(),
                                     p.augment.Validate()}) {
      if (!part.ok()) return absl::InvalidArgumentError(absl::StrCat(where, part.message()));
    }
    if (const absl::Status finder = p.rate_finder.Validate(); !finder.ok()) {
      return absl::InvalidArgumentError(absl::StrCat(where, "rate_finder.", finder.message()));
    }
    if (p.rate_finder.steps > 0 && p.optimizer.kind == OptimizerKind::kLbfgs) {
      return absl::InvalidArgumentError(absl::StrCat(where, "rate_finder.steps: got ", p.rate_finder.steps,
                                                     ", want 0 with L-BFGS, whose line search finds its steps"));
    }
    const int64_t unfrozen = backbone.parameter_count(p.split_point, backbone.num_stages());
    const bool fine_tunes = p.split_point < backbone.num_stages();
    if (fine_tunes && !backbone.architecture().trainable) {
      return absl::InvalidArgumentError(absl::StrCat(where, "split_point: got ", p.split_point, ", want ",
                                                     backbone.num_stages(), ": ", backbone.name(), " stays frozen"));
    }
    if (fine_tunes && unfrozen == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, "split_point: got ", p.split_point,
                       ", which unfreezes stages without parameters: nothing of the backbone would be trained"));
    }
    if (fine_tunes && !(p.backbone_learning_rate > 0)) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, "backbone_learning_rate: got ", p.backbone_learning_rate, ", want > 0"));
    }
    if (!(p.head_learning_rate > 0)) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, "head_learning_rate: got ", p.head_learning_rate, ", want > 0"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckPreprocessing(const PreprocessSpec& preprocessing, const Backbone& backbone) {
  RETURN_IF_ERROR(preprocessing.Validate());
  return backbone.architecture().input.Check("preprocessing.crop_px", preprocessing.crop_px);
}

absl::Status CheckLabel(const Example& example, size_t classes) {
  if (example.label < 0 || example.label >= static_cast<int>(classes)) {
    return absl::InvalidArgumentError(absl::StrCat("label: got ", example.label, " for picture ", example.id));
  }
  if (example.labels.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("labels: got some for picture ", example.id, ", want them only in a multi-label dataset"));
}

absl::Status CheckLabels(const Example& example, size_t classes) {
  if (example.label != -1) {
    return absl::InvalidArgumentError(absl::StrCat("label: got ", example.label, " for picture ", example.id,
                                                   ", want -1 in a multi-label dataset"));
  }
  for (size_t i = 0; i < example.labels.size(); ++i) {
    const int label = example.labels[i];
    const bool ascends = i == 0 || label > example.labels[i - 1];
    if (label >= 0 && label < static_cast<int>(classes) && ascends) continue;
    return absl::InvalidArgumentError(absl::StrCat("labels: got ", absl::StrJoin(example.labels, ", "), " for picture ",
                                                   example.id, ", want 0 to ", classes - 1, ", ascending"));
  }
  return absl::OkStatus();
}

// A class that no training picture has would be learnt as never there.
absl::Status CheckEachClassIsThere(const Dataset& data) {
  const auto classes = static_cast<int>(data.class_names.size());
  const std::vector<int64_t> counts = Labelling::Of(data.train).Counts(classes);
  for (int c = 0; c < classes; ++c) {
    if (counts[c] > 0) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("train: got no picture of class \"", data.class_names[c], "\", want at least one"));
  }
  return absl::OkStatus();
}

absl::Status CheckData(const Dataset& data) {
  if (data.class_names.size() < (data.multi_label ? 1 : 2)) {
    return absl::InvalidArgumentError(data.multi_label ? "classes: got none" : "classes: got fewer than two");
  }
  if (data.train.empty()) return absl::InvalidArgumentError("train: got no pictures");
  if (data.validation.empty()) return absl::InvalidArgumentError("validation: got no pictures");
  for (const auto* split : {&data.train, &data.validation, &data.test}) {
    for (const Example& example : *split) {
      RETURN_IF_ERROR(data.multi_label ? CheckLabels(example, data.class_names.size())
                                       : CheckLabel(example, data.class_names.size()));
    }
  }
  return data.multi_label ? CheckEachClassIsThere(data) : absl::OkStatus();
}

}  // namespace

absl::Status CheckTraining(const TrainOptions& options, const Dataset& data) {
  RETURN_IF_ERROR(CheckPhases(options.phases, options.head.type, *options.backbone));
  RETURN_IF_ERROR(CheckPreprocessing(options.preprocessing, *options.backbone));
  RETURN_IF_ERROR(options.head.Validate());
  RETURN_IF_ERROR(CheckData(data));
  RETURN_IF_ERROR(CheckForLabels(options.class_balance, data.multi_label));
  const EarlyStopping& stop = options.early_stopping;
  if (stop.patience > 0 && !(stop.holdout > 0 && stop.holdout < 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("early_stopping.holdout: got ", stop.holdout, ", want 0 < holdout < 1"));
  }
  if (options.folds > static_cast<int64_t>(data.train.size())) {
    return absl::InvalidArgumentError(absl::StrCat("evaluation.folds: got ", options.folds, ", want at most ",
                                                   data.train.size(), ", the training pictures"));
  }
  return absl::OkStatus();
}

}  // namespace graft

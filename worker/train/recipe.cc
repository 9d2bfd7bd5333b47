#include "worker/train/recipe.h"

#include <array>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "worker/base/status.h"
#include "worker/train/recipe_options.h"

namespace graft {
namespace {

constexpr int kMaxEpochs = 10'000;
constexpr size_t kMaxNameBytes = 128;

std::string Text(int value) { return absl::StrCat(value); }
std::string Text(double value) { return absl::StrCat(value); }
std::string Text(bool value) { return value ? "true" : "false"; }
std::string Text(const std::string& value) { return value.empty() ? "\"\"" : value; }
std::string Text(HeadType value) { return std::string(HeadTypeName(value)); }
std::string Text(Precision value) { return std::string(PrecisionName(value)); }
std::string Text(OptimizerKind value) { return OptimizerName(value); }
std::string Text(ScheduleKind value) {
  return std::array{"constant", "step", "cosine", "one-cycle"}[static_cast<size_t>(value)];
}
std::string Text(StopMetric value) {
  return std::array{"loss", "accuracy", "macro-f1"}[static_cast<size_t>(value)];
}
std::string Text(ClassBalance value) {
  return std::array{"none", "weights", "sampling"}[static_cast<size_t>(value)];
}

class Violations {
 public:
  template <typename T>
  void Range(absl::string_view option, T got, T low, T high) {
    Want(got >= low && got <= high, option, got, absl::StrCat(low, " to ", high));
  }
  template <typename T>
  void Want(bool holds, absl::string_view option, T got, absl::string_view want) {
    if (!holds) lines_.push_back(absl::StrCat(option, ": got ", got, ", want ", want));
  }
  // `prefix` before each line of what a part of the recipe says.
  void Add(absl::string_view prefix, const absl::Status& status) {
    if (status.ok()) return;
    for (const absl::string_view line : absl::StrSplit(status.message(), '\n')) {
      lines_.push_back(absl::StrCat(prefix, line));
    }
  }
  void Add(std::string line) { lines_.push_back(std::move(line)); }
  absl::Status status() const {
    return lines_.empty() ? absl::OkStatus() : absl::InvalidArgumentError(absl::StrJoin(lines_, "\n"));
  }

 private:
  std::vector<std::string> lines_;
};

void CheckTraining(const Recipe& r, Violations* v) {
  const bool tunes = r.strategy == Strategy::kFineTune || r.strategy == Strategy::kGradual;
  v->Range("epochs", r.epochs, 1, kMaxEpochs);
  // One picture has no batch statistics.
  v->Range("batch_size", r.batch_size, r.strategy == Strategy::kScratch ? 2 : 1, 1024);
  v->Range("accumulate_batches", r.accumulate_batches, 1, 1024);
  v->Want(r.learning_rate > 0 && r.learning_rate <= 10, "learning_rate", r.learning_rate, "> 0 and <= 10");
  if (tunes) {
    v->Range("fine_tune.head_epochs", r.head_epochs, 1, kMaxEpochs);
    if (r.unfreeze_from.empty()) v->Range("fine_tune.unfreeze_stages", r.unfreeze_stages, 1, 1000);
    v->Want(r.stage_decay > 0 && r.stage_decay <= 1, "fine_tune.stage_decay", r.stage_decay, "> 0 and <= 1");
  }
  if (r.unfreeze_from.size() > kMaxNameBytes) {
    v->Add(absl::StrCat("fine_tune.unfreeze_from: got ", r.unfreeze_from.size(), " bytes, want at most ", kMaxNameBytes));
  }
  if (r.optimizer.kind == OptimizerKind::kLbfgs && r.strategy != Strategy::kFrozenHead) {
    v->Add("optimizer.type: got lbfgs, want sgd, adamw or rmsprop: only a frozen head has a loss without noise");
  }
  v->Range("checkpoint_seconds", r.checkpoint_seconds, 1.0, 86400.0);
}

// A line search compares losses: all of a phase must be of the same pictures and the same network.
void CheckNoise(const Recipe& r, Violations* v) {
  if (r.optimizer.kind != OptimizerKind::kLbfgs || r.strategy != Strategy::kFrozenHead) return;
  constexpr const char* kWhy = " with L-BFGS, whose loss must be without noise";
  v->Want(!(r.head.dropout > 0), "head.dropout", r.head.dropout, absl::StrCat("0", kWhy));
  v->Want(r.class_balance != ClassBalance::kSampling, "class_balance", Text(r.class_balance),
          absl::StrCat("none or weights", kWhy));
  if (r.augment == AugmentSpec()) return;
  const std::string got = r.augmentation == "none" ? ": got some" : absl::StrCat(".preset: got ", r.augmentation);
  v->Add(absl::StrCat("augmentation", got, ", want none", kWhy));
}

void CheckRegularization(const Recipe& r, Violations* v) {
  v->Range("optimizer.weight_decay", r.weight_decay, 0.0, 1.0);
  v->Want(r.label_smoothing >= 0 && r.label_smoothing < 1, "regularization.label_smoothing", r.label_smoothing,
          "0 <= label_smoothing < 1");
  if (r.head.type == HeadType::kLinearSvm && r.label_smoothing > 0) {
    v->Add("regularization.label_smoothing: got some, want 0 with the linear-svm head, whose loss has no probabilities");
  }
  v->Want(r.clip_norm >= 0 && std::isfinite(r.clip_norm), "regularization.clip_norm", r.clip_norm, "a number >= 0");
  v->Range("regularization.l2_sp", r.l2_sp, 0.0, 10.0);
  v->Want(r.ema_decay >= 0 && r.ema_decay < 1, "regularization.ema_decay", r.ema_decay, "0 <= ema_decay < 1");
  v->Range("augmentation.views", r.augmented_views, 0, 64);
}

void CheckMeasuring(const Recipe& r, Violations* v) {
  const EarlyStopping& stop = r.early_stopping;
  v->Range("early_stopping.patience", stop.patience, 0, 1000);
  if (stop.patience != 0) {
    v->Want(stop.min_delta >= 0 && std::isfinite(stop.min_delta), "early_stopping.min_delta", stop.min_delta,
            "a number >= 0");
    v->Range("early_stopping.holdout", stop.holdout, 0.05, 0.5);
  }
  v->Want(r.folds == 0 || (r.folds >= 2 && r.folds <= 20), "evaluation.folds", r.folds, "0 or 2 to 20");
  v->Want(r.precision_target > 0 && r.precision_target <= 1, "evaluation.precision_target", r.precision_target,
          "> 0 and <= 1");
  v->Want(r.learning_curve == 0 || (r.learning_curve >= 3 && r.learning_curve <= 10), "evaluation.learning_curve",
          r.learning_curve, "0 or 3 to 10");
}

}  // namespace

absl::StatusOr<Recipe> WithDefaults(const Recipe& recipe, std::vector<DefaultValue>* defaults) {
  Recipe full = recipe;
  Violations violations;
  ForEachOption(full, [&](const char* path, auto& field, const auto& otherwise) {
    const bool chosen = full.chosen.count(path) > 0;
    if (chosen && otherwise.only == nullptr) return;
    if (chosen) violations.Add(absl::StrCat(path, ": got ", Text(field), ", want ", otherwise.only));
    field = otherwise.value;
    if (defaults != nullptr && otherwise.only == nullptr && otherwise.source != nullptr) {
      defaults->push_back({path, Text(field), otherwise.source});
    }
  });
  CheckTraining(full, &violations);
  CheckNoise(full, &violations);
  CheckRegularization(full, &violations);
  CheckMeasuring(full, &violations);
  violations.Add("", full.head.Validate());
  violations.Add("optimizer.", full.optimizer.Validate());
  violations.Add("learning_rate_finder.", full.rate_finder.Validate());
  violations.Add("schedule.", full.schedule.Validate());
  violations.Add("regularization.", full.mix.Validate());
  const absl::Status preset = AugmentPreset(full.augmentation).status();
  violations.Add("", preset.ok() ? preset : absl::InvalidArgumentError(absl::StrReplaceAll(
                                                preset.message(), {{"augmentation:", "augmentation.preset:"}})));
  violations.Add("augmentation.", full.augment.Validate());
  RETURN_IF_ERROR(violations.status());
  return full;
}

std::vector<DefaultValue> PresetValues(const Recipe& with_defaults) {
  if (with_defaults.augment == AugmentSpec()) return {};
  Recipe recipe = with_defaults;
  const std::string source = absl::StrCat("preset ", recipe.augmentation);
  std::vector<DefaultValue> values;
  ForEachOption(recipe, [&](const char* path, auto& field, const auto& otherwise) {
    const bool implied = otherwise.source == nullptr && otherwise.only == nullptr && recipe.chosen.count(path) == 0;
    if (implied) values.push_back({path, Text(field), source});
  });
  return values;
}

absl::Status CheckForLabels(const Recipe& recipe, bool multi_label) {
  return CheckForLabels(recipe.class_balance, multi_label);
}

}  // namespace graft

#pragma once

#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/backbone/precision.h"
#include "worker/image/augment_spec.h"
#include "worker/model/head.h"
#include "worker/train/class_balance.h"
#include "worker/train/learning_rate_finder.h"
#include "worker/train/mix.h"
#include "worker/train/optimizer.h"
#include "worker/train/schedule.h"

namespace graft {

enum class Strategy {
  kFrozenHead,
  kFineTune,  // the head first, then the last stages with it
  kScratch,   // the whole network from random weights
  kGradual,   // as kFineTune, with one stage more in each phase (Howard and Ruder 2018, arXiv:1801.06146)
};

enum class StopMetric { kLoss, kAccuracy, kMacroF1 };

// Ends a phase when a metric of held-out training pictures no longer improves, and goes back to its best weights
// (Prechelt 1998). The validation split stays unseen by this choice.
struct EarlyStopping {
  int patience = 0;  // epochs without improvement; 0: off
  StopMetric metric = StopMetric::kLoss;
  double min_delta = 0;  // less is no improvement
  double holdout = 0;    // share of the training split
};

// What a user chooses of a training. A strategy and these are all; worker/train/phase.h makes phases of them.
struct Recipe {
  Strategy strategy = Strategy::kFrozenHead;
  int epochs = 0;              // of the last phase; kGradual: of all phases after the head's
  int batch_size = 0;          // images
  int accumulate_batches = 0;  // that make one step
  double learning_rate = 0;    // of the last phase
  RateFinderOptions rate_finder;  // kFineTune, kGradual: not of the head's own phase
  int head_epochs = 0;         // kFineTune, kGradual: of the head's own phase
  int unfreeze_stages = 0;     // kFineTune, kGradual: last stages with parameters; 0: unfreeze_from says it
  std::string unfreeze_from;   // kFineTune, kGradual: name of the first stage to train
  double stage_decay = 0;      // kFineTune, kGradual: of the rate, for each stage further from the head
  HeadOptions head;
  OptimizerOptions optimizer;
  double weight_decay = 0;     // not on norms and biases
  ScheduleOptions schedule;
  double label_smoothing = 0, clip_norm = 0, l2_sp = 0, ema_decay = 0;
  MixOptions mix;
  std::string augmentation;    // a preset's name
  AugmentSpec augment;
  int augmented_views = 0;
  EarlyStopping early_stopping;
  ClassBalance class_balance = ClassBalance::kNone;
  Precision precision = Precision::kAuto;
  double checkpoint_seconds = 0;
  int folds = 0;               // of a linear probe's cross-validation; 0: none
  double precision_target = 0; // of the classes' thresholds
  int learning_curve = 0;      // subsets; 0: none

  // Options that the user chose, by their paths ("optimizer.momentum"); the others get defaults.
  std::set<std::string> chosen;
};

// A value that a user left open.
struct DefaultValue {
  std::string option;  // path
  std::string value;
  std::string source;  // the paper, book or program that it comes from
};

// The recipe with every default filled in, and which they were (if `defaults` is not null), in the order of the options.
//   InvalidArgument  every violation, one a line, by path: "optimizer.momentum: got 1.5, want 0 <= momentum < 1"
absl::StatusOr<Recipe> WithDefaults(const Recipe& recipe, std::vector<DefaultValue>* defaults = nullptr);

// With augmentation, what its preset gives those of its numbers that were not chosen. WithDefaults() does not name them:
// a spec without them repeats the preset.
std::vector<DefaultValue> PresetValues(const Recipe& with_defaults);

// What a dataset's kind does not allow; more than WithDefaults() can know.
//   InvalidArgument  every violation, one a line, by path: class_balance is sampling with a multi-label dataset
absl::Status CheckForLabels(const Recipe& recipe, bool multi_label);

}  // namespace graft

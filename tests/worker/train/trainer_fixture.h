#pragma once

#include <torch/torch.h>

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/pictures.h"
#include "tests/support/tiny_backbone.h"
#include "worker/base/status.h"
#include "worker/device/threads.h"
#include "worker/model/checkpoint.h"
#include "worker/train/train_state.h"
#include "worker/train/trainer.h"

namespace graft {

// Keeps all that it is told.
class RecordingObserver : public TrainObserver {
 public:
  absl::Status OnPhase(const PhaseStarted& phase) override {
    phases.push_back(phase);
    return absl::OkStatus();
  }
  absl::Status OnProgress(const Progress& p) override {
    progress.push_back(p);
    return absl::OkStatus();
  }
  absl::Status OnLearningRate(const LearningRateFound& found) override {
    rates.push_back(found);
    return on_rate ? on_rate() : absl::OkStatus();
  }
  absl::Status OnEpoch(const EpochMetrics& metrics) override {
    epochs.push_back(metrics);
    return on_epoch ? on_epoch() : absl::OkStatus();
  }
  absl::Status OnState(const StatePoint& point, const std::string& state) override {
    points.push_back(point);
    states.push_back(state);
    return on_state ? on_state() : absl::OkStatus();
  }
  absl::Status OnWarning(const std::string& message) override {
    warnings.push_back(message);
    return absl::OkStatus();
  }

  std::vector<PhaseStarted> phases;
  std::vector<Progress> progress;
  std::vector<LearningRateFound> rates;
  std::vector<EpochMetrics> epochs;
  std::vector<StatePoint> points;  // of `states`
  std::vector<std::string> states, warnings;
  std::function<absl::Status()> on_epoch, on_state, on_rate;
};

inline Phase HeadPhase(int epochs) {
  Phase phase;
  phase.name = "head";
  phase.split_point = 14;
  phase.epochs = epochs;
  phase.batch_size = 4;
  phase.head_learning_rate = 0.1;  // of pictures so small, features are too
  phase.schedule.kind = ScheduleKind::kCosine;
  return phase;
}

// Trains features.12 (a convolution and its batch norm) and the head.
inline Phase TunePhase(int epochs) {
  Phase phase = HeadPhase(epochs);
  phase.name = "fine-tune";
  phase.split_point = 12;
  phase.head_learning_rate = phase.backbone_learning_rate = 1e-3;
  phase.weight_decay = 1e-4;
  return phase;
}

// Pictures of 64 px: a sixteenth of the work, and features.12 still has maps of 2x2.
inline TrainOptions OptionsFor(std::vector<Phase> phases) {
  TrainOptions options;
  options.backbone = TinyBackbone();
  const auto preprocessing = options.backbone->PreprocessingFor(64);
  GRAFT_CHECK(preprocessing.ok());
  options.preprocessing = *preprocessing;
  options.phases = std::move(phases);
  options.seed = 3;
  options.training_config = R"({"a":1})";
  return options;
}

// The whole of mobilenet_v3_small from random weights, on pictures of 32 px: its last maps have one pixel.
inline TrainOptions ScratchOptions(int epochs) {
  const auto backbone = Backbone::Untrained("mobilenet_v3_small");
  GRAFT_CHECK(backbone.ok());
  Recipe recipe;
  recipe.strategy = Strategy::kScratch;
  recipe.epochs = epochs;
  recipe.batch_size = 4;
  recipe.chosen = {"epochs", "batch_size"};
  const auto phases = MakePhases(*WithDefaults(recipe), **backbone);
  const auto preprocessing = (*backbone)->PreprocessingFor(32);
  GRAFT_CHECK(phases.ok() && preprocessing.ok());
  TrainOptions options = OptionsFor(*phases);
  options.backbone = *backbone;
  options.preprocessing = *preprocessing;
  return options;
}

// Everything that can go wrong between two steps: two kinds of views, mixing, dropout, averages, accumulation, held-out
// pictures, balanced sampling, three optimizers, a pull to the pretrained weights, and stages that thaw one by one.
inline TrainOptions EverythingOptions() {
  Phase head = HeadPhase(2), tune = TunePhase(2), deeper = TunePhase(2);
  head.optimizer.kind = OptimizerKind::kAdamW;
  head.head_learning_rate = 1e-2;
  tune.optimizer.kind = OptimizerKind::kAdamW;
  tune.augment = *AugmentPreset("crop-flip");
  tune.augmented_views = 2;
  tune.clip_norm = 1;
  deeper.split_point = 11;
  deeper.stage_decay = 0.5;
  deeper.optimizer.kind = OptimizerKind::kRmsProp;
  deeper.augment = *AugmentPreset("keras");
  deeper.schedule = {ScheduleKind::kOneCycle};
  TrainOptions options = OptionsFor({head, tune, deeper});
  for (Phase& phase : options.phases) {
    phase.batch_size = 2;
    phase.accumulate_batches = 2;
    phase.mix = {0.4, 0.4};
    phase.ema_decay = 0.9;
    phase.label_smoothing = 0.1;
    if (phase.split_point < 14) phase.l2_sp = 0.01;
  }
  options.head.dropout = 0.3;
  options.early_stopping = {1, StopMetric::kLoss, 0, 0.25};
  options.class_balance = ClassBalance::kSampling;
  return options;
}

inline absl::StatusOr<TrainResult> TrainOn(const TrainOptions& options, const Dataset& data, TrainObserver* observer,
                                           int threads = 2, const CancelToken& cancel = CancelToken()) {
  WorkerPool pool({threads, 0, "test", UseOneIntraOpThread});
  return Train(options, data, &pool, observer, cancel);
}

// Of a training that must succeed; nobody watches it.
inline TrainResult MustTrain(const TrainOptions& options, const Dataset& data, int threads = 2) {
  RecordingObserver observer;
  absl::StatusOr<TrainResult> result = TrainOn(options, data, &observer, threads);
  GRAFT_CHECK(result.ok());
  return *std::move(result);
}

using Tensors = std::map<std::string, at::Tensor>;

inline Tensors WeightsOf(const std::string& checkpoint) {
  const auto parsed = ParseCheckpoint(checkpoint);
  GRAFT_CHECK(parsed.ok());
  return parsed->weights;
}

inline TrainState ParsedState(const std::string& bytes) {
  absl::StatusOr<TrainState> state = ParseTrainState(bytes);
  GRAFT_CHECK(state.ok());
  return *std::move(state);
}

// The largest difference of a number in `a` from the same in `b`, which has at least a's names.
inline double LargestDifference(const Tensors& a, const Tensors& b) {
  double largest = 0;
  for (const auto& [name, value] : a) largest = std::max(largest, (value - b.at(name)).abs().max().item<double>());
  return largest;
}

}  // namespace graft

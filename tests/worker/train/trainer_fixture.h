#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/pictures.h"
#include "tests/support/tiny_backbone.h"
#include "worker/base/status.h"
#include "worker/device/threads.h"
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
  absl::Status OnEpoch(const EpochMetrics& metrics) override {
    epochs.push_back(metrics);
    return on_epoch ? on_epoch() : absl::OkStatus();
  }
  absl::Status OnState(const EpochMetrics&, const std::string& state) override {
    states.push_back(state);
    return absl::OkStatus();
  }
  absl::Status OnWarning(const std::string& message) override {
    warnings.push_back(message);
    return absl::OkStatus();
  }

  std::vector<PhaseStarted> phases;
  std::vector<Progress> progress;
  std::vector<EpochMetrics> epochs;
  std::vector<std::string> states, warnings;
  std::function<absl::Status()> on_epoch;
};

inline Phase HeadPhase(int epochs) {
  Phase phase;
  phase.name = "head";
  phase.split_point = 14;
  phase.epochs = epochs;
  phase.batch_size = 4;
  phase.head_learning_rate = 1e-2;
  phase.schedule = Schedule::kCosine;
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

inline TrainOptions OptionsFor(std::vector<Phase> phases) {
  TrainOptions options;
  options.backbone = TinyBackbone();
  options.preprocessing = options.backbone->preprocessing();
  options.phases = std::move(phases);
  options.seed = 3;
  options.training_config = R"({"a":1})";
  return options;
}

// The whole of mobilenet_v3_small from random weights, on pictures of 32 px: its last maps have one pixel.
inline TrainOptions ScratchOptions(int epochs) {
  const auto backbone = Backbone::Untrained("mobilenet_v3_small");
  GRAFT_CHECK(backbone.ok());
  StrategyOptions strategy;
  strategy.strategy = Strategy::kScratch;
  strategy.epochs = epochs;
  strategy.batch_size = 4;
  const auto phases = MakePhases(*WithDefaults(strategy), **backbone);
  const auto preprocessing = (*backbone)->PreprocessingFor(32);
  GRAFT_CHECK(phases.ok() && preprocessing.ok());
  TrainOptions options = OptionsFor(*phases);
  options.backbone = *backbone;
  options.preprocessing = *preprocessing;
  return options;
}

inline absl::StatusOr<TrainResult> TrainOn(const TrainOptions& options, const Dataset& data, TrainObserver* observer,
                                           int threads = 2, const CancelToken& cancel = CancelToken()) {
  WorkerPool pool({threads, 0, "test", UseOneIntraOpThread});
  return Train(options, data, &pool, observer, cancel);
}

}  // namespace graft

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/backbone/backbone.h"
#include "worker/base/cancel_token.h"
#include "worker/base/worker_pool.h"
#include "worker/data/dataset.h"
#include "worker/image/preprocess.h"
#include "worker/train/evaluation.h"
#include "worker/train/phase.h"

namespace graft {

struct ParameterCounts {
  int64_t trainable_backbone = 0, trainable_head = 0, frozen = 0;
};

struct PhaseStarted {
  const Phase* phase = nullptr;
  int index = 0;
  std::vector<std::string> trained_stages;
  ParameterCounts parameters;
};

struct Progress {
  std::string activity;  // "features", "train"
  int64_t done = 0, total = 0;  // images
  double images_per_second = 0;
};

struct EpochMetrics {
  std::string phase;
  int epoch = 0, phase_epochs = 0;  // epoch from 1
  double train_loss = 0, train_accuracy = 0;
  double val_loss = 0, val_accuracy = 0;
  double learning_rate = 0;         // of the head, at the epoch's last step
  double images_per_second = 0;
  double seconds = 0, eta_seconds = 0;
};

// Learns what happens, from the thread that called Train(). An error ends the training with it.
class TrainObserver {
 public:
  virtual ~TrainObserver() = default;
  virtual absl::Status OnPhase(const PhaseStarted& phase) = 0;
  virtual absl::Status OnProgress(const Progress& progress) = 0;  // at most about twice a second
  virtual absl::Status OnEpoch(const EpochMetrics& metrics) = 0;
  // After each epoch: everything needed to go on from here (safetensors bytes, at most a few times the suffix).
  virtual absl::Status OnState(const EpochMetrics& metrics, const std::string& state) = 0;
  virtual absl::Status OnWarning(const std::string& message) = 0;
};

struct TrainOptions {
  std::shared_ptr<const Backbone> backbone;
  PreprocessSpec preprocessing;  // of all pictures, and the checkpoint's: Backbone::PreprocessingFor()
  std::vector<Phase> phases;
  uint64_t seed = 0;
  int64_t activation_cache_bytes = int64_t{1} << 30;  // beyond it activations are computed again each epoch
  ImageLimits image_limits;
  std::string resume_state;      // from OnState() of the same job; empty = from the start
  std::string training_config;   // JSON object stored in the checkpoint for the record
};

struct TrainResult {
  std::string checkpoint;  // safetensors bytes, see worker/model/checkpoint.h
  Evaluation evaluation;   // of the test split when there is one, else validation
  int split_point = 0;
};

// Trains phase after phase on `pool`'s threads and evaluates the last epoch's weights. The same options, data, device
// kind and pool size give the same result bit for bit, also when it was interrupted and resumed.
//   InvalidArgument     phases that train nothing, freeze again what an earlier one trained, fine-tune no backbone
//                       parameters, or a backbone that can only be used frozen; a size of picture that the backbone
//                       does not compute; a loss that becomes infinite (the learning rate is too high)
//   FailedPrecondition  `resume_state` is of another job, or damaged
//   Cancelled           `cancel` was switched (checked each batch)
//   DataLoss            an example can no longer be read or decoded
//   ResourceExhausted   out of memory
//   Internal            LibTorch failed otherwise
absl::StatusOr<TrainResult> Train(const TrainOptions& options, const Dataset& data, WorkerPool* pool,
                                  TrainObserver* observer, const CancelToken& cancel);

}  // namespace graft

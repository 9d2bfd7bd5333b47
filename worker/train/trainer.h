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
#include "worker/data/activation_store.h"
#include "worker/train/assessment.h"
#include "worker/train/learning_rate_finder.h"
#include "worker/train/phase.h"

namespace graft {

struct ParameterCounts {
  int64_t trainable_backbone = 0, trainable_head = 0, frozen = 0;
};

struct PhaseStarted {
  const Phase* phase = nullptr;  // as asked for: a rate that its finder finds comes with OnLearningRate()
  int index = 0;
  int epochs_before = 0;  // of the phases before it
  std::vector<std::string> trained_stages;
  ParameterCounts parameters;
};

// What a phase would train.
PhaseStarted Describe(const Phase& phase, int index, const Backbone& backbone, const HeadOptions& head,
                      int64_t num_classes);

struct Progress {
  std::string activity;  // "features", "learning rate finder", "train"
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
  std::optional<double> held_out_loss, held_out_accuracy;  // with early stopping
  std::optional<double> held_out_macro_f1;                 // with early stopping by it
  bool best = false;                // so far, by the metric of early stopping
};

// How far a state is.
struct StatePoint {
  std::string phase;
  int epoch = 0;        // finished epochs of the phase
  int64_t images = 0;   // done of the epoch after them
};

// Learns what happens, from the thread that called Train(). An error ends the training with it.
class TrainObserver {
 public:
  virtual ~TrainObserver() = default;
  virtual absl::Status OnPhase(const PhaseStarted& phase) = 0;
  virtual absl::Status OnProgress(const Progress& progress) = 0;  // at most about twice a second
  // After the phase was announced, before its first epoch.
  virtual absl::Status OnLearningRate(const LearningRateFound& found) = 0;
  virtual absl::Status OnEpoch(const EpochMetrics& metrics) = 0;
  // Everything needed to go on from here (safetensors bytes, at most a few times the suffix).
  virtual absl::Status OnState(const StatePoint& point, const std::string& state) = 0;
  virtual absl::Status OnWarning(const std::string& message) = 0;
};

struct TrainOptions {
  std::shared_ptr<const Backbone> backbone;
  PreprocessSpec preprocessing;  // of all pictures, and the checkpoint's: Backbone::PreprocessingFor()
  std::vector<Phase> phases;
  HeadOptions head;
  EarlyStopping early_stopping;
  ClassBalance class_balance = ClassBalance::kNone;
  Precision precision = Precision::kFloat32;          // of training; what is measured is always float32, as served
  double precision_target = 0.95;                     // of the classes' thresholds
  int folds = 0, learning_curve = 0;                  // see Recipe
  uint64_t seed = 0;
  int64_t activation_cache_bytes = int64_t{1} << 30;  // of memory; beyond it the store or computing them again
  ActivationStore* activation_store = nullptr;        // outlives the training; null: none
  // A state is given to the observer inside an epoch when the last one is older than this, after an epoch when it is
  // older than a tenth of it, and after a learning rate finder. 0: after each epoch and only then.
  double state_seconds = 0;
  ImageLimits image_limits;
  std::string resume_state;      // from OnState() of the same job; empty = from the start
  std::string training_config;   // JSON object stored in the checkpoint for the record
};

struct TrainResult {
  std::string checkpoint;       // safetensors bytes, see worker/model/checkpoint.h
  std::string last_checkpoint;  // of the last epoch, when early stopping went back to a better one; else empty
  Assessment assessment;        // of `checkpoint`
  Assessment last_assessment;   // of `last_checkpoint`, without what is no matter of weights
  int split_point = 0;
};

// The options of a recipe with defaults, but for backbone, preprocessing and phases.
void SetFrom(const Recipe& recipe, TrainOptions* options);

// Trains phase after phase on `pool`'s threads and assesses the last epoch's weights, or the best epoch's with early
// stopping. The same options, data, device kind and pool size give the same result bit for bit, also when it was
// interrupted and resumed.
//   InvalidArgument     no phases, or some that train nothing, freeze again what an earlier one trained, fine-tune no
//                       backbone parameters, or a backbone that can only be used frozen; an option of a phase, of the
//                       head, of the preprocessing or of early stopping out of its range; label smoothing with the
//                       linear-svm head; a finder with L-BFGS; a size of picture that the backbone does not compute;
//                       fewer than two classes (multi-label: none); no training or validation pictures; labels that
//                       are no classes or not of the dataset's kind; multi-label: a class without training picture,
//                       or sampling by class; more folds than training pictures; early stopping that finds no class
//                       with a picture to hold out; a loss that becomes infinite (the learning rate is too high)
//   FailedPrecondition  `resume_state` is of another job, or damaged; the device does not compute `precision`
//   Cancelled           `cancel` was switched (checked each batch)
//   DeadlineExceeded    an Until() of `cancel` is over
//   DataLoss            an example can no longer be read or decoded
//   ResourceExhausted   out of memory
//   Internal            LibTorch failed otherwise
absl::StatusOr<TrainResult> Train(const TrainOptions& options, const Dataset& data, WorkerPool* pool,
                                  TrainObserver* observer, const CancelToken& cancel);

}  // namespace graft

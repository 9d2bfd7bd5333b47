#pragma once

#include <cstdint>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/backbone/precision.h"
#include "worker/base/cancel_token.h"
#include "worker/base/worker_pool.h"
#include "worker/data/activations.h"
#include "worker/model/suffix.h"
#include "worker/train/loss.h"
#include "worker/train/loss_scaler.h"
#include "worker/train/mix.h"
#include "worker/train/optimizer.h"
#include "worker/train/phase.h"
#include "worker/train/weight_average.h"

namespace graft {

// How far an epoch is.
struct EpochTotals {
  double loss = 0;        // weighted sum over images, nats
  double weight = 0;
  int64_t correct = 0;
  int64_t images = 0;
  double last_rate_factor = 0;  // of the learning rates, at the last step
};

// One phase's training: a suffix, a replica of it for each pool thread, and the optimizer.
//
// A batch is cut into one shard for each replica; the gradients are summed in replica order, so that the result depends
// on the number of replicas by float rounding only and on nothing else.
//
// Threads: one at a time.
class PhaseRun {
 public:
  struct Options {
    Phase phase;
    int index = 0;               // of the phase in its job
    uint64_t seed = 0;
    HeadOptions head;
    std::vector<double> class_weights;  // of the loss; empty: all 1
    bool multi_label = false;
    Precision precision = Precision::kFloat32;  // of the unfrozen stages on CUDA; not kAuto
  };
  // Requires: options make a valid LossOptions.
  PhaseRun(Options options, std::shared_ptr<const Backbone> backbone, std::unique_ptr<Suffix> suffix, WorkerPool* pool);
  ~PhaseRun();

  // An epoch under way.
  struct Epoch {
    Activations* activations = nullptr;
    const std::vector<int64_t>* order = nullptr;  // indices into them
    int index = 0;                                // from 0: what mixing and dropout draw for
    int64_t view = 0;
    int64_t prepared = 0;                         // rows of the order before this one are in memory; 0: none
    // Of the rows after them, when they are computed ahead: the end of an epoch that is left early waits for it.
    std::future<absl::Status> next;
  };
  // One update on the pictures of `order` from `begin` on, with the learning rates times `factor`. Returns its totals,
  // whose loss may be infinite or no number.
  //   Cancelled, DeadlineExceeded, DataLoss, ResourceExhausted, Internal
  absl::StatusOr<EpochTotals> TrainStep(Epoch* epoch, int64_t begin, double factor, const CancelToken& cancel);
  // Updates in an epoch of so many pictures.
  int64_t StepsOf(int64_t count) const;

  // Goes on with an epoch (from 0) over `order` (indices into `activations`) where `totals` stands. `after_step` is
  // called after each step.
  //   InvalidArgument  the loss became infinite or not a number;  others as TrainStep()
  absl::Status TrainEpoch(Activations* activations, const std::vector<int64_t>& order, int epoch,
                          const CancelToken& cancel, EpochTotals* totals,
                          const std::function<absl::Status()>& after_step);

  // The mean loss of what `totals` counts, for people: of binary cross-entropy the mean over classes too, as torch's.
  double MeanLoss(const EpochTotals& totals) const;

  // What a model of this phase's weights is: the averages when the phase has them.
  std::map<std::string, at::Tensor> Weights() const { return average_.Weights(*suffix_); }

  const Phase& phase() const { return options_.phase; }
  Suffix& suffix() { return *suffix_; }
  Optimizer& optimizer() { return *optimizer_; }
  WeightAverage& average() { return average_; }
  LossScaler& scaler() { return scaler_; }

 private:
  struct Step;
  struct Batch;
  int64_t StepEnd(int64_t begin, int64_t count) const;
  int64_t WindowEnd(int64_t images, int64_t begin, int64_t count) const;
  absl::Status PrepareWindow(int64_t begin, const CancelToken& cancel, Epoch* epoch);
  void Plan(const Activations& activations, int epoch, int64_t begin, int64_t end, const int64_t* order, Step* step);
  absl::StatusOr<double> ComputeGradients(Activations* activations, const CancelToken& cancel, Step* step);
  absl::Status RunBatch(const Activations& activations, const Step& step, const Batch& batch, EpochTotals* sum);
  absl::Status RunShard(Suffix* replica, const Activations& activations, const Step& step, const Batch& batch,
                        int64_t begin, int64_t end, EpochTotals* totals);
  std::map<std::string, at::Tensor> Statistics() const;
  void SumGradients();
  double FinishGradients();

  const Options options_;
  const std::shared_ptr<const Backbone> backbone_;
  WorkerPool* const pool_;
  std::unique_ptr<Suffix> suffix_;
  const Precision precision_;
  const bool looks_ahead_;
  std::vector<std::unique_ptr<Suffix>> replicas_;  // beyond suffix_ itself, which is shard 0's
  std::vector<Suffix::Parameter> parameters_;                       // suffix_'s: listing them takes time
  std::vector<std::vector<Suffix::Parameter>> replica_parameters_;
  std::unique_ptr<Optimizer> optimizer_;
  std::map<std::string, at::Tensor> anchors_;  // pretrained weights, for L2-SP
  LossOptions loss_;
  WeightAverage average_;
  LossScaler scaler_;
};

}  // namespace graft

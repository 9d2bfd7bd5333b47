#pragma once

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/base/cancel_token.h"
#include "worker/base/worker_pool.h"
#include "worker/data/activations.h"
#include "worker/model/suffix.h"
#include "worker/train/phase.h"
#include "worker/train/sgd.h"

namespace graft {

// One phase's training: a suffix, a replica of it for each pool thread, and the optimizer.
//
// A batch is cut into one shard for each replica; the gradients are summed in replica order, so that the result depends
// on the number of replicas by float rounding only and on nothing else.
//
// Threads: one at a time.
class PhaseRun {
 public:
  struct Totals {
    double loss = 0;      // sum over images, nats
    int64_t correct = 0;
    int64_t images = 0;
    double last_rate_factor = 0;  // of the learning rates, at the epoch's last step
  };

  PhaseRun(const Phase& phase, std::unique_ptr<Suffix> suffix, WorkerPool* pool);

  // One pass over `order` (indices into `activations`); epoch from 0. `progress` is called after each batch with the
  // images done.
  //   InvalidArgument  the loss became infinite or not a number;  Cancelled, DataLoss, ResourceExhausted, Internal
  absl::StatusOr<Totals> TrainEpoch(const Activations& activations, const std::vector<int64_t>& order, int epoch,
                                    const CancelToken& cancel,
                                    const std::function<absl::Status(int64_t done)>& progress);

  // Class probabilities of all examples, row-major [activations.size()][classes].   Errors as above.
  absl::StatusOr<std::vector<float>> Predict(const Activations& activations, const CancelToken& cancel);

  Suffix& suffix() { return *suffix_; }
  Sgd& optimizer() { return optimizer_; }

 private:
  double LearningRateFactor(int epoch, double fraction_of_epoch) const;
  // Where the batch that begins at `begin` of `count` pictures ends.
  int64_t BatchEnd(int64_t begin, int64_t count) const;
  absl::StatusOr<Totals> Step(const Activations& activations, const int64_t* indices, int64_t n);
  absl::Status RunShard(Suffix* replica, const Activations& activations, const int64_t* indices, int64_t n,
                        int64_t batch_size, Totals* totals);
  void SumGradients();

  const Phase& phase_;
  WorkerPool* const pool_;
  std::unique_ptr<Suffix> suffix_;
  std::vector<std::unique_ptr<Suffix>> replicas_;  // beyond suffix_ itself, which is shard 0's
  Sgd optimizer_;
};

}  // namespace graft

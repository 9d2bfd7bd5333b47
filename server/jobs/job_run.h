#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "graft/v1/job.pb.h"
#include "server/jobs/job_observer.h"
#include "server/jobs/job_plan.h"
#include "server/jobs/state_files.h"
#include "server/metrics/metrics.h"
#include "server/models/backbone_directory.h"
#include "server/store/blob_store.h"
#include "server/store/dataset_store.h"
#include "server/store/job_store.h"
#include "worker/base/cancel_token.h"
#include "worker/base/worker_pool.h"
#include "worker/data/activation_store.h"
#include "worker/data/dataset.h"
#include "worker/image/image.h"
#include "worker/train/trainer.h"

namespace graft {

// One attempt at one leased job, from the lease to its end: train, keep the result, tell the store.
//
// Threads:  one at a time.
// Lifetime: what Context points to outlives it.
class JobRun {
 public:
  struct Context {
    JobStore* jobs;
    DatasetStore* datasets;
    BlobStore* blobs;
    BackboneDirectory* backbones;
    Metrics* metrics;
    const StateFiles* states;
    ActivationStore* activations;    // null: none
    WorkerPool* pool;
    std::string owner;               // of the lease
    std::string tensorboard_directory;
    int64_t activation_cache_bytes;
    ImageLimits image_limits;
  };
  // `cancel` decides how a stopped attempt ends: kCancelled ends the job, kDrain puts it back into the queue,
  // kLeaseLost leaves it to its new owner.
  JobRun(JobRecord job, Context context, CancelToken cancel);

  // Errors end in the job and in the log.
  void Run();

 private:
  absl::Status Prepare();
  absl::StatusOr<Dataset> LoadDataset() const;
  // Chooses what to train and stores it as the job's effective spec: an attempt that comes after this one trains that.
  absl::Status Choose(const Dataset& dataset);
  TrainOptions BaseOptions() const;
  absl::StatusOr<TrainResult> TrainModel();
  absl::Status Succeed(const TrainResult& result);
  // The last epoch's, when it is not the best; then the best.
  absl::StatusOr<std::vector<ModelVersionRecord>> StoreModels(const TrainResult& result,
                                                              const v1::Evaluation& evaluation) const;
  absl::StatusOr<ModelVersionRecord> StoreModel(const std::string& checkpoint, int split_point,
                                                const v1::Evaluation& evaluation) const;
  // Whether a result that could not be stored is left for another attempt; says so then.
  bool ComesAgain(const absl::Status& not_stored);
  absl::Status Stopped(const absl::Status& why);

  const JobRecord job_;
  const Context context_;
  CancelToken cancel_;
  JobObserver observer_;
  // From Prepare():
  v1::JobSpec effective_;
  DatasetVersion version_;
  JobPlan plan_;
};

}  // namespace graft

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/jobs/state_files.h"
#include "server/metrics/metrics.h"
#include "server/models/backbone_directory.h"
#include "server/store/blob_store.h"
#include "server/store/dataset_store.h"
#include "server/store/job_store.h"
#include "worker/base/cancel_token.h"
#include "worker/base/mutex.h"
#include "worker/base/worker_pool.h"
#include "worker/data/activation_store.h"
#include "worker/image/image.h"

namespace graft {

// Leases queued jobs one after the other and trains them: the join of store and worker. A second thread heartbeats the
// running job's lease and switches its cancel token when it was cancelled or the lease is lost; it also puts back jobs
// whose workers died.
//
// Threads:  the public functions are safe.
// Lifetime: the destructor drains: the running job stops at its next batch and goes back into the queue with its last
//           epoch's state.
class Runner {
 public:
  struct Options {
    std::string owner;             // unique to this process and slot
    std::string state_directory;   // DIR/JOB_ID.state: the last epoch's state, replaced atomically
    std::string tensorboard_directory;  // DIR/JOB_ID/: TensorBoard event files
    int nice = 0;                       // of the thread that trains, as of the pool's
    absl::Duration poll = absl::Milliseconds(250);     // of an idle runner for jobs that other processes queued
    absl::Duration heartbeat = absl::Seconds(1);       // also how late a cancellation is noticed
    absl::Duration recover = absl::Seconds(5);         // between looks for expired leases
    int64_t activation_cache_bytes = int64_t{1} << 30;
    ActivationStore* activations = nullptr;            // outlives the runner; null: none
    ImageLimits image_limits;
  };
  struct Stores {
    JobStore* jobs;
    DatasetStore* datasets;
    BlobStore* blobs;
    BackboneDirectory* backbones;
    Metrics* metrics;
  };
  //   Internal  the state directory cannot be made
  static absl::StatusOr<std::unique_ptr<Runner>> Create(Options options, Stores stores, WorkerPool* pool);
  ~Runner();

  void Wake();   // a job was queued: look now
  void Drain();  // stop leasing, put the running job back; returns when idle

 private:
  struct Running;
  Runner(Options options, Stores stores, WorkerPool* pool, StateFiles states);
  void Run();
  void RunOne(JobRecord job);
  void WaitForWork(absl::Duration timeout);
  void Heartbeats();
  void Heartbeat(const Running& running);
  void Recover();

  const Options options_;
  const Stores stores_;
  WorkerPool* const pool_;
  const StateFiles states_;
  Mutex mu_;
  CondVar wake_, beat_, idle_;
  bool stop_ ABSL_GUARDED_BY(mu_) = false;
  bool woken_ ABSL_GUARDED_BY(mu_) = false;
  bool ended_ ABSL_GUARDED_BY(mu_) = false;  // Run() has returned: no lease is held
  std::shared_ptr<Running> running_ ABSL_GUARDED_BY(mu_);
  std::thread run_thread_, heartbeat_thread_;
};

}  // namespace graft

#pragma once

#include <string>

#include "absl/status/status.h"
#include "server/jobs/state_files.h"
#include "server/metrics/metrics.h"
#include "server/store/job_store.h"
#include "worker/base/cancel_token.h"
#include "worker/train/trainer.h"

namespace graft {

// Writes what a training tells into the job's log, under the worker's lease, before anyone can see it.
//
// Threads:  one at a time.
// Lifetime: what it is given outlives it.
class JobObserver : public TrainObserver {
 public:
  // `cancel` is switched to kLeaseLost when the store refuses a write.
  JobObserver(std::string job_id, std::string owner, JobStore* jobs, const StateFiles* states, Metrics* metrics,
              CancelToken cancel);
  ~JobObserver() override;

  // FailedPrecondition when the lease is lost, and what the store returns.
  absl::Status OnPhase(const PhaseStarted& phase) override;
  absl::Status OnProgress(const Progress& progress) override;
  absl::Status OnEpoch(const EpochMetrics& metrics) override;
  // A state that cannot be saved is a warning: the training itself is sound.
  absl::Status OnState(const EpochMetrics& metrics, const std::string& state) override;
  absl::Status OnWarning(const std::string& message) override;

 private:
  absl::Status Write(const JobUpdate& update);

  const std::string job_id_, owner_;
  JobStore* const jobs_;
  const StateFiles* const states_;
  Metrics* const metrics_;
  CancelToken cancel_;
};

}  // namespace graft

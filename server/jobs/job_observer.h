#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "server/jobs/state_files.h"
#include "server/jobs/tensorboard.h"
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
  // TensorBoard event files go to `tensorboard_directory`. `cancel` is switched to kLeaseLost when the store refuses a
  // write.
  JobObserver(std::string job_id, std::string owner, JobStore* jobs, const StateFiles* states, Metrics* metrics,
              std::string tensorboard_directory, CancelToken cancel);
  ~JobObserver() override;

  // FailedPrecondition when the lease is lost, and what the store returns.
  absl::Status OnPhase(const PhaseStarted& phase) override;
  absl::Status OnProgress(const Progress& progress) override;
  absl::Status OnLearningRate(const LearningRateFound& found) override;
  absl::Status OnEpoch(const EpochMetrics& metrics) override;
  // A state that cannot be saved is a warning: the training itself is sound.
  absl::Status OnState(const StatePoint& point, const std::string& state) override;
  absl::Status OnWarning(const std::string& message) override;
  // For TensorBoard: what the job itself stores with its end, and what it trains by.
  void WriteEvaluation(const Assessment& assessment);
  void WriteText(const std::string& tag, const std::string& markdown);

 private:
  absl::Status Write(const JobUpdate& update);
  void DrawEpoch(const EpochMetrics& metrics);
  void Draw(int64_t step, const std::vector<std::pair<std::string, double>>& values);
  // Into an event file, which is opened with the first. What cannot be written is logged once and left out: the store
  // has it all.
  void ToTensorBoard(const std::function<absl::Status(TensorBoardWriter*, absl::Time now)>& add);

  const std::string job_id_, owner_;
  JobStore* const jobs_;
  const StateFiles* const states_;
  Metrics* const metrics_;
  const std::string tensorboard_directory_;
  std::unique_ptr<TensorBoardWriter> tensorboard_;
  bool tensorboard_failed_ = false;
  int64_t epochs_before_phase_ = 0;  // TensorBoard's steps are epochs and go on through all phases
  CancelToken cancel_;
};

}  // namespace graft

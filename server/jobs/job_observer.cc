#include "server/jobs/job_observer.h"

#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/jobs/encode.h"
#include "server/log.h"

namespace graft {

JobObserver::JobObserver(std::string job_id, std::string owner, JobStore* jobs, const StateFiles* states,
                         Metrics* metrics, CancelToken cancel)
    : job_id_(std::move(job_id)), owner_(std::move(owner)), jobs_(jobs), states_(states), metrics_(metrics),
      cancel_(std::move(cancel)) {}

JobObserver::~JobObserver() { metrics_->RemoveJob(job_id_); }

absl::Status JobObserver::OnPhase(const PhaseStarted& phase) {
  const v1::PhaseStart started = ToProto(phase);
  JobUpdate update;
  update.parameters_pb = started.parameters().SerializeAsString();
  update.event_pbs.push_back(EncodeEvent(started));
  return Write(update);
}

absl::Status JobObserver::OnProgress(const Progress& progress) {
  JobUpdate update;
  update.event_pbs.push_back(EncodeEvent(ToProto(progress)));
  return Write(update);
}

absl::Status JobObserver::OnEpoch(const EpochMetrics& metrics) {
  const v1::EpochMetrics epoch = ToProto(metrics);
  JobUpdate update;
  update.last_epoch_pb = epoch.SerializeAsString();
  update.event_pbs.push_back(EncodeEvent(epoch));
  if (absl::Status status = Write(update); !status.ok()) return status;
  Metrics::Epoch values;
  values.train_loss = metrics.train_loss;
  values.train_accuracy = metrics.train_accuracy;
  values.val_loss = metrics.val_loss;
  values.val_accuracy = metrics.val_accuracy;
  values.epoch = metrics.epoch;
  metrics_->SetJobEpoch(job_id_, values);
  return absl::OkStatus();
}

absl::Status JobObserver::OnState(const EpochMetrics& metrics, const std::string& state) {
  if (const absl::Status saved = states_->Write(job_id_, state); !saved.ok()) {
    LogWarning("training state not saved", {{"job", job_id_}, {"error", saved.ToString()}});
    return OnWarning(absl::StrCat("the state after epoch ", metrics.epoch, " of phase ", metrics.phase,
                                  " could not be saved: an interruption would go back further"));
  }
  v1::CheckpointSaved checkpoint;
  checkpoint.set_phase(metrics.phase);
  checkpoint.set_epoch(metrics.epoch);
  checkpoint.set_bytes(static_cast<int64_t>(state.size()));
  JobUpdate update;
  update.event_pbs.push_back(EncodeEvent(checkpoint));
  return Write(update);
}

absl::Status JobObserver::OnWarning(const std::string& message) {
  JobUpdate update;
  update.event_pbs.push_back(EncodeWarning(message));
  return Write(update);
}

absl::Status JobObserver::Write(const JobUpdate& update) {
  absl::Status status = jobs_->Update(job_id_, owner_, update);
  if (absl::IsFailedPrecondition(status)) cancel_.Stop(StopReason::kLeaseLost);
  return status;
}

}  // namespace graft

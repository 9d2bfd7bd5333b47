#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/store/job_rows.h"
#include "server/store/job_store.h"
#include "server/store/model_rows.h"
#include "server/store/sql.h"
#include "worker/base/status.h"

// The worker's side of JobStore: leases and what is written under them.

namespace graft {
namespace {

void Apply(const JobUpdate& update, JobRecord* job) {
  if (update.effective_pb) job->effective_pb = *update.effective_pb;
  if (update.auto_pb) job->auto_pb = *update.auto_pb;
  if (update.last_epoch_pb) job->last_epoch_pb = *update.last_epoch_pb;
  if (update.evaluation_pb) job->evaluation_pb = *update.evaluation_pb;
  if (update.parameters_pb) job->parameters_pb = *update.parameters_pb;
}

void Requeue(JobRecord* job) {
  job->state = JobState::kQueued;
  job->lease_owner.clear();
  job->lease_expiry.reset();
}

}  // namespace

absl::StatusOr<std::optional<JobRecord>> JobStore::Lease(const std::string& owner) {
  std::optional<JobRecord> leased;
  RETURN_IF_ERROR(db_->Write("lease job", [&](soci::session& sql) -> absl::Status {
    ASSIGN_OR_RETURN(std::vector<StoredJob> oldest,
                     SelectJobs(sql, "WHERE state = :state ORDER BY create_time_us LIMIT 1",
                                static_cast<int>(JobState::kQueued)));
    if (oldest.empty()) return absl::OkStatus();
    StoredJob& job = oldest.front();
    const absl::Time now = clock_->Now();
    job.record.state = JobState::kRunning;
    job.record.attempt += 1;
    job.record.released = job.released;
    if (!job.record.start_time) job.record.start_time = now;
    job.record.lease_owner = owner;
    job.record.lease_expiry = now + options_.lease;
    AppendEvents(sql, &job, {encode_state_(JobState::kRunning, job.record.attempt, "")}, now);
    UpdateJob(sql, job);
    leased = std::move(job.record);
    return absl::OkStatus();
  }));
  if (leased && on_events_) on_events_(leased->id);
  return leased;
}

absl::StatusOr<bool> JobStore::Heartbeat(const std::string& id, const std::string& owner) {
  bool cancel_requested = false;
  RETURN_IF_ERROR(db_->Write("heartbeat", [&](soci::session& sql) -> absl::Status {
    ASSIGN_OR_RETURN(const StoredJob job, FindLeased(sql, id, owner));
    Execute(sql, "UPDATE jobs SET lease_expiry_us = :expiry WHERE id = :id",
            ToMicros(clock_->Now() + options_.lease), id);
    cancel_requested = job.record.cancel_requested;
    return absl::OkStatus();
  }));
  return cancel_requested;
}

absl::Status JobStore::Update(const std::string& id, const std::string& owner, const JobUpdate& update) {
  RETURN_IF_ERROR(db_->Write("update job", [&](soci::session& sql) -> absl::Status {
    ASSIGN_OR_RETURN(StoredJob job, FindLeased(sql, id, owner));
    Apply(update, &job.record);
    AppendEvents(sql, &job, update.event_pbs, clock_->Now());
    UpdateJob(sql, job);
    return absl::OkStatus();
  }));
  if (!update.event_pbs.empty() && on_events_) on_events_(id);
  return absl::OkStatus();
}

absl::StatusOr<JobRecord> JobStore::Finish(const std::string& id, const std::string& owner, JobState state,
                                           const std::string& error, const JobUpdate& update,
                                           const std::vector<ModelVersionRecord>& models) {
  GRAFT_CHECK(IsFinal(state));
  GRAFT_CHECK(models.empty() || state == JobState::kSucceeded);
  JobRecord finished;
  RETURN_IF_ERROR(db_->Write("finish job", [&](soci::session& sql) -> absl::Status {
    ASSIGN_OR_RETURN(StoredJob job, FindLeased(sql, id, owner));
    const absl::Time now = clock_->Now();
    Apply(update, &job.record);
    if (!models.empty()) {
      std::vector<ModelVersionRecord> of_this_job = models;
      for (ModelVersionRecord& model : of_this_job) model.job_id = id;
      ASSIGN_OR_RETURN(const ModelVersionRecord made, InsertModelVersions(sql, of_this_job, now));
      job.record.model_version = absl::StrCat(made.model, "/", made.version);
    }
    job.record.error = error;
    End(&job.record, state, now);
    AppendEvents(sql, &job, update.event_pbs, now);
    AppendEvents(sql, &job, {encode_state_(state, job.record.attempt, error)}, now);  // the last one: watchers stop
    UpdateJob(sql, job);
    finished = std::move(job.record);
    return absl::OkStatus();
  }));
  if (on_events_) on_events_(id);
  return finished;
}

absl::Status JobStore::Release(const std::string& id, const std::string& owner, const std::string& reason) {
  RETURN_IF_ERROR(db_->Write("release job", [&](soci::session& sql) -> absl::Status {
    ASSIGN_OR_RETURN(StoredJob job, FindLeased(sql, id, owner));
    const absl::Time now = clock_->Now();
    job.released += 1;
    if (job.record.cancel_requested) {
      End(&job.record, JobState::kCancelled, now);
    } else {
      Requeue(&job.record);
    }
    AppendEvents(sql, &job, {encode_state_(job.record.state, job.record.attempt, reason)}, now);
    UpdateJob(sql, job);
    return absl::OkStatus();
  }));
  if (on_events_) on_events_(id);
  return absl::OkStatus();
}

absl::StatusOr<int> JobStore::RecoverExpired(bool even_unexpired) {
  std::vector<std::string> recovered;
  const auto recover = [&](soci::session& sql) -> absl::Status {
    const absl::Time now = clock_->Now();
    ASSIGN_OR_RETURN(std::vector<StoredJob> running,
                     SelectJobs(sql, "WHERE state = :state ORDER BY create_time_us",
                                static_cast<int>(JobState::kRunning)));
    for (StoredJob& job : running) {
      JobRecord& record = job.record;
      if (!even_unexpired && record.lease_expiry.value_or(now) > now) continue;
      const int died = record.attempt - job.released;
      std::string reason = "worker lost its lease";
      if (record.cancel_requested) {
        End(&record, JobState::kCancelled, now);
      } else if (died >= options_.max_attempts) {
        record.error = reason = absl::StrCat("gave up after ", died, " attempts: the worker died each time");
        End(&record, JobState::kFailed, now);
      } else {
        Requeue(&record);
      }
      AppendEvents(sql, &job, {encode_state_(record.state, record.attempt, reason)}, now);
      UpdateJob(sql, job);
      recovered.push_back(record.id);
    }
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(db_->Write("recover jobs", recover));
  for (const std::string& id : recovered) {
    if (on_events_) on_events_(id);
  }
  return static_cast<int>(recovered.size());
}

}  // namespace graft

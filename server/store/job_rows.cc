#include "server/store/job_rows.h"

#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "worker/base/status.h"

namespace graft {

const char kJobColumns[] =
    "id, request_id, dataset, dataset_version, spec_pb, effective_pb, state, create_time_us, start_time_us, "
    "end_time_us, attempt, released, error, last_epoch_pb, evaluation_pb, parameters_pb, model_version, last_seq, "
    "cancel_requested, lease_owner, lease_expiry_us, auto_pb";

absl::StatusOr<StoredJob> JobRow::Decode() && {
  record.state = static_cast<JobState>(state);
  record.cancel_requested = cancel_requested != 0;
  record.create_time = FromMicros(create_time_us);
  record.start_time = OptionalFromMicros(start_time_us);
  record.end_time = OptionalFromMicros(end_time_us);
  record.lease_expiry = OptionalFromMicros(lease_expiry_us);
  for (std::string* field : {&record.spec_pb, &record.effective_pb, &record.last_epoch_pb, &record.evaluation_pb,
                             &record.parameters_pb, &record.auto_pb}) {
    ASSIGN_OR_RETURN(*field, FromText(*field));
  }
  return StoredJob{std::move(record), released};
}

absl::StatusOr<StoredJob> FindJob(soci::session& sql, const std::string& id) {
  ASSIGN_OR_RETURN(std::vector<StoredJob> jobs, SelectJobs(sql, "WHERE id = :id", id));
  if (jobs.empty()) {
    return absl::NotFoundError(absl::StrCat("job: got \"", absl::CEscape(id), "\", want an existing one"));
  }
  return std::move(jobs.front());
}

absl::StatusOr<StoredJob> FindLeased(soci::session& sql, const std::string& id, const std::string& owner) {
  ASSIGN_OR_RETURN(StoredJob job, FindJob(sql, id));
  if (job.record.state != JobState::kRunning || job.record.lease_owner != owner) {
    return absl::FailedPreconditionError(absl::StrCat("lease lost: ", id, " is no longer leased to ", owner));
  }
  return job;
}

void InsertJob(soci::session& sql, const StoredJob& job) {
  const JobRecord& r = job.record;
  Execute(sql,
          absl::StrCat("INSERT INTO jobs (", kJobColumns,
                       ") VALUES (:a, :b, :c, :d, :e, :f, :g, :h, :i, :j, :k, :l, :m, :n, :o, :p, :q, :r, :s, :t, :u, "
                       ":v)"),
          r.id, r.request_id, r.dataset, r.dataset_version, ToText(r.spec_pb), ToText(r.effective_pb),
          static_cast<int>(r.state), ToMicros(r.create_time), ToMicros(r.start_time), ToMicros(r.end_time), r.attempt,
          job.released, r.error, ToText(r.last_epoch_pb), ToText(r.evaluation_pb), ToText(r.parameters_pb),
          r.model_version, r.last_seq, r.cancel_requested ? 1 : 0, r.lease_owner, ToMicros(r.lease_expiry),
          ToText(r.auto_pb));
}

void UpdateJob(soci::session& sql, const StoredJob& job) {
  const JobRecord& r = job.record;
  Execute(sql,
          "UPDATE jobs SET state = :a, start_time_us = :b, end_time_us = :c, attempt = :d, released = :e, error = :f,"
          " last_epoch_pb = :g, evaluation_pb = :h, parameters_pb = :i, model_version = :j, last_seq = :k,"
          " cancel_requested = :l, lease_owner = :m, lease_expiry_us = :n, effective_pb = :o, auto_pb = :p WHERE id = :q",
          static_cast<int>(r.state), ToMicros(r.start_time), ToMicros(r.end_time), r.attempt, job.released, r.error,
          ToText(r.last_epoch_pb), ToText(r.evaluation_pb), ToText(r.parameters_pb), r.model_version, r.last_seq,
          r.cancel_requested ? 1 : 0, r.lease_owner, ToMicros(r.lease_expiry),
          ToText(r.effective_pb), ToText(r.auto_pb), r.id);
}

void AppendEvents(soci::session& sql, StoredJob* job, const std::vector<std::string>& event_pbs, absl::Time now) {
  for (const std::string& event_pb : event_pbs) {
    Execute(sql, "INSERT INTO job_events (job_id, seq, time_us, event_pb) VALUES (:id, :seq, :time, :event)",
            job->record.id, ++job->record.last_seq, ToMicros(now), ToText(event_pb));
  }
}

void End(JobRecord* job, JobState state, absl::Time now) {
  job->state = state;
  job->end_time = now;
  job->lease_owner.clear();
  job->lease_expiry.reset();
}

}  // namespace graft

#pragma once

#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/store/records.h"
#include "server/store/sql.h"

// The job tables' rows, for JobStore. Inside a transaction; throws what SOCI throws.

namespace graft {

// A job and what only the store knows of it.
struct StoredJob {
  JobRecord record;
  int released = 0;  // attempts that ended by drain
};

// One row of "SELECT {kJobColumns} FROM jobs": `record` holds text in its "_pb" fields until Decode().
struct JobRow {
  JobRecord record;
  int released = 0, state = 0, cancel_requested = 0;
  int64_t create_time_us = 0, start_time_us = 0, end_time_us = 0, lease_expiry_us = 0;

  auto Columns() {
    return std::tie(record.id, record.request_id, record.dataset, record.dataset_version, record.spec_pb,
                    record.effective_pb, state, create_time_us, start_time_us, end_time_us, record.attempt, released,
                    record.error, record.last_epoch_pb, record.evaluation_pb, record.parameters_pb,
                    record.model_version, record.last_seq, cancel_requested, record.lease_owner, lease_expiry_us,
                    record.auto_pb);
  }
  absl::StatusOr<StoredJob> Decode() &&;
};
extern const char kJobColumns[];

// `tail` continues "SELECT ... FROM jobs ".
template <typename... Binds>
absl::StatusOr<std::vector<StoredJob>> SelectJobs(soci::session& sql, const std::string& tail,
                                                  const Binds&... binds) {
  std::vector<StoredJob> jobs;
  for (JobRow& row : Select<JobRow>(sql, std::string("SELECT ") + kJobColumns + " FROM jobs " + tail, binds...)) {
    absl::StatusOr<StoredJob> job = std::move(row).Decode();
    if (!job.ok()) return job.status();
    jobs.push_back(*std::move(job));
  }
  return jobs;
}

// NotFound: names the id
absl::StatusOr<StoredJob> FindJob(soci::session& sql, const std::string& id);
// FindJob of a job that `owner` has leased.   FailedPrecondition: "lease lost"
absl::StatusOr<StoredJob> FindLeased(soci::session& sql, const std::string& id, const std::string& owner);

void InsertJob(soci::session& sql, const StoredJob& job);
// Writes every column that changes after InsertJob.
void UpdateJob(soci::session& sql, const StoredJob& job);

// Appends events to the log and counts job->record.last_seq on; the caller stores the job.
void AppendEvents(soci::session& sql, StoredJob* job, const std::vector<std::string>& event_pbs, absl::Time now);

// Ends the lease and the job.
void End(JobRecord* job, JobState state, absl::Time now);

}  // namespace graft

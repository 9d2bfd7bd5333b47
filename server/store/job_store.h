#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/store/database.h"
#include "server/store/records.h"
#include "worker/base/clock.h"

namespace graft {

// Jobs, their queue with leases, and their durable event log.
//
// A job is leased by one owner until an expiry that heartbeats move on. Every write of a worker names the owner and is
// refused (FailedPrecondition "lease lost") when the lease is no longer its own, so a worker that was thought dead can
// change nothing. State changes and the events that tell them are one transaction.
//
// Threads: safe, also between processes.
class JobStore {
 public:
  struct Options {
    int max_queued = 1000;
    absl::Duration lease = absl::Seconds(15);
    int max_attempts = 5;  // a job whose worker died this often fails instead of being queued again
  };
  // `encode_state` makes the event payload of a state change; called inside transactions, must not use the store.
  using EncodeState = std::function<std::string(JobState state, int attempt, const std::string& reason)>;
  JobStore(Database* db, Clock* clock, Options options, EncodeState encode_state);

  // Called after each commit that appended events, with the job's id; without locks held. Set once, before use.
  void OnEvents(std::function<void(const std::string& job_id)> callback) { on_events_ = std::move(callback); }

  struct Enqueued {
    JobRecord job;
    bool existed = false;  // the request_id was known: `job` is the earlier one, nothing was written
  };
  // Uses request_id, dataset, dataset_version, spec_pb, effective_pb of `job`; the rest is set here.
  //   ResourceExhausted  max_queued jobs wait
  absl::StatusOr<Enqueued> Enqueue(const JobRecord& job);
  // The job that was enqueued with `request_id`; nullopt when there is none, as for an empty one.
  absl::StatusOr<std::optional<JobRecord>> FindRequest(const std::string& request_id);
  absl::StatusOr<JobRecord> Get(const std::string& id);                 // NotFound: names the id
  // Newest first; empty `states` = all.   InvalidArgument: page_token
  absl::StatusOr<Page<JobRecord>> List(const std::vector<JobState>& states, const PageRequest& page);
  absl::StatusOr<std::map<JobState, int64_t>> CountByState();
  // A queued job ends CANCELLED at once; a running one is marked and its worker learns it at the next heartbeat; a
  // job that has ended stays.   NotFound
  absl::StatusOr<JobRecord> Cancel(const std::string& id);

  // Leases the oldest queued job to `owner`, marks it RUNNING, counts the attempt; nullopt when none waits.
  absl::StatusOr<std::optional<JobRecord>> Lease(const std::string& owner);
  // Moves the lease on; true when somebody asked to cancel.   FailedPrecondition: lease lost
  absl::StatusOr<bool> Heartbeat(const std::string& id, const std::string& owner);
  // Appends events and newest values.   FailedPrecondition: lease lost
  absl::Status Update(const std::string& id, const std::string& owner, const JobUpdate& update);
  // Ends the job. `models` (state kSucceeded only; all of one model) become its next versions, in this order, in the
  // same transaction; the last is the job's model_version and the target of alias "default".
  //   FailedPrecondition  lease lost
  absl::StatusOr<JobRecord> Finish(const std::string& id, const std::string& owner, JobState state,
                                   const std::string& error, const JobUpdate& update,
                                   const std::vector<ModelVersionRecord>& models);
  // Puts a running job back into the queue; its attempt is not counted against max_attempts (drain).
  absl::Status Release(const std::string& id, const std::string& owner, const std::string& reason);
  // Puts running jobs whose lease has expired back into the queue (or FAILED after max_attempts); with
  // `even_unexpired` all running jobs: the caller knows that no worker lives. Returns how many.
  absl::StatusOr<int> RecoverExpired(bool even_unexpired);

  // At most `limit` events from `from_seq` on, in order.   NotFound
  absl::StatusOr<std::vector<EventRecord>> Events(const std::string& id, int64_t from_seq, int limit);

 private:
  Database* const db_;
  Clock* const clock_;
  const Options options_;
  const EncodeState encode_state_;
  std::function<void(const std::string&)> on_events_;
};

}  // namespace graft

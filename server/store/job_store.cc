#include "server/store/job_store.h"

#include <openssl/rand.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <tuple>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "server/store/job_rows.h"
#include "server/store/page_token.h"
#include "server/store/sql.h"
#include "worker/base/status.h"

// The caller's side of JobStore; the worker's side is job_lease.cc.

namespace graft {
namespace {

std::string NewJobId() {
  unsigned char random[8];
  GRAFT_CHECK(RAND_bytes(random, sizeof(random)) == 1);
  const absl::string_view bytes(reinterpret_cast<const char*>(random), sizeof(random));
  return absl::StrCat("job-", absl::BytesToHexString(bytes));
}

// Later than every job's, even when the clock stands or goes back: creation times order the queue.
absl::Time NextCreateTime(soci::session& sql, absl::Time now) {
  const int64_t after_last = SelectNumber(sql, "SELECT COALESCE(MAX(create_time_us), 0) + 1 FROM jobs");
  return FromMicros(std::max(ToMicros(now), after_last));
}

struct StateCount {
  int state = 0;
  int64_t count = 0;
  auto Columns() { return std::tie(state, count); }
};

struct EventRow {
  EventRecord record;  // text in event_pb
  int64_t time_us = 0;
  auto Columns() { return std::tie(record.seq, time_us, record.event_pb); }
};

// Condition for List: jobs of `states` (empty: all).
std::string InStates(const std::vector<JobState>& states) {
  if (states.empty()) return "";
  return absl::StrCat(" AND state IN (", absl::StrJoin(states, ", ", [](std::string* out, JobState state) {
                        absl::StrAppend(out, static_cast<int>(state));
                      }), ")");
}

// An empty request_id is nobody's.
absl::StatusOr<std::optional<JobRecord>> SelectRequest(soci::session& sql, const std::string& request_id) {
  if (request_id.empty()) return std::nullopt;
  ASSIGN_OR_RETURN(std::vector<StoredJob> known, SelectJobs(sql, "WHERE request_id = :id", request_id));
  if (known.empty()) return std::nullopt;
  return std::move(known.front().record);
}

}  // namespace

JobStore::JobStore(Database* db, Clock* clock, Options options, EncodeState encode_state)
    : db_(db), clock_(clock), options_(options), encode_state_(std::move(encode_state)) {}

absl::StatusOr<JobStore::Enqueued> JobStore::Enqueue(const JobRecord& job) {
  Enqueued result;
  RETURN_IF_ERROR(db_->Write("enqueue job", [&](soci::session& sql) -> absl::Status {
    ASSIGN_OR_RETURN(std::optional<JobRecord> known, SelectRequest(sql, job.request_id));
    if (known) {
      result = {*std::move(known), /*existed=*/true};
      return absl::OkStatus();
    }
    const int64_t queued =
        SelectNumber(sql, "SELECT COUNT(*) FROM jobs WHERE state = :state", static_cast<int>(JobState::kQueued));
    if (queued >= options_.max_queued) {
      return absl::ResourceExhaustedError(
          absl::StrCat("job queue: ", queued, " jobs wait, want fewer than ", options_.max_queued));
    }
    StoredJob made;
    JobRecord& record = made.record;
    record.id = NewJobId();
    record.request_id = job.request_id;
    record.dataset = job.dataset;
    record.dataset_version = job.dataset_version;
    record.spec_pb = job.spec_pb;
    record.effective_pb = job.effective_pb;
    record.create_time = NextCreateTime(sql, clock_->Now());
    InsertJob(sql, made);
    AppendEvents(sql, &made, {encode_state_(JobState::kQueued, 0, "")}, clock_->Now());
    UpdateJob(sql, made);
    result.job = std::move(record);
    return absl::OkStatus();
  }));
  if (!result.existed && on_events_) on_events_(result.job.id);
  return result;
}

absl::StatusOr<std::optional<JobRecord>> JobStore::FindRequest(const std::string& request_id) {
  std::optional<JobRecord> found;
  RETURN_IF_ERROR(db_->Read("find request", [&](soci::session& sql) -> absl::Status {
    ASSIGN_OR_RETURN(found, SelectRequest(sql, request_id));
    return absl::OkStatus();
  }));
  return found;
}

absl::StatusOr<JobRecord> JobStore::Get(const std::string& id) {
  JobRecord found;
  RETURN_IF_ERROR(db_->Read("get job", [&](soci::session& sql) -> absl::Status {
    ASSIGN_OR_RETURN(StoredJob job, FindJob(sql, id));
    found = std::move(job.record);
    return absl::OkStatus();
  }));
  return found;
}

absl::StatusOr<Page<JobRecord>> JobStore::List(const std::vector<JobState>& states, const PageRequest& request) {
  int64_t before = std::numeric_limits<int64_t>::max();
  if (!request.token.empty()) {
    ASSIGN_OR_RETURN(const std::string key, DecodePageToken("jobs", request.token));
    if (!absl::SimpleAtoi(key, &before)) return MalformedPageToken(request.token);
  }
  Page<JobRecord> page;
  RETURN_IF_ERROR(db_->Read("list jobs", [&](soci::session& sql) -> absl::Status {
    const std::string tail = absl::StrCat("WHERE create_time_us < :before", InStates(states),
                                          " ORDER BY create_time_us DESC LIMIT :limit");
    ASSIGN_OR_RETURN(std::vector<StoredJob> jobs, SelectJobs(sql, tail, before, request.size + 1));
    for (StoredJob& job : jobs) {
      if (static_cast<int>(page.items.size()) == request.size) {
        page.next_token = EncodePageToken("jobs", absl::StrCat(ToMicros(page.items.back().create_time)));
        break;
      }
      page.items.push_back(std::move(job.record));
    }
    return absl::OkStatus();
  }));
  return page;
}

absl::StatusOr<std::map<JobState, int64_t>> JobStore::CountByState() {
  std::map<JobState, int64_t> counts;
  for (int state = static_cast<int>(JobState::kQueued); state <= static_cast<int>(JobState::kCancelled); ++state) {
    counts[static_cast<JobState>(state)] = 0;
  }
  RETURN_IF_ERROR(db_->Read("count jobs", [&](soci::session& sql) {
    for (const StateCount& row : Select<StateCount>(sql, "SELECT state, COUNT(*) FROM jobs GROUP BY state")) {
      counts[static_cast<JobState>(row.state)] = row.count;
    }
    return absl::OkStatus();
  }));
  return counts;
}

absl::StatusOr<JobRecord> JobStore::Cancel(const std::string& id) {
  JobRecord result;
  bool ended = false;
  RETURN_IF_ERROR(db_->Write("cancel job", [&](soci::session& sql) -> absl::Status {
    ASSIGN_OR_RETURN(StoredJob job, FindJob(sql, id));
    if (!IsFinal(job.record.state)) {
      job.record.cancel_requested = true;
      if (job.record.state == JobState::kQueued) {
        End(&job.record, JobState::kCancelled, clock_->Now());
        AppendEvents(sql, &job, {encode_state_(JobState::kCancelled, job.record.attempt, "cancelled while queued")},
                     clock_->Now());
        ended = true;
      }
      UpdateJob(sql, job);
    }
    result = std::move(job.record);
    return absl::OkStatus();
  }));
  if (ended && on_events_) on_events_(id);
  return result;
}

absl::StatusOr<std::vector<EventRecord>> JobStore::Events(const std::string& id, int64_t from_seq, int limit) {
  std::vector<EventRecord> events;
  RETURN_IF_ERROR(db_->Read("read events", [&](soci::session& sql) -> absl::Status {
    const std::string query =
        "SELECT seq, time_us, event_pb FROM job_events WHERE job_id = :id AND seq >= :from ORDER BY seq LIMIT :limit";
    for (EventRow& row : Select<EventRow>(sql, query, id, from_seq, limit)) {
      row.record.time = FromMicros(row.time_us);
      ASSIGN_OR_RETURN(row.record.event_pb, FromText(row.record.event_pb));
      events.push_back(std::move(row.record));
    }
    if (events.empty()) return FindJob(sql, id).status();
    return absl::OkStatus();
  }));
  return events;
}

}  // namespace graft

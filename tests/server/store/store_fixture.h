#pragma once

#include <stdlib.h>

#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/store/database.h"
#include "server/store/job_store.h"
#include "server/store/records.h"
#include "worker/base/clock.h"
#include "worker/base/status.h"

namespace graft {

// A new empty directory, removed at the end.
class ScratchDirectory {
 public:
  ScratchDirectory() : path_(testing::TempDir() + "/graft-store-XXXXXX") { GRAFT_CHECK(mkdtemp(path_.data())); }
  ~ScratchDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// A database in a directory of its own.
class StoreTest : public testing::Test {
 protected:
  StoreTest() { Reopen(); }

  // As after a restart of the process.
  void Reopen() {
    db_.reset();
    auto db = Database::Open({url(), 4});
    GRAFT_CHECK(db.ok());
    db_ = *std::move(db);
  }
  std::string url() const { return absl::StrCat("sqlite3:", directory_.path(), "/graft.db"); }

  // A job store whose state events are "state/attempt/reason".
  std::unique_ptr<JobStore> Jobs(JobStore::Options options = {}) {
    return std::make_unique<JobStore>(db_.get(), &clock_, options,
                                      [](JobState state, int attempt, const std::string& reason) {
                                        return absl::StrCat(static_cast<int>(state), "/", attempt, "/", reason);
                                      });
  }
  // The payloads of all events of a job; checks that the sequence numbers are 1, 2, 3, ...
  std::vector<std::string> EventsOf(JobStore& jobs, const std::string& id) {
    std::vector<std::string> payloads;
    auto events = jobs.Events(id, 1, 1'000'000);
    GRAFT_CHECK(events.ok());
    for (const EventRecord& event : *events) {
      payloads.push_back(event.event_pb);
      EXPECT_EQ(event.seq, static_cast<int64_t>(payloads.size()));
    }
    return payloads;
  }
  // Enqueues a job and returns its id.
  std::string Queue(JobStore& jobs, const std::string& request_id = "") {
    JobRecord job;
    job.request_id = request_id;
    job.dataset = "flowers";
    job.dataset_version = "v1";
    job.spec_pb = std::string("spec\0\xff", 6);
    auto enqueued = jobs.Enqueue(job);
    GRAFT_CHECK(enqueued.ok());
    return enqueued->job.id;
  }
  // Runs a job to its end, making a version of `model`; returns what Finish says.
  JobRecord Train(JobStore& jobs, const std::string& model, const std::string& checkpoint = "sha256:c") {
    return TrainVersions(jobs, {Version(model, checkpoint)});
  }
  // The same with "sha256:last" and then "sha256:best".
  JobRecord TrainTwo(JobStore& jobs, const std::string& model) {
    ModelVersionRecord last = Version(model, "sha256:last"), best = Version(model, "sha256:best");
    last.checkpoint = CheckpointKind::kLast;
    best.checkpoint = CheckpointKind::kBest;
    return TrainVersions(jobs, {last, best});
  }
  JobRecord TrainVersions(JobStore& jobs, const std::vector<ModelVersionRecord>& versions) {
    const std::string id = Queue(jobs);
    GRAFT_CHECK(jobs.Lease("worker").ok());
    auto finished = jobs.Finish(id, "worker", JobState::kSucceeded, "", {}, versions);
    GRAFT_CHECK(finished.ok());
    return *std::move(finished);
  }
  static ModelVersionRecord Version(const std::string& model, const std::string& checkpoint) {
    ModelVersionRecord version;
    version.model = model;
    version.checkpoint_digest = checkpoint;
    version.checkpoint_bytes = 1234;
    version.backbone = "resnet18";
    version.backbone_digest = "sha256:b";
    version.split_point = 3;
    version.dataset = "flowers";
    version.dataset_version = "v1";
    version.evaluation_pb = std::string("\0eval", 5);
    version.details_pb = "details";
    return version;
  }

  ScratchDirectory directory_;
  FakeClock clock_;
  std::unique_ptr<Database> db_;
};

}  // namespace graft

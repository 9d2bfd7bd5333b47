#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/store/job_store.h"
#include "server/store/model_store.h"
#include "server/store/sql.h"
#include "tests/server/store/store_fixture.h"

namespace graft {
namespace {

using testing::ElementsAre;

class JobLeaseTest : public StoreTest {
 protected:
  JobLeaseTest() : jobs_(Jobs()) {}
  // Queues a job and leases it to "worker".
  std::string Start() {
    const std::string id = Queue(*jobs_);
    auto leased = jobs_->Lease("worker");
    GRAFT_CHECK(leased.ok() && *leased && (*leased)->id == id);
    return id;
  }
  absl::Duration lease() const { return JobStore::Options().lease; }

  std::unique_ptr<JobStore> jobs_;
};

void ExpectLeaseLost(const absl::Status& status) {
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_TRUE(absl::StartsWith(status.message(), "lease lost")) << status;
}

TEST_F(JobLeaseTest, LeaseOfAnEmptyQueueIsNothing) {
  auto leased = jobs_->Lease("worker");
  ASSERT_TRUE(leased.ok()) << leased.status();
  EXPECT_EQ(*leased, std::nullopt);
}

TEST_F(JobLeaseTest, LeaseTakesTheOldestAndMarksItRunning) {
  const std::string first = Queue(*jobs_);
  const std::string second = Queue(*jobs_);
  EXPECT_EQ((*jobs_->Lease("w1"))->id, first);
  EXPECT_EQ((*jobs_->Lease("w2"))->id, second);
  auto job = jobs_->Get(first);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->state, JobState::kRunning);
  EXPECT_EQ(job->attempt, 1);
  EXPECT_EQ(job->lease_owner, "w1");
  EXPECT_EQ(job->start_time, clock_.Now());
  EXPECT_EQ(job->lease_expiry, clock_.Now() + lease());
  EXPECT_THAT(EventsOf(*jobs_, first), ElementsAre("1/0/", "2/1/"));
}

TEST_F(JobLeaseTest, ConcurrentLeasesGiveEachJobOnce) {
  constexpr int kJobs = 40;
  for (int i = 0; i < kJobs; ++i) Queue(*jobs_);
  auto other_db = Database::Open({url(), 2});  // stands for a second process
  ASSERT_TRUE(other_db.ok());
  JobStore other(other_db->get(), &clock_, {}, [](JobState, int, const std::string&) { return "state"; });
  std::mutex mu;
  std::map<std::string, int> times_leased;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, store = t % 2 == 0 ? jobs_.get() : &other] {
      for (;;) {
        auto leased = store->Lease("worker");
        EXPECT_TRUE(leased.ok()) << leased.status();
        if (!leased.ok() || !*leased) return;
        std::lock_guard<std::mutex> lock(mu);
        ++times_leased[(*leased)->id];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(times_leased.size(), static_cast<size_t>(kJobs));
  for (const auto& [id, times] : times_leased) EXPECT_EQ(times, 1) << id;
}

TEST_F(JobLeaseTest, HeartbeatMovesTheExpiry) {
  const std::string id = Start();
  clock_.Advance(lease() - absl::Seconds(1));
  ASSERT_TRUE(jobs_->Heartbeat(id, "worker").ok());
  clock_.Advance(lease() - absl::Seconds(1));
  EXPECT_EQ(*jobs_->RecoverExpired(false), 0);
  EXPECT_EQ(jobs_->Get(id)->state, JobState::kRunning);
}

TEST_F(JobLeaseTest, ExpiryAloneDoesNotLoseTheLease) {
  const std::string id = Start();
  clock_.Advance(2 * lease());
  EXPECT_TRUE(jobs_->Heartbeat(id, "worker").ok());
  EXPECT_EQ(*jobs_->RecoverExpired(false), 0);
}

TEST_F(JobLeaseTest, UpdateKeepsTheNewestValuesAndTheEvents) {
  const std::string id = Start();
  JobUpdate update;
  update.last_epoch_pb = std::string("\0epoch1", 7);
  update.parameters_pb = "parameters";
  update.event_pbs = {"phase", std::string("\0\xff", 2)};
  ASSERT_TRUE(jobs_->Update(id, "worker", update).ok());
  update = {};
  update.last_epoch_pb = "epoch2";
  update.evaluation_pb = "evaluation";
  ASSERT_TRUE(jobs_->Update(id, "worker", update).ok());
  auto job = jobs_->Get(id);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->last_epoch_pb, "epoch2");
  EXPECT_EQ(job->parameters_pb, "parameters");
  EXPECT_EQ(job->evaluation_pb, "evaluation");
  EXPECT_EQ(job->last_seq, 4);
  EXPECT_THAT(EventsOf(*jobs_, id), ElementsAre("1/0/", "2/1/", "phase", std::string("\0\xff", 2)));
}

TEST_F(JobLeaseTest, ConcurrentAppendsLeaveNoGap) {
  const std::string id = Start();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 25; ++i) {
        JobUpdate update;
        update.event_pbs = {absl::StrCat("a", t), absl::StrCat("b", t)};
        EXPECT_TRUE(jobs_->Update(id, "worker", update).ok());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const std::vector<std::string> events = EventsOf(*jobs_, id);  // checks 1, 2, 3, ...
  ASSERT_EQ(events.size(), 202u);
  EXPECT_EQ(jobs_->Get(id)->last_seq, 202);
  for (size_t i = 2; i < events.size(); i += 2) EXPECT_EQ(events[i].substr(1), events[i + 1].substr(1));
}

TEST_F(JobLeaseTest, EveryWriteOfALostOwnerIsRefused) {
  const std::string id = Start();
  clock_.Advance(lease());
  ASSERT_EQ(*jobs_->RecoverExpired(false), 1);
  const auto refused = [&] {
    JobUpdate update;
    update.event_pbs = {"late"};
    ExpectLeaseLost(jobs_->Heartbeat(id, "worker").status());
    ExpectLeaseLost(jobs_->Update(id, "worker", update));
    ExpectLeaseLost(jobs_->Finish(id, "worker", JobState::kSucceeded, "", update, {}).status());
    ExpectLeaseLost(jobs_->Release(id, "worker", "drain"));
  };
  refused();  // queued again
  ASSERT_EQ((*jobs_->Lease("worker 2"))->id, id);
  refused();  // somebody else's
  ASSERT_TRUE(jobs_->Finish(id, "worker 2", JobState::kFailed, "bad", {}, {}).ok());
  refused();  // ended
  EXPECT_THAT(EventsOf(*jobs_, id),
              ElementsAre("1/0/", "2/1/", "1/1/worker lost its lease", "2/2/", "4/2/bad"));
}

TEST_F(JobLeaseTest, UnknownJobIsNotFound) {
  EXPECT_EQ(jobs_->Heartbeat("job-x", "worker").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(JobLeaseTest, FinishEndsTheJobWithItsLastEventBeingTheState) {
  const std::string id = Start();
  clock_.Advance(absl::Minutes(1));
  JobUpdate update;
  update.evaluation_pb = "evaluation";
  update.event_pbs = {"evaluated"};
  auto job = jobs_->Finish(id, "worker", JobState::kFailed, "out of memory", update, {});
  ASSERT_TRUE(job.ok()) << job.status();
  auto stored = jobs_->Get(id);
  EXPECT_EQ(stored->state, JobState::kFailed);
  EXPECT_EQ(stored->error, "out of memory");
  EXPECT_EQ(stored->evaluation_pb, "evaluation");
  EXPECT_EQ(stored->end_time, clock_.Now());
  EXPECT_EQ(stored->start_time, clock_.Now() - absl::Minutes(1));
  EXPECT_EQ(stored->lease_owner, "");
  EXPECT_EQ(stored->lease_expiry, std::nullopt);
  EXPECT_EQ(stored->model_version, "");
  EXPECT_THAT(EventsOf(*jobs_, id), ElementsAre("1/0/", "2/1/", "evaluated", "4/1/out of memory"));
}

TEST_F(JobLeaseTest, FinishWithAModelMakesTheNextVersionTheDefault) {
  EXPECT_EQ(Train(*jobs_, "flowers").model_version, "flowers/1");
  EXPECT_EQ(Train(*jobs_, "cats").model_version, "cats/1");
  const JobRecord second = Train(*jobs_, "flowers");
  EXPECT_EQ(second.model_version, "flowers/2");
  EXPECT_EQ(jobs_->Get(second.id)->model_version, "flowers/2");
  ModelStore models(db_.get());
  EXPECT_EQ(models.Resolve("flowers")->version, 2);
  EXPECT_EQ(models.Resolve("flowers")->job_id, second.id);
}

TEST_F(JobLeaseTest, FinishWithTwoVersionsMakesTheSecondTheDefault) {
  Train(*jobs_, "flowers");
  const JobRecord job = TrainTwo(*jobs_, "flowers");
  EXPECT_EQ(job.model_version, "flowers/3");
  ModelStore models(db_.get());
  const ModelVersionRecord last = *models.Resolve("flowers/2"), best = *models.Resolve("flowers");
  EXPECT_EQ(last.checkpoint, CheckpointKind::kLast);
  EXPECT_EQ(last.checkpoint_digest, "sha256:last");
  EXPECT_EQ(best.version, 3);
  EXPECT_EQ(best.checkpoint, CheckpointKind::kBest);
  EXPECT_EQ(best.checkpoint_digest, "sha256:best");
  EXPECT_EQ(last.job_id, job.id);
  EXPECT_EQ(best.job_id, job.id);
}

TEST_F(JobLeaseTest, RefusedFinishMakesNoModel) {
  const std::string id = Start();
  ModelVersionRecord model;
  model.model = "flowers";
  ExpectLeaseLost(jobs_->Finish(id, "other", JobState::kSucceeded, "", {}, {model}).status());
  EXPECT_EQ(ModelStore(db_.get()).Get("flowers").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(JobLeaseTest, AJobThatHasMadeAVersionMakesNoSecond) {
  const JobRecord done = Train(*jobs_, "flowers");
  ASSERT_TRUE(db_->Write("run it once more", [&](soci::session& sql) {
                   Execute(sql, "UPDATE jobs SET state = 2, lease_owner = 'worker' WHERE id = :id", done.id);
                   return absl::OkStatus();
                 }).ok());
  ModelVersionRecord model;
  model.model = "flowers";
  auto again = jobs_->Finish(done.id, "worker", JobState::kSucceeded, "", {}, {model});
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->model_version, "flowers/1");
  EXPECT_EQ(ModelStore(db_.get()).Get("flowers")->versions.size(), 1u);
}

TEST_F(JobLeaseTest, AJobMakesOneVersionOfAKind) {
  const std::string id = Start();
  const std::vector<ModelVersionRecord> twice(2, Version("flowers", "sha256:c"));
  EXPECT_EQ(jobs_->Finish(id, "worker", JobState::kSucceeded, "", {}, twice).status().code(),
            absl::StatusCode::kInternal);
  EXPECT_EQ(jobs_->Get(id)->state, JobState::kRunning);
  EXPECT_EQ(ModelStore(db_.get()).Get("flowers").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(JobLeaseTest, ReleasePutsTheJobBackAtItsPlace) {
  const std::string id = Start();
  const absl::Time started = clock_.Now();
  Queue(*jobs_);
  clock_.Advance(absl::Seconds(1));
  ASSERT_TRUE(jobs_->Release(id, "worker", "drain").ok());
  EXPECT_EQ(jobs_->Get(id)->state, JobState::kQueued);
  auto leased = jobs_->Lease("worker 2");
  ASSERT_TRUE(leased.ok() && *leased);
  EXPECT_EQ((*leased)->id, id);
  EXPECT_EQ((*leased)->attempt, 2);
  EXPECT_EQ((*leased)->start_time, started);
  EXPECT_THAT(EventsOf(*jobs_, id), ElementsAre("1/0/", "2/1/", "1/1/drain", "2/2/"));
}

TEST_F(JobLeaseTest, ReleaseOfACancelledJobEndsIt) {
  const std::string id = Start();
  ASSERT_TRUE(jobs_->Cancel(id).ok());
  ASSERT_TRUE(jobs_->Release(id, "worker", "drain").ok());
  EXPECT_EQ(jobs_->Get(id)->state, JobState::kCancelled);
  EXPECT_EQ(jobs_->Get(id)->end_time, clock_.Now());
}

TEST_F(JobLeaseTest, RecoveryTakesOnlyExpiredLeasesUnlessToldOtherwise) {
  const std::string first = Start();
  clock_.Advance(lease() / 2);
  const std::string second = Start();
  clock_.Advance(lease() / 2);
  EXPECT_EQ(*jobs_->RecoverExpired(false), 1);
  EXPECT_EQ(jobs_->Get(first)->state, JobState::kQueued);
  EXPECT_EQ(jobs_->Get(second)->state, JobState::kRunning);
  EXPECT_EQ(*jobs_->RecoverExpired(true), 1);
  EXPECT_EQ(jobs_->Get(second)->state, JobState::kQueued);
}

TEST_F(JobLeaseTest, RecoveredJobThatWasToBeCancelledIsCancelled) {
  const std::string id = Start();
  ASSERT_TRUE(jobs_->Cancel(id).ok());
  EXPECT_EQ(*jobs_->RecoverExpired(true), 1);
  EXPECT_EQ(jobs_->Get(id)->state, JobState::kCancelled);
}

TEST_F(JobLeaseTest, JobWhoseWorkerDiesTooOftenFails) {
  JobStore::Options options;
  options.max_attempts = 2;
  jobs_ = Jobs(options);
  const std::string id = Start();
  ASSERT_EQ(*jobs_->RecoverExpired(true), 1);
  EXPECT_EQ(jobs_->Get(id)->state, JobState::kQueued);
  ASSERT_EQ((*jobs_->Lease("worker"))->id, id);
  ASSERT_EQ(*jobs_->RecoverExpired(true), 1);
  auto job = jobs_->Get(id);
  EXPECT_EQ(job->state, JobState::kFailed);
  EXPECT_EQ(job->error, "gave up after 2 attempts: the worker died each time");
  EXPECT_EQ(job->end_time, clock_.Now());
  EXPECT_EQ(EventsOf(*jobs_, id).back(), "4/2/gave up after 2 attempts: the worker died each time");
}

TEST_F(JobLeaseTest, DrainsAreNotCountedAsDeaths) {
  JobStore::Options options;
  options.max_attempts = 2;
  jobs_ = Jobs(options);
  const std::string id = Start();
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(jobs_->Release(id, "worker", "drain").ok());
    ASSERT_EQ((*jobs_->Lease("worker"))->id, id);
  }
  ASSERT_EQ(*jobs_->RecoverExpired(true), 1);  // the first death
  EXPECT_EQ(jobs_->Get(id)->state, JobState::kQueued);
}

}  // namespace
}  // namespace graft

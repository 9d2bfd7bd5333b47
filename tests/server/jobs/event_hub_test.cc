#include "server/jobs/event_hub.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/jobs/encode.h"
#include "tests/server/store/store_fixture.h"
#include "worker/base/mutex.h"

namespace graft {
namespace {

using testing::ElementsAre;

// Keeps what a watcher is told.
class Recorder {
 public:
  // Takes `capacity` events, then none until Allow().
  explicit Recorder(int64_t capacity = INT64_MAX) : capacity_(capacity) {}

  EventHub::Watcher Watcher(const std::string& job_id, int64_t from_seq = 1) {
    EventHub::Watcher watcher;
    watcher.job_id = job_id;
    watcher.from_seq = from_seq;
    watcher.on_event = [this](const v1::JobEvent& event) { return OnEvent(event); };
    watcher.on_end = [this](absl::Status status) { OnEnd(std::move(status)); };
    return watcher;
  }
  void Allow(int64_t more) {
    MutexLock lock(&mu_);
    capacity_ += more;
  }
  // Waits until so many events came; the seqs of all.
  std::vector<int64_t> AwaitEvents(size_t count) {
    MutexLock lock(&mu_);
    while (seqs_.size() < count && changed_.WaitFor(&mu_, absl::Seconds(30))) {
    }
    return seqs_;
  }
  void AwaitRefusal() {
    MutexLock lock(&mu_);
    while (refused_ == 0 && changed_.WaitFor(&mu_, absl::Seconds(30))) {
    }
    EXPECT_GT(refused_, 0);
  }
  absl::Status AwaitEnd() {
    MutexLock lock(&mu_);
    while (ends_.empty() && changed_.WaitFor(&mu_, absl::Seconds(30))) {
    }
    return ends_.empty() ? absl::DeadlineExceededError("no end came") : ends_.front();
  }
  size_t ends() {
    MutexLock lock(&mu_);
    return ends_.size();
  }
  std::vector<int64_t> seqs() { return AwaitEvents(0); }

 private:
  bool OnEvent(const v1::JobEvent& event) {
    MutexLock lock(&mu_);
    const bool taken = static_cast<int64_t>(seqs_.size()) < capacity_;
    taken ? seqs_.push_back(event.seq()) : void(++refused_);
    changed_.SignalAll();
    return taken;
  }
  void OnEnd(absl::Status status) {
    MutexLock lock(&mu_);
    ends_.push_back(std::move(status));
    changed_.SignalAll();
  }

  Mutex mu_;
  CondVar changed_;
  int64_t capacity_ ABSL_GUARDED_BY(mu_);
  int refused_ ABSL_GUARDED_BY(mu_) = 0;
  std::vector<int64_t> seqs_ ABSL_GUARDED_BY(mu_);
  std::vector<absl::Status> ends_ ABSL_GUARDED_BY(mu_);
};

class EventHubTest : public StoreTest {
 protected:
  EventHubTest() : jobs_(db_.get(), &clock_, JobStore::Options(), EncodeStateChange) {}

  // A hub that looks by itself only once an hour, so that what comes came by Notify().
  void StartHub(int batch = 256, int max_watchers = 100) {
    EventHub::Options options;
    options.poll = absl::Hours(1);
    options.batch = batch;
    options.max_watchers = max_watchers;
    hub_ = std::make_unique<EventHub>(&jobs_, options);
    jobs_.OnEvents([this](const std::string& id) { hub_->Notify(id); });
  }
  // A job with 2 events (queued, running).
  std::string RunningJob() {
    const std::string id = Queue(jobs_);
    GRAFT_CHECK(jobs_.Lease("worker").ok());
    return id;
  }
  void Append(const std::string& id, int count = 1) {
    JobUpdate update;
    for (int i = 0; i < count; ++i) update.event_pbs.push_back(EncodeWarning("x"));
    GRAFT_CHECK(jobs_.Update(id, "worker", update).ok());
  }
  // One event more.
  void End(const std::string& id) {
    GRAFT_CHECK(jobs_.Finish(id, "worker", JobState::kFailed, "broken", {}, {}).ok());
  }

  JobStore jobs_;
  std::unique_ptr<EventHub> hub_;
};

TEST_F(EventHubTest, ReplaysAnEndedJobAndEnds) {
  StartHub();
  const std::string id = RunningJob();
  End(id);
  Recorder recorder;
  ASSERT_TRUE(hub_->Watch(recorder.Watcher(id)).ok());
  EXPECT_TRUE(recorder.AwaitEnd().ok());
  EXPECT_THAT(recorder.seqs(), ElementsAre(1, 2, 3));
}

TEST_F(EventHubTest, ReplayLongerThanABatchHasNoGap) {
  StartHub(/*batch=*/2);
  const std::string id = RunningJob();
  Append(id, 4);
  End(id);
  Recorder recorder;
  ASSERT_TRUE(hub_->Watch(recorder.Watcher(id)).ok());
  EXPECT_TRUE(recorder.AwaitEnd().ok());
  EXPECT_THAT(recorder.seqs(), ElementsAre(1, 2, 3, 4, 5, 6, 7));
}

TEST_F(EventHubTest, GoesOnLiveToTheEnd) {
  StartHub();
  const std::string id = RunningJob();
  Recorder recorder;
  ASSERT_TRUE(hub_->Watch(recorder.Watcher(id)).ok());
  EXPECT_THAT(recorder.AwaitEvents(2), ElementsAre(1, 2));
  Append(id);
  EXPECT_THAT(recorder.AwaitEvents(3), ElementsAre(1, 2, 3));
  End(id);
  EXPECT_TRUE(recorder.AwaitEnd().ok());
  EXPECT_THAT(recorder.seqs(), ElementsAre(1, 2, 3, 4));
}

TEST_F(EventHubTest, StartsAtTheSeqAskedFor) {
  StartHub();
  const std::string id = RunningJob();
  End(id);
  Recorder recorder;
  ASSERT_TRUE(hub_->Watch(recorder.Watcher(id, 3)).ok());
  EXPECT_TRUE(recorder.AwaitEnd().ok());
  EXPECT_THAT(recorder.seqs(), ElementsAre(3));
}

TEST_F(EventHubTest, SeqBeyondAnEndedJobEndsAtOnce) {
  StartHub();
  const std::string id = RunningJob();
  End(id);
  Recorder recorder;
  ASSERT_TRUE(hub_->Watch(recorder.Watcher(id, 99)).ok());
  EXPECT_TRUE(recorder.AwaitEnd().ok());
  EXPECT_THAT(recorder.seqs(), ElementsAre());
}

TEST_F(EventHubTest, WatchersOfOneJobEachGetAll) {
  StartHub();
  const std::string id = RunningJob();
  Recorder one, two;
  ASSERT_TRUE(hub_->Watch(one.Watcher(id)).ok());
  ASSERT_TRUE(hub_->Watch(two.Watcher(id, 2)).ok());
  End(id);
  EXPECT_TRUE(one.AwaitEnd().ok());
  EXPECT_TRUE(two.AwaitEnd().ok());
  EXPECT_THAT(one.seqs(), ElementsAre(1, 2, 3));
  EXPECT_THAT(two.seqs(), ElementsAre(2, 3));
}

TEST_F(EventHubTest, RefusedEventIsOfferedAgainAfterResume) {
  StartHub();
  const std::string id = RunningJob();
  Append(id, 2);
  End(id);
  Recorder recorder(/*capacity=*/2);
  const absl::StatusOr<int64_t> handle = hub_->Watch(recorder.Watcher(id));
  ASSERT_TRUE(handle.ok());
  recorder.AwaitRefusal();
  EXPECT_THAT(recorder.seqs(), ElementsAre(1, 2));
  recorder.Allow(100);
  hub_->Resume(*handle);
  EXPECT_TRUE(recorder.AwaitEnd().ok());
  EXPECT_THAT(recorder.seqs(), ElementsAre(1, 2, 3, 4, 5));
}

TEST_F(EventHubTest, ResumeWhileAnEventIsBeingRefusedIsNotLost) {
  StartHub();
  const std::string id = RunningJob();
  End(id);
  std::atomic<int64_t> handle{0};
  std::atomic<bool> refused{false};
  Recorder recorder;
  EventHub::Watcher watcher = recorder.Watcher(id, 3);
  const auto take = watcher.on_event;
  watcher.on_event = [&](const v1::JobEvent& event) {
    if (refused.exchange(true)) return take(event);
    while (handle == 0) {  // Watch() returns at once
    }
    hub_->Resume(handle);
    return false;
  };
  handle = *hub_->Watch(std::move(watcher));
  EXPECT_TRUE(recorder.AwaitEnd().ok());
  EXPECT_THAT(recorder.seqs(), ElementsAre(3));
}

TEST_F(EventHubTest, PollingFindsWhatAnotherProcessAppended) {
  EventHub::Options options;
  options.poll = absl::Milliseconds(1);
  EventHub hub(&jobs_, options);
  const std::string id = RunningJob();  // nobody notifies
  Recorder recorder;
  ASSERT_TRUE(hub.Watch(recorder.Watcher(id)).ok());
  EXPECT_THAT(recorder.AwaitEvents(2), ElementsAre(1, 2));
  End(id);
  EXPECT_TRUE(recorder.AwaitEnd().ok());
  EXPECT_THAT(recorder.seqs(), ElementsAre(1, 2, 3));
}

TEST_F(EventHubTest, NothingComesAfterUnwatch) {
  StartHub();
  const std::string id = RunningJob();
  Recorder gone, stays;
  const absl::StatusOr<int64_t> handle = hub_->Watch(gone.Watcher(id));
  ASSERT_TRUE(handle.ok());
  gone.AwaitEvents(2);
  hub_->Unwatch(*handle);
  ASSERT_TRUE(hub_->Watch(stays.Watcher(id)).ok());
  End(id);
  EXPECT_TRUE(stays.AwaitEnd().ok());
  EXPECT_THAT(gone.seqs(), ElementsAre(1, 2));
  EXPECT_EQ(gone.ends(), 0u);
}

TEST_F(EventHubTest, UnknownJobIsNotFound) {
  StartHub();
  Recorder recorder;
  EXPECT_TRUE(absl::IsNotFound(hub_->Watch(recorder.Watcher("job-x")).status()));
}

TEST_F(EventHubTest, TooManyWatchersAreResourceExhausted) {
  StartHub(/*batch=*/256, /*max_watchers=*/1);
  const std::string id = RunningJob();
  Recorder one, two;
  ASSERT_TRUE(hub_->Watch(one.Watcher(id)).ok());
  EXPECT_TRUE(absl::IsResourceExhausted(hub_->Watch(two.Watcher(id)).status()));
  hub_.reset();
}

TEST_F(EventHubTest, DestructionEndsEachWatchOnce) {
  StartHub();
  const std::string id = RunningJob();
  Recorder recorder;
  ASSERT_TRUE(hub_->Watch(recorder.Watcher(id)).ok());
  recorder.AwaitEvents(2);
  hub_.reset();
  EXPECT_TRUE(absl::IsUnavailable(recorder.AwaitEnd()));
  EXPECT_EQ(recorder.ends(), 1u);
}

TEST_F(EventHubTest, DamagedEventEndsTheWatchWithDataLoss) {
  StartHub();
  const std::string id = RunningJob();
  JobUpdate update;
  update.event_pbs = {"\xff"};
  ASSERT_TRUE(jobs_.Update(id, "worker", update).ok());
  Recorder recorder;
  ASSERT_TRUE(hub_->Watch(recorder.Watcher(id)).ok());
  EXPECT_TRUE(absl::IsDataLoss(recorder.AwaitEnd()));
}

}  // namespace
}  // namespace graft

#include "server/store/job_store.h"

#include <map>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/store/model_store.h"
#include "tests/server/store/store_fixture.h"

namespace graft {
namespace {

using testing::ElementsAre;
using JobStoreTest = StoreTest;

TEST_F(JobStoreTest, ReopeningKeepsTheJobAndItsEvents) {
  JobRecord job;
  job.request_id = "r1";
  job.dataset = "flowers";
  job.dataset_version = "v1";
  job.spec_pb = std::string("\0spec\xff", 6);
  job.effective_pb = "effective";
  auto enqueued = Jobs()->Enqueue(job);
  ASSERT_TRUE(enqueued.ok()) << enqueued.status();
  EXPECT_FALSE(enqueued->existed);
  Reopen();
  auto jobs = Jobs();
  auto got = jobs->Get(enqueued->job.id);
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(got->request_id, "r1");
  EXPECT_EQ(got->dataset, "flowers");
  EXPECT_EQ(got->dataset_version, "v1");
  EXPECT_EQ(got->spec_pb, job.spec_pb);
  EXPECT_EQ(got->effective_pb, "effective");
  EXPECT_EQ(got->state, JobState::kQueued);
  EXPECT_EQ(got->create_time, enqueued->job.create_time);
  EXPECT_EQ(got->start_time, std::nullopt);
  EXPECT_EQ(got->end_time, std::nullopt);
  EXPECT_EQ(got->lease_expiry, std::nullopt);
  EXPECT_EQ(got->attempt, 0);
  EXPECT_EQ(got->last_seq, 1);
  EXPECT_THAT(EventsOf(*jobs, got->id), ElementsAre("1/0/"));
}

TEST_F(JobStoreTest, IdsAreJobAndSixteenHexDigits) {
  auto jobs = Jobs();
  const std::string id = Queue(*jobs);
  EXPECT_THAT(id, testing::MatchesRegex("job-[0-9a-f]+"));
  EXPECT_EQ(id.size(), 20u);
  EXPECT_NE(Queue(*jobs), id);
}

TEST_F(JobStoreTest, KnownRequestIdReturnsTheEarlierJobAndWritesNothing) {
  auto jobs = Jobs();
  const std::string id = Queue(*jobs, "r1");
  JobRecord other;
  other.request_id = "r1";
  other.dataset = "cats";
  auto again = jobs->Enqueue(other);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE(again->existed);
  EXPECT_EQ(again->job.id, id);
  EXPECT_EQ(again->job.dataset, "flowers");
  EXPECT_EQ(jobs->CountByState()->at(JobState::kQueued), 1);
  EXPECT_EQ(EventsOf(*jobs, id).size(), 1u);
}

TEST_F(JobStoreTest, FindRequestFindsOnlyTheJobOfTheRequest) {
  auto jobs = Jobs();
  Queue(*jobs, "");
  const std::string id = Queue(*jobs, "r1");
  auto found = jobs->FindRequest("r1");
  ASSERT_TRUE(found.ok()) << found.status();
  ASSERT_TRUE(found->has_value());
  EXPECT_EQ((*found)->id, id);
  EXPECT_EQ(jobs->FindRequest("r2")->has_value(), false);
  EXPECT_EQ(jobs->FindRequest("")->has_value(), false);
}

TEST_F(JobStoreTest, EmptyRequestIdsAreDifferentJobs) {
  auto jobs = Jobs();
  EXPECT_NE(Queue(*jobs, ""), Queue(*jobs, ""));
}

TEST_F(JobStoreTest, OneRequestIdFromFourThreadsIsOneJob) {
  auto jobs = Jobs();
  std::vector<std::string> ids(4);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) threads.emplace_back([&, t] { ids[t] = Queue(*jobs, "r1"); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(std::set<std::string>(ids.begin(), ids.end()).size(), 1u);
}

TEST_F(JobStoreTest, FullQueueIsResourceExhaustedButAKnownRequestStillAnswers) {
  JobStore::Options options;
  options.max_queued = 2;
  auto jobs = Jobs(options);
  const std::string id = Queue(*jobs, "r1");
  Queue(*jobs);
  EXPECT_EQ(jobs->Enqueue({}).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(Queue(*jobs, "r1"), id);
  ASSERT_TRUE(jobs->Lease("worker").ok());
  EXPECT_TRUE(jobs->Enqueue({}).ok());
}

TEST_F(JobStoreTest, UnknownJobIsNotFoundAndNamed) {
  auto jobs = Jobs();
  const absl::Status status = jobs->Get("job-x").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(absl::StrContains(status.message(), "\"job-x\"")) << status;
  EXPECT_EQ(jobs->Cancel("job-x").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(jobs->Events("job-x", 1, 10).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(JobStoreTest, CreateTimesRiseEvenWhenTheClockDoesNot) {
  auto jobs = Jobs();
  const std::string first = Queue(*jobs);
  const std::string second = Queue(*jobs);
  clock_.Advance(-absl::Hours(1));
  const std::string third = Queue(*jobs);
  EXPECT_LT(jobs->Get(first)->create_time, jobs->Get(second)->create_time);
  EXPECT_LT(jobs->Get(second)->create_time, jobs->Get(third)->create_time);
}

TEST_F(JobStoreTest, ListWalksNewestFirst) {
  auto jobs = Jobs();
  std::vector<std::string> ids;
  for (int i = 0; i < 5; ++i) ids.insert(ids.begin(), Queue(*jobs));
  std::vector<std::string> seen;
  PageRequest request{2, ""};
  int pages = 0;
  do {
    auto page = jobs->List({}, request);
    ASSERT_TRUE(page.ok()) << page.status();
    for (const JobRecord& job : page->items) seen.push_back(job.id);
    request.token = page->next_token;
    if (++pages == 1) Queue(*jobs);  // a job that arrives during the walk shifts nothing
  } while (!request.token.empty());
  EXPECT_EQ(seen, ids);
  EXPECT_EQ(pages, 3);
}

TEST_F(JobStoreTest, ListFiltersByState) {
  auto jobs = Jobs();
  const std::string running = Queue(*jobs);
  const std::string queued = Queue(*jobs);
  const std::string cancelled = Queue(*jobs);
  ASSERT_TRUE(jobs->Lease("worker").ok());
  ASSERT_TRUE(jobs->Cancel(cancelled).ok());
  const auto ids = [&](const std::vector<JobState>& states) {
    std::vector<std::string> found;
    auto page = jobs->List(states, {10, ""});
    EXPECT_TRUE(page.ok()) << page.status();
    for (const JobRecord& job : page->items) found.push_back(job.id);
    return found;
  };
  EXPECT_THAT(ids({JobState::kRunning}), ElementsAre(running));
  EXPECT_THAT(ids({JobState::kQueued, JobState::kCancelled}), ElementsAre(cancelled, queued));
  EXPECT_THAT(ids({JobState::kFailed}), ElementsAre());
}

TEST_F(JobStoreTest, MalformedPageTokenIsInvalidArgument) {
  auto jobs = Jobs();
  Train(*jobs, "a");
  Train(*jobs, "b");
  auto of_other_list = ModelStore(db_.get()).List({1, ""});
  ASSERT_TRUE(of_other_list.ok());
  ASSERT_NE(of_other_list->next_token, "");
  for (const std::string& token : {std::string("!"), std::string("abcd"), of_other_list->next_token}) {
    const absl::Status status = jobs->List({}, {1, token}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << token;
    EXPECT_TRUE(absl::StartsWith(status.message(), "page_token: ")) << status;
  }
}

TEST_F(JobStoreTest, CountByStateHasEveryState) {
  auto jobs = Jobs();
  Queue(*jobs);
  Queue(*jobs);
  ASSERT_TRUE(jobs->Lease("worker").ok());
  const std::map<JobState, int64_t> want = {{JobState::kQueued, 1},
                                            {JobState::kRunning, 1},
                                            {JobState::kSucceeded, 0},
                                            {JobState::kFailed, 0},
                                            {JobState::kCancelled, 0}};
  EXPECT_EQ(*jobs->CountByState(), want);
}

TEST_F(JobStoreTest, CancellingAQueuedJobEndsIt) {
  auto jobs = Jobs();
  const std::string id = Queue(*jobs);
  auto cancelled = jobs->Cancel(id);
  ASSERT_TRUE(cancelled.ok()) << cancelled.status();
  EXPECT_EQ(cancelled->state, JobState::kCancelled);
  EXPECT_EQ(jobs->Get(id)->end_time, clock_.Now());
  EXPECT_THAT(EventsOf(*jobs, id), ElementsAre("1/0/", "5/0/cancelled while queued"));
  EXPECT_EQ(*jobs->Lease("worker"), std::nullopt);
}

TEST_F(JobStoreTest, CancellingARunningJobTellsItsWorker) {
  auto jobs = Jobs();
  const std::string id = Queue(*jobs);
  ASSERT_TRUE(jobs->Lease("worker").ok());
  EXPECT_FALSE(*jobs->Heartbeat(id, "worker"));
  EXPECT_EQ(jobs->Cancel(id)->state, JobState::kRunning);
  EXPECT_TRUE(*jobs->Heartbeat(id, "worker"));
}

TEST_F(JobStoreTest, CancellingAnEndedJobChangesNothing) {
  auto jobs = Jobs();
  const JobRecord done = Train(*jobs, "flowers");
  auto cancelled = jobs->Cancel(done.id);
  ASSERT_TRUE(cancelled.ok()) << cancelled.status();
  EXPECT_EQ(cancelled->state, JobState::kSucceeded);
  EXPECT_FALSE(cancelled->cancel_requested);
  EXPECT_EQ(cancelled->last_seq, done.last_seq);
}

TEST_F(JobStoreTest, EventsStartAtFromSeqAndStopAtLimit) {
  auto jobs = Jobs();
  const std::string id = Queue(*jobs);
  ASSERT_TRUE(jobs->Lease("worker").ok());
  JobUpdate update;
  update.event_pbs = {"a", "b", "c"};
  ASSERT_TRUE(jobs->Update(id, "worker", update).ok());  // 3, 4, 5
  auto events = jobs->Events(id, 4, 1);
  ASSERT_TRUE(events.ok()) << events.status();
  ASSERT_EQ(events->size(), 1u);
  EXPECT_EQ((*events)[0].seq, 4);
  EXPECT_EQ((*events)[0].event_pb, "b");
  EXPECT_EQ((*events)[0].time, clock_.Now());
  EXPECT_EQ(jobs->Events(id, 1, 100)->size(), 5u);
  EXPECT_TRUE(jobs->Events(id, 6, 100)->empty());
}

TEST_F(JobStoreTest, OnEventsIsCalledOncePerCommitAndMayUseTheStore) {
  auto jobs = Jobs();
  std::vector<std::string> seen;
  jobs->OnEvents([&](const std::string& id) {
    seen.push_back(absl::StrCat(id, " ", jobs->Get(id)->last_seq));
  });
  const std::string id = Queue(*jobs, "r1");
  Queue(*jobs, "r1");
  ASSERT_TRUE(jobs->Lease("worker").ok());
  ASSERT_TRUE(jobs->Heartbeat(id, "worker").ok());
  JobUpdate update;
  ASSERT_TRUE(jobs->Update(id, "worker", update).ok());
  update.event_pbs = {"a", "b"};
  ASSERT_TRUE(jobs->Update(id, "worker", update).ok());
  ASSERT_FALSE(jobs->Update(id, "other", update).ok());
  ASSERT_TRUE(jobs->Release(id, "worker", "drain").ok());
  ASSERT_TRUE(jobs->Lease("worker").ok());
  EXPECT_EQ(*jobs->RecoverExpired(true), 1);
  ASSERT_TRUE(jobs->Cancel(id).ok());
  EXPECT_THAT(seen, ElementsAre(id + " 1", id + " 2", id + " 4", id + " 5", id + " 6", id + " 7", id + " 8"));
}

}  // namespace
}  // namespace graft

#include "server/rpc/job_rpc.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/rpc/rpc_fixture.h"

namespace graft {
namespace {

class JobRpcTest : public RpcTest {
 protected:
  JobRpcTest() {
    StartServer();
    UseNetwork();
    stub_ = Stub<v1::JobService>();
  }

  struct Watch {
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientReader<v1::JobEvent>> reader;
    v1::JobEvent event;
    bool Read() { return reader->Read(&event); }
  };
  std::unique_ptr<Watch> StartWatch(const std::string& id, int64_t from_seq = 0) {
    auto watch = std::make_unique<Watch>();
    v1::WatchJobRequest request;
    request.set_id(id);
    request.set_from_seq(from_seq);
    watch->reader = stub_->WatchJob(&watch->context, request);
    return watch;
  }

  std::unique_ptr<v1::JobService::Stub> stub_;
};

TEST_F(JobRpcTest, StartTellsAllViolationsAtOnce) {
  grpc::ClientContext context;
  v1::StartJobRequest request;
  request.mutable_spec()->set_dataset("Not A Name");
  request.mutable_spec()->set_epochs(-1);
  v1::Job job;
  const grpc::Status status = stub_->StartJob(&context, request, &job);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(ViolatedFields(status), testing::IsSupersetOf({"spec.dataset", "spec.backbone", "spec.strategy"}));
}

TEST_F(JobRpcTest, DescribeTellsAllViolationsAtOnceByTheirPaths) {
  grpc::ClientContext context;
  v1::StartJobRequest request;
  request.mutable_spec()->set_dataset("flowers");
  request.mutable_spec()->set_backbone("small_convnet");
  request.mutable_spec()->set_strategy(v1::STRATEGY_SCRATCH);
  request.mutable_spec()->set_epochs(-1);
  request.mutable_spec()->mutable_optimizer()->set_momentum(2);
  request.mutable_spec()->mutable_head()->set_type(static_cast<v1::HeadType>(99));
  v1::JobDescription description;
  const grpc::Status status = stub_->DescribeJob(&context, request, &description);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(ViolatedFields(status),
              testing::UnorderedElementsAre("spec.head.type", "spec.epochs", "spec.optimizer.momentum"));
}

TEST_F(JobRpcTest, DescribeOfAnUnknownDatasetIsNotFound) {
  grpc::ClientContext context;
  v1::StartJobRequest request;
  request.mutable_spec()->set_dataset("flowers");
  request.mutable_spec()->set_backbone("small_convnet");
  request.mutable_spec()->set_strategy(v1::STRATEGY_SCRATCH);
  v1::JobDescription description;
  EXPECT_EQ(stub_->DescribeJob(&context, request, &description).error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(JobRpcTest, DescribeAnswersAndQueuesNothing) {
  DatasetVersion version;
  version.name = "flowers";
  version.version = "v1";
  version.classes = {{"rose", 2, 1, 0}, {"tulip", 2, 1, 0}};
  ASSERT_TRUE(datasets_->Commit(version, {}).ok());
  v1::StartJobRequest request;
  request.mutable_spec()->set_dataset("flowers");
  request.mutable_spec()->set_backbone("small_convnet");  // needs no weights from scratch
  request.mutable_spec()->set_strategy(v1::STRATEGY_SCRATCH);
  v1::JobDescription description;
  {
    grpc::ClientContext context;
    const grpc::Status status = stub_->DescribeJob(&context, request, &description);
    ASSERT_TRUE(status.ok()) << status.error_message();
  }
  EXPECT_EQ(description.effective().dataset_version(), "v1");
  EXPECT_EQ(description.effective().epochs(), 30);
  ASSERT_EQ(description.phases_size(), 1);
  EXPECT_EQ(description.phases(0).phase(), "scratch");
  EXPECT_GT(description.phases(0).parameters().trainable_backbone(), 0);
  EXPECT_GT(description.defaults_size(), 0);
  grpc::ClientContext context;
  v1::ListJobsResponse list;
  ASSERT_TRUE(stub_->ListJobs(&context, {}, &list).ok());
  EXPECT_EQ(list.jobs_size(), 0);
}

TEST_F(JobRpcTest, GetListAndCancel) {
  const std::string id = QueueJob();
  v1::Job job;
  {
    grpc::ClientContext context;
    v1::GetJobRequest request;
    request.set_id(id);
    ASSERT_TRUE(stub_->GetJob(&context, request, &job).ok());
    EXPECT_EQ(job.state(), v1::JOB_STATE_QUEUED);
  }
  {
    grpc::ClientContext context;
    v1::ListJobsResponse list;
    ASSERT_TRUE(stub_->ListJobs(&context, {}, &list).ok());
    ASSERT_EQ(list.jobs_size(), 1);
    EXPECT_EQ(list.jobs(0).id(), id);
  }
  {
    grpc::ClientContext context;
    v1::CancelJobRequest request;
    request.set_id(id);
    ASSERT_TRUE(stub_->CancelJob(&context, request, &job).ok());
    EXPECT_EQ(job.state(), v1::JOB_STATE_CANCELLED);
  }
  {
    grpc::ClientContext context;
    v1::GetJobRequest request;
    request.set_id("nobody");
    EXPECT_EQ(stub_->GetJob(&context, request, &job).error_code(), grpc::StatusCode::NOT_FOUND);
  }
}

TEST_F(JobRpcTest, WatchReplaysAndGoesOnUntilTheJobHasEnded) {
  const std::string id = QueueJob();
  const auto watch = StartWatch(id);
  ASSERT_TRUE(watch->Read());
  EXPECT_EQ(watch->event.seq(), 1);
  EXPECT_EQ(watch->event.state().state(), v1::JOB_STATE_QUEUED);
  ASSERT_TRUE(job_store_->Cancel(id).ok());
  ASSERT_TRUE(watch->Read());
  EXPECT_EQ(watch->event.state().state(), v1::JOB_STATE_CANCELLED);
  EXPECT_FALSE(watch->Read());
  EXPECT_TRUE(watch->reader->Finish().ok());
}

TEST_F(JobRpcTest, SlowWatchersMissNothing) {
  const std::string id = QueueJob();
  ASSERT_TRUE(job_store_->Lease("worker").ok());
  std::vector<std::unique_ptr<Watch>> watches;
  for (int i = 0; i < 4; ++i) watches.push_back(StartWatch(id, i));
  const std::string padding(4 << 10, 'x');  // beyond what flow control lets through unread
  for (int batch = 0; batch < 10; ++batch) {
    JobUpdate update;
    for (int i = 0; i < 100; ++i) update.event_pbs.push_back(EncodeWarning(padding));
    ASSERT_TRUE(job_store_->Update(id, "worker", update).ok());
  }
  ASSERT_TRUE(job_store_->Finish(id, "worker", JobState::kFailed, "as planned", {}, {}).ok());
  const int64_t last_seq = job_store_->Get(id)->last_seq;
  for (int i = 0; i < 4; ++i) {
    int64_t seq = std::max(1, i);
    while (watches[i]->Read()) ASSERT_EQ(watches[i]->event.seq(), seq++);
    EXPECT_EQ(seq, last_seq + 1);
    EXPECT_TRUE(watches[i]->reader->Finish().ok());
  }
}

TEST_F(JobRpcTest, WatchOfAnUnknownJobIsNotFound) {
  const auto watch = StartWatch("nobody");
  EXPECT_FALSE(watch->Read());
  EXPECT_EQ(watch->reader->Finish().error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(JobRpcTest, WatchFromANegativeSequenceNumberIsInvalid) {
  const auto watch = StartWatch(QueueJob(), -1);
  EXPECT_FALSE(watch->Read());
  EXPECT_THAT(ViolatedFields(watch->reader->Finish()), testing::ElementsAre("from_seq"));
}

TEST_F(JobRpcTest, WatcherThatGoesAwayLeavesNothingBehind) {
  const std::string id = QueueJob();
  for (int i = 0; i < 50; ++i) {
    const auto watch = StartWatch(id);
    if (i % 2 == 0) watch->Read();
    watch->context.TryCancel();
    while (watch->Read()) {
    }
    EXPECT_EQ(watch->reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  StopServer();  // returns only when no call is left
}

TEST_F(JobRpcTest, CancelledWatchIsCounted) {
  const auto watch = StartWatch(QueueJob());
  ASSERT_TRUE(watch->Read());
  watch->context.TryCancel();
  // Not StopServer(): it could end the watch before the cancellation arrives. The test's time limit ends the loop.
  const std::string line = "graft_rpc_requests_total{code=\"CANCELLED\",method=\"graft.v1.JobService/WatchJob\"} 1";
  while (metrics_.Scrape().find(line) == std::string::npos) std::this_thread::yield();
}

TEST_F(JobRpcTest, ShutdownEndsWatchesAsUnavailable) {
  const auto watch = StartWatch(QueueJob());
  ASSERT_TRUE(watch->Read());
  StopServer();
  EXPECT_FALSE(watch->Read());
  EXPECT_EQ(watch->reader->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

}  // namespace
}  // namespace graft

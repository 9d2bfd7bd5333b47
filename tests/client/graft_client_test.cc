#include "client/graft_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "tests/client/fake_server.h"
#include "tests/client/read_tar.h"
#include "tests/client/test_files.h"

namespace graft {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

const grpc::Status kGone(grpc::StatusCode::UNAVAILABLE, "server restarts");

class GraftClientTest : public testing::Test {
 protected:
  GraftClientTest() {
    options_.server = server_.address;
    options_.sleep = [this](absl::Duration pause) { pauses_.push_back(pause); };
  }

  std::unique_ptr<Client> MakeClient() {
    auto client = Client::Connect(options_);
    EXPECT_TRUE(client.ok()) << client.status();
    return client.ok() ? *std::move(client) : nullptr;
  }

  // Sequence numbers seen by a watch from `from_seq`.
  std::vector<int64_t> Watch(int64_t from_seq, absl::Status* status) {
    std::vector<int64_t> seen;
    WatchOptions options;
    options.from_seq = from_seq;
    *status = MakeClient()->WatchJob("job-1", options, [&](const v1::JobEvent& event) {
      seen.push_back(event.seq());
      return true;
    });
    return seen;
  }

  FakeServer server_;
  ClientOptions options_;
  std::vector<absl::Duration> pauses_;
};

TEST_F(GraftClientTest, OptionsOutOfRangeAreAllNamed) {
  options_.server = "";
  options_.rpc_timeout = -absl::Seconds(1);
  options_.max_message_bytes = 0;
  const absl::Status status = Client::Connect(options_).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  for (const char* field : {"server", "rpc_timeout", "max_message_bytes"}) {
    EXPECT_THAT(std::string(status.message()), HasSubstr(field));
  }
}

TEST_F(GraftClientTest, NoServerIsUnavailable) {
  options_.server = "127.0.0.1:1";  // a port of the system's that nothing listens on
  options_.connect_timeout = absl::Milliseconds(50);
  EXPECT_TRUE(absl::IsUnavailable(Client::Connect(options_).status()));
}

TEST_F(GraftClientTest, FolderUploadIsATarOfIt) {
  const auto folder = TestFolder();
  const std::string large(3 << 20, 'x');
  MakeFile(folder / "tulip" / "b.jpg", large);
  MakeFile(folder / "rose" / "a.jpg", "rose");
  v1::DatasetHeader header;
  header.set_name("flowers");
  int64_t sent = 0;
  UploadObserver observer;
  observer.progress = [&](int64_t bytes, int64_t total) {
    sent = bytes;
    EXPECT_EQ(total, static_cast<int64_t>(large.size() + 4));
  };
  const auto response = MakeClient()->UploadDataset(folder.string(), header, observer);
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->dataset().name(), "flowers");
  EXPECT_THAT(ReadTar(server_.datasets.archive), ElementsAre(Pair("rose/a.jpg", "rose"), Pair("tulip/b.jpg", large)));
  EXPECT_LE(server_.datasets.largest_chunk, size_t{1} << 20);
  EXPECT_EQ(sent, static_cast<int64_t>(large.size() + 4));
}

TEST_F(GraftClientTest, ArchiveUploadIsItsBytes) {
  const std::string bytes = "PK" + std::string(2 << 20, 'z');
  const std::string path = MakeFile(TestFolder() / "flowers.zip", bytes);
  const auto response = MakeClient()->UploadDataset(path, v1::DatasetHeader());
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(server_.datasets.archive, bytes);
}

TEST_F(GraftClientTest, UploadOfMissingPathIsNotFound) {
  const auto response = MakeClient()->UploadDataset((TestFolder() / "none").string(), v1::DatasetHeader());
  EXPECT_TRUE(absl::IsNotFound(response.status())) << response.status();
}

TEST_F(GraftClientTest, UploadRefusedMidwayReportsTheServersReason) {
  server_.datasets.refuse_upload = grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "too many uploads");
  const std::string path = MakeFile(TestFolder() / "flowers.zip", std::string(32 << 20, 'z'));
  const auto response = MakeClient()->UploadDataset(path, v1::DatasetHeader());
  EXPECT_EQ(response.status(), absl::ResourceExhaustedError("too many uploads"));
}

TEST_F(GraftClientTest, ImportHearsEveryVerdictAndTheDataset) {
  int left = 100;
  std::vector<int64_t> verdicts;
  const auto dataset = MakeClient()->ImportImages(
      v1::ImportHeader(),
      [&](v1::LabelledImage* image) -> absl::StatusOr<bool> {
        image->set_data("picture");
        return left-- > 0;
      },
      [&](const v1::ImageVerdict& verdict) { verdicts.push_back(verdict.index()); });
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ(dataset->image_count(), 100);
  EXPECT_EQ(verdicts.size(), 100u);
  EXPECT_TRUE(std::is_sorted(verdicts.begin(), verdicts.end()));
}

TEST_F(GraftClientTest, ImportSourceErrorBreaksOff) {
  const auto dataset = MakeClient()->ImportImages(
      v1::ImportHeader(), [](v1::LabelledImage*) -> absl::StatusOr<bool> { return absl::DataLossError("disk"); });
  EXPECT_EQ(dataset.status(), absl::DataLossError("disk"));
}

TEST_F(GraftClientTest, ListGathersAllPages) {
  const auto datasets = MakeClient()->ListDatasets();
  ASSERT_TRUE(datasets.ok()) << datasets.status();
  ASSERT_EQ(datasets->size(), 2u);
  EXPECT_EQ((*datasets)[1].name(), "second");
}

TEST_F(GraftClientTest, StartJobRetriesWithTheSameRequestId) {
  server_.jobs.start_failures = {kGone, kGone};
  const auto job = MakeClient()->StartJob(v1::StartJobRequest());
  ASSERT_TRUE(job.ok()) << job.status();
  const auto started = server_.jobs.started();
  ASSERT_EQ(started.size(), 3u);
  EXPECT_FALSE(started[0].request_id().empty());
  EXPECT_EQ(started[1].request_id(), started[0].request_id());
  EXPECT_EQ(started[2].request_id(), started[0].request_id());
  EXPECT_THAT(pauses_, ElementsAre(absl::Milliseconds(200), absl::Milliseconds(400)));
}

TEST_F(GraftClientTest, EachStartJobHasItsOwnRequestId) {
  const auto client = MakeClient();
  ASSERT_TRUE(client->StartJob(v1::StartJobRequest()).ok());
  ASSERT_TRUE(client->StartJob(v1::StartJobRequest()).ok());
  EXPECT_NE(server_.jobs.started()[0].request_id(), server_.jobs.started()[1].request_id());
}

TEST_F(GraftClientTest, StartJobKeepsTheCallersRequestId) {
  v1::StartJobRequest request;
  request.set_request_id("mine");
  ASSERT_TRUE(MakeClient()->StartJob(request).ok());
  EXPECT_EQ(server_.jobs.started()[0].request_id(), "mine");
}

TEST_F(GraftClientTest, StartJobGivesUpAfterMaxRetries) {
  options_.max_retries = 2;
  server_.jobs.start_failures = std::deque<grpc::Status>(10, kGone);
  EXPECT_TRUE(absl::IsUnavailable(MakeClient()->StartJob(v1::StartJobRequest()).status()));
  EXPECT_EQ(server_.jobs.started().size(), 3u);
}

TEST_F(GraftClientTest, StartJobDoesNotRetryOtherErrors) {
  server_.jobs.start_failures = {grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "epochs")};
  EXPECT_TRUE(absl::IsInvalidArgument(MakeClient()->StartJob(v1::StartJobRequest()).status()));
  EXPECT_EQ(server_.jobs.started().size(), 1u);
}

TEST_F(GraftClientTest, DescribeJobRetriesAndStartsNothing) {
  server_.jobs.start_failures = {kGone};
  server_.jobs.description.mutable_effective()->set_epochs(30);
  v1::StartJobRequest request;
  request.mutable_spec()->set_dataset("flowers");
  const auto description = MakeClient()->DescribeJob(request);
  ASSERT_TRUE(description.ok()) << description.status();
  EXPECT_EQ(description->effective().ShortDebugString(), "dataset: \"flowers\" epochs: 30");
  EXPECT_EQ(server_.jobs.described().size(), 2u);
  EXPECT_TRUE(server_.jobs.started().empty());
  EXPECT_THAT(pauses_, ElementsAre(absl::Milliseconds(200)));
}

TEST_F(GraftClientTest, DescribeJobDoesNotRetryOtherErrors) {
  server_.jobs.start_failures = {grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "epochs")};
  EXPECT_EQ(MakeClient()->DescribeJob(v1::StartJobRequest()).status(), absl::InvalidArgumentError("epochs"));
  EXPECT_EQ(server_.jobs.described().size(), 1u);
}

TEST_F(GraftClientTest, WatchSurvivesABrokenStream) {
  server_.jobs.parts = {{{StateEvent(1, v1::JOB_STATE_RUNNING), EpochEvent(2, 1)}, kGone},
                        {{}, kGone},
                        {{EpochEvent(3, 2), EpochEvent(4, 3)}, kGone},
                        {{StateEvent(5, v1::JOB_STATE_SUCCEEDED)}, grpc::Status::OK}};
  absl::Status status;
  EXPECT_THAT(Watch(1, &status), ElementsAre(1, 2, 3, 4, 5));
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_THAT(server_.jobs.asked_from(), ElementsAre(1, 3, 3, 5));
  // The pause starts again once an event came.
  EXPECT_THAT(pauses_, ElementsAre(absl::Milliseconds(200), absl::Milliseconds(400), absl::Milliseconds(200)));
}

TEST_F(GraftClientTest, WatchPassesAReplayedEventOnOnce) {
  server_.jobs.resend_all = true;
  server_.jobs.parts = {{{EpochEvent(1, 1), EpochEvent(2, 2)}, kGone},
                        {{EpochEvent(1, 1), EpochEvent(2, 2), EpochEvent(3, 3)}, grpc::Status::OK}};
  absl::Status status;
  EXPECT_THAT(Watch(0, &status), ElementsAre(1, 2, 3));
  EXPECT_TRUE(status.ok()) << status;
}

// The server stops in the middle of a live watch and comes back on its port when the client pauses for the second time.
TEST_F(GraftClientTest, WatchSurvivesARestartOfTheServer) {
  auto first = std::make_unique<FakeServer>();
  first->jobs.parts = {{{EpochEvent(1, 1)}, grpc::Status::OK, /*until_cancelled=*/true}};
  FakeServer second;
  second.jobs.parts = {{{EpochEvent(1, 1), EpochEvent(2, 2)}, grpc::Status::OK}};
  options_.server = first->address;
  options_.max_reconnects = 1 << 30;  // gRPC's own connection attempts take real time
  std::unique_ptr<grpc::Server> restarted;
  int pauses = 0;
  options_.sleep = [&](absl::Duration) {
    if (++pauses != 2) return;
    grpc::ServerBuilder builder;
    builder.AddListeningPort(first->address, grpc::InsecureServerCredentials());
    builder.RegisterService(&second.jobs);
    restarted = builder.BuildAndStart();
  };
  std::vector<int64_t> seen;
  const absl::Status status = MakeClient()->WatchJob("job-1", {}, [&](const v1::JobEvent& event) {
    seen.push_back(event.seq());
    if (event.seq() == 1) first->Stop();
    return true;
  });
  EXPECT_THAT(seen, ElementsAre(1, 2));
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(second.jobs.asked_from(), std::vector<int64_t>{2});
}

TEST_F(GraftClientTest, WatchGivesUpAfterMaxReconnects) {
  options_.max_reconnects = 8;
  absl::Status status;
  EXPECT_TRUE(Watch(1, &status).empty());
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  ASSERT_EQ(pauses_.size(), 8u);
  EXPECT_EQ(pauses_.back(), absl::Seconds(5));
}

TEST_F(GraftClientTest, WatchStopsWhenTheCallbackSaysFalse) {
  server_.jobs.parts = {{{EpochEvent(1, 1), EpochEvent(2, 2)}, grpc::Status::OK}};
  const absl::Status status = MakeClient()->WatchJob("job-1", {}, [](const v1::JobEvent&) { return false; });
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
}

TEST_F(GraftClientTest, OneBackboneIsFoundByItsName) {
  const auto client = MakeClient();
  const auto backbone = client->GetBackbone("installed");
  ASSERT_TRUE(backbone.ok()) << backbone.status();
  EXPECT_EQ(backbone->class_count(), 1000);
  EXPECT_TRUE(absl::IsNotFound(client->GetBackbone("nobody").status()));
}

TEST_F(GraftClientTest, ServersErrorKeepsCodeAndMessage) {
  const auto job = MakeClient()->GetJob("nothing");
  EXPECT_EQ(job.status(), absl::NotFoundError("job: got \"nothing\", no such job"));
}

}  // namespace
}  // namespace graft

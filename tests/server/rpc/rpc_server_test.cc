#include "server/rpc/rpc_server.h"

#include <grpcpp/completion_queue.h>
#include <grpcpp/generic/generic_stub.h>

#include <atomic>
#include <cstdint>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "graft/v1/dataset.grpc.pb.h"
#include "graft/v1/inference.grpc.pb.h"
#include "graft/v1/job.grpc.pb.h"
#include "graft/v1/model.pb.h"
#include "gtest/gtest.h"
#include "tests/server/rpc/rpc_fixture.h"

namespace graft {
namespace {

using testing::HasSubstr;

// Debian ships no stubs of grpc.health.v1. On the wire HealthCheckRequest is any message with a string 1, and
// HealthCheckResponse any with a number 1.
using HealthStub = grpc::TemplatedGenericStub<v1::GetJobRequest, v1::ModelVersion>;
constexpr int64_t kServing = 1, kNotServing = 2, kServiceUnknown = 3;

class RpcServerTest : public RpcTest {
 protected:
  // -> ServingStatus, or minus the status code.
  int64_t CheckHealth(const std::string& service) {
    HealthStub stub(channel_);
    grpc::ClientContext context;
    v1::GetJobRequest request;
    request.set_id(service);
    v1::ModelVersion response;
    std::promise<grpc::Status> done;
    stub.UnaryCall(&context, "/grpc.health.v1.Health/Check", {}, &request, &response,
                   [&](grpc::Status status) { done.set_value(std::move(status)); });
    const grpc::Status status = done.get_future().get();
    return status.ok() ? response.version() : -static_cast<int64_t>(status.error_code());
  }
};

// A streaming call of any service, one step at a time.
template <typename Request, typename Response>
class Stream {
 public:
  Stream(const std::shared_ptr<grpc::Channel>& channel, const std::string& method) : stub_(channel) {
    call_ = stub_.PrepareCall(&context_, method, &queue_);
    call_->StartCall(this);
    Wait();
  }
  ~Stream() {
    context_.TryCancel();
    grpc::Status status;
    call_->Finish(&status, this);
    Wait();
    queue_.Shutdown();
    void* tag = nullptr;
    bool ok = false;
    while (queue_.Next(&tag, &ok)) {
    }
  }
  bool Write(const Request& request) {
    call_->Write(request, this);
    return Wait();
  }
  bool Read(Response* response) {
    call_->Read(response, this);
    return Wait();
  }

 private:
  bool Wait() {
    void* tag = nullptr;
    bool ok = false;
    return queue_.Next(&tag, &ok) && ok;
  }
  grpc::TemplatedGenericStub<Request, Response> stub_;
  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::ClientAsyncReaderWriter<Request, Response>> call_;
};

TEST_F(RpcServerTest, HealthFollowsSetServing) {
  StartServer();
  EXPECT_EQ(CheckHealth(""), kNotServing);
  server_->SetServing(true);
  for (const char* service : {"", "graft.v1.DatasetService", "graft.v1.JobService", "graft.v1.ModelService",
                              "graft.v1.InferenceService", "graft.v1.SystemService"})
    EXPECT_EQ(CheckHealth(service), kServing) << service;
  EXPECT_EQ(CheckHealth("nobody"), -static_cast<int64_t>(grpc::StatusCode::NOT_FOUND));
  server_->SetServing(false);
  EXPECT_EQ(CheckHealth(""), kNotServing);
}

TEST_F(RpcServerTest, HealthWatchTellsChanges) {
  StartServer();
  Stream<v1::GetJobRequest, v1::ModelVersion> known(channel_, "/grpc.health.v1.Health/Watch");
  v1::GetJobRequest request;
  request.set_id("graft.v1.JobService");
  ASSERT_TRUE(known.Write(request));
  v1::ModelVersion response;
  ASSERT_TRUE(known.Read(&response));
  EXPECT_EQ(response.version(), kNotServing);
  server_->SetServing(true);
  ASSERT_TRUE(known.Read(&response));
  EXPECT_EQ(response.version(), kServing);
  Stream<v1::GetJobRequest, v1::ModelVersion> unknown(channel_, "/grpc.health.v1.Health/Watch");
  request.set_id("nobody");
  ASSERT_TRUE(unknown.Write(request));
  ASSERT_TRUE(unknown.Read(&response));
  EXPECT_EQ(response.version(), kServiceUnknown);
}

TEST_F(RpcServerTest, TakenAddressIsInvalid) {
  StartServer();
  RpcServer::Options options;
  options.address = server_->address();
  const absl::Status status = RpcServer::Start(options, Dependencies()).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr(absl::StrCat("grpc_address: got \"", options.address, "\"")));
}

TEST_F(RpcServerTest, AddressThatIsNoneIsInvalid) {
  for (const char* address : {"", "localhost:http:", "256.0.0.1:99999"}) {
    options_.address = address;
    const absl::Status status = RpcServer::Start(options_, Dependencies()).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status));
    EXPECT_THAT(std::string(status.message()), HasSubstr("grpc_address: got"));
  }
}

TEST_F(RpcServerTest, AddressNamesThePortInUse) {
  StartServer();
  EXPECT_GT(server_->port(), 0);
  EXPECT_EQ(server_->address(), absl::StrCat("127.0.0.1:", server_->port()));
}

TEST_F(RpcServerTest, CallsAreCountedByMethodAndCode) {
  StartServer();
  const auto stub = Stub<v1::JobService>();
  v1::GetJobRequest request;
  request.set_id(QueueJob());
  v1::Job job;
  {
    grpc::ClientContext context;
    ASSERT_TRUE(stub->GetJob(&context, request, &job).ok());
  }
  request.set_id("nobody");
  for (int i = 0; i < 2; ++i) {
    grpc::ClientContext context;
    ASSERT_FALSE(stub->GetJob(&context, request, &job).ok());
  }
  const std::string metrics = metrics_.Scrape();
  EXPECT_THAT(metrics, HasSubstr("{code=\"OK\",method=\"graft.v1.JobService/GetJob\"} 1"));
  EXPECT_THAT(metrics, HasSubstr("{code=\"NOT_FOUND\",method=\"graft.v1.JobService/GetJob\"} 2"));
  EXPECT_THAT(metrics, HasSubstr("graft_rpc_duration_seconds_count{method=\"graft.v1.JobService/GetJob\"} 3"));
}

TEST_F(RpcServerTest, MessageBeyondTheLimitIsResourceExhausted) {
  options_.limits.max_request_bytes = 3 << 20;
  StartServer();
  UseNetwork();
  grpc::ClientContext context;
  v1::ClassifyRequest request;
  request.add_images(std::string(4 << 20, 'x'));
  v1::ClassifyResponse response;
  EXPECT_EQ(Stub<v1::InferenceService>()->Classify(&context, request, &response).error_code(),
            grpc::StatusCode::RESOURCE_EXHAUSTED);
}

TEST_F(RpcServerTest, OptionsAreChecked) {
  options_.executor.threads = 0;
  options_.limits.max_chunk_bytes = -1;
  const std::string message(RpcServer::Start(options_, Dependencies()).status().message());
  EXPECT_THAT(message, HasSubstr("executor.threads: got 0, want > 0"));
  EXPECT_THAT(message, HasSubstr("max_chunk_bytes: got -1, want > 0"));
}

TEST_F(RpcServerTest, ShutdownTwiceIsHarmless) {
  StartServer();
  StopServer();
  StopServer();
  server_->SetServing(true);
}

TEST_F(RpcServerTest, BusyExecutorIsResourceExhausted) {
  options_.executor = {1, 1};
  StartServer();
  // The write lock keeps the executor's thread in the store until the end of this block.
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<v1::Job> jobs(3);
  std::vector<std::promise<grpc::StatusCode>> codes(3);
  const auto stub = Stub<v1::JobService>();
  v1::CancelJobRequest request;
  request.set_id("nobody");
  std::promise<grpc::StatusCode> refused;
  std::atomic<int> ended{0};
  ASSERT_TRUE(db_->Write("hold", [&](soci::session&) {
                    for (int i = 0; i < 3; ++i) {
                      contexts.push_back(std::make_unique<grpc::ClientContext>());
                      stub->async()->CancelJob(contexts[i].get(), &request, &jobs[i], [&, i](grpc::Status status) {
                        if (ended++ == 0) refused.set_value(status.error_code());
                        codes[i].set_value(status.error_code());
                      });
                    }
                    EXPECT_EQ(refused.get_future().get(), grpc::StatusCode::RESOURCE_EXHAUSTED);
                    return absl::OkStatus();
                  })
                  .ok());
  for (auto& code : codes) code.get_future().wait();
}

TEST_F(RpcServerTest, ReflectionListsTheServices) {
  StartServer();
  // ServerReflectionRequest{list_services: "*"}, field 7; of the answer the names are enough.
  Stream<grpc::ByteBuffer, grpc::ByteBuffer> stream(channel_,
                                                    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo");
  const grpc::Slice slice(std::string("\x3a\x01*", 3));
  ASSERT_TRUE(stream.Write(grpc::ByteBuffer(&slice, 1)));
  grpc::ByteBuffer response;
  ASSERT_TRUE(stream.Read(&response));
  grpc::Slice answer;
  ASSERT_TRUE(response.DumpToSingleSlice(&answer).ok());
  const std::string text(reinterpret_cast<const char*>(answer.begin()), answer.size());
  for (const char* service : {"graft.v1.DatasetService", "graft.v1.JobService", "graft.v1.ModelService",
                              "graft.v1.InferenceService", "graft.v1.SystemService", "grpc.health.v1.Health"})
    EXPECT_THAT(text, HasSubstr(service));
}

}  // namespace
}  // namespace graft

#include "server/rpc/inference_rpc.h"

#include <memory>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/rpc/rpc_fixture.h"
#include "tests/support/install_backbone.h"
#include "tests/support/pictures.h"
#include "tests/support/tiny_classifier.h"

namespace graft {
namespace {

// Answers that need no trained model; those that do are tested end to end.
class InferenceRpcTest : public RpcTest {
 protected:
  InferenceRpcTest() {
    StartServer();
    UseNetwork();
    stub_ = Stub<v1::InferenceService>();
  }
  std::unique_ptr<v1::InferenceService::Stub> stub_;
};

TEST_F(InferenceRpcTest, ClassifyTellsAllViolationsAtOnce) {
  grpc::ClientContext context;
  v1::ClassifyRequest request;
  request.set_top_k(-1);
  v1::ClassifyResponse response;
  const grpc::Status status = stub_->Classify(&context, request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(ViolatedFields(status), testing::ElementsAre("model", "images", "top_k"));
}

TEST_F(InferenceRpcTest, ClassifyWithAnUnknownModelIsNotFound) {
  grpc::ClientContext context;
  v1::ClassifyRequest request;
  request.set_model("flowers");
  request.add_images("picture");
  v1::ClassifyResponse response;
  EXPECT_EQ(stub_->Classify(&context, request, &response).error_code(), grpc::StatusCode::NOT_FOUND);
  StopServer();
  const std::string metrics = metrics_.Scrape();
  EXPECT_THAT(metrics, testing::HasSubstr("graft_classify_requests_total{code=\"NOT_FOUND\""));
  EXPECT_THAT(metrics, testing::HasSubstr("code=\"NOT_FOUND\",method=\"graft.v1.InferenceService/Classify\"} 1"));
}

TEST_F(InferenceRpcTest, ABackboneIsServedWithoutTraining) {
  InstallWeights(TinyClassifierWeights(), directory_.path(), "insects");
  v1::ClassifyRequest request;
  request.set_model("backbone/insects");
  request.add_images(ColourBmp({200, 0, 0}, 8, 0, 0));
  grpc::ClientContext unary, streaming;
  v1::ClassifyResponse response;
  const grpc::Status status = stub_->Classify(&unary, request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.model(), "backbone/insects");
  ASSERT_EQ(response.results_size(), 1);
  EXPECT_EQ(response.results(0).predictions_size(), 3);
  const auto stream = stub_->ClassifyStream(&streaming);
  ASSERT_TRUE(stream->Write(request));
  stream->WritesDone();
  v1::ClassifyStreamResponse answer;
  ASSERT_TRUE(stream->Read(&answer));
  EXPECT_EQ(answer.response().model(), "backbone/insects");
  EXPECT_TRUE(stream->Finish().ok());
  StopServer();
  EXPECT_THAT(metrics_.Scrape(), testing::HasSubstr("model=\"backbone/insects\",version=\"\"} 2"));
}

TEST_F(InferenceRpcTest, ABackboneWithoutAClassifierIsFailedPrecondition) {
  InstallTinyBackbone(directory_.path());
  grpc::ClientContext context;
  v1::ClassifyRequest request;
  request.set_model("backbone/mobilenet_v3_small");
  request.add_images("picture");
  v1::ClassifyResponse response;
  EXPECT_EQ(stub_->Classify(&context, request, &response).error_code(), grpc::StatusCode::FAILED_PRECONDITION);
}

TEST_F(InferenceRpcTest, StreamAnswersInOrderAndGoesOnAfterErrors) {
  constexpr int kRequests = 30;
  grpc::ClientContext context;
  const auto stream = stub_->ClassifyStream(&context);
  for (int i = 0; i < kRequests; ++i) {
    v1::ClassifyRequest request;
    request.set_model("flowers");
    if (i % 3 != 0) request.add_images("picture");
    ASSERT_TRUE(stream->Write(request));
  }
  stream->WritesDone();
  v1::ClassifyStreamResponse response;
  for (int i = 0; i < kRequests; ++i) {
    ASSERT_TRUE(stream->Read(&response));
    EXPECT_EQ(response.index(), i);
    EXPECT_EQ(response.error().code(), static_cast<int>(i % 3 == 0 ? grpc::StatusCode::INVALID_ARGUMENT
                                                                   : grpc::StatusCode::NOT_FOUND));
    EXPECT_NE(response.error().message(), "");
  }
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(InferenceRpcTest, StreamThatBreaksOffEnds) {
  grpc::ClientContext context;
  const auto stream = stub_->ClassifyStream(&context);
  v1::ClassifyRequest request;
  request.set_model("flowers");
  for (int i = 0; i < 10; ++i) stream->Write(request);
  context.TryCancel();
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  StopServer();  // returns only when no call is left
}

}  // namespace
}  // namespace graft

#include "server/rpc/status.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace graft {
namespace {

google::rpc::Status Details(const grpc::Status& status) {
  google::rpc::Status details;
  EXPECT_TRUE(details.ParseFromString(status.error_details()));
  return details;
}

TEST(ToGrpcTest, KeepsCodeAndMessage) {
  EXPECT_TRUE(ToGrpc(absl::OkStatus()).ok());
  const grpc::Status status = ToGrpc(absl::NotFoundError("job: got \"x\", no such job"));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(status.error_message(), "job: got \"x\", no such job");
  EXPECT_EQ(status.error_details(), "");
  EXPECT_EQ(ToGrpc(absl::UnavailableError("")).error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(ToGrpc(absl::DataLossError("x")).error_code(), grpc::StatusCode::DATA_LOSS);
}

TEST(ToGrpcTest, EachLineOfAnInvalidArgumentIsAViolation) {
  const grpc::Status status =
      ToGrpc(absl::InvalidArgumentError("spec.epochs: got -1, want 1 to 10000\nimages[3]: got 0 bytes, want 1 to 9"));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  const google::rpc::Status details = Details(status);
  EXPECT_EQ(details.code(), 3);
  EXPECT_EQ(details.message(), status.error_message());  // grpcio-status refuses anything else
  ASSERT_EQ(details.details_size(), 1);
  EXPECT_EQ(details.details(0).type_url(), "type.googleapis.com/google.rpc.BadRequest");
  google::rpc::BadRequest bad_request;
  ASSERT_TRUE(details.details(0).UnpackTo(&bad_request));
  ASSERT_EQ(bad_request.field_violations_size(), 2);
  EXPECT_EQ(bad_request.field_violations(0).field(), "spec.epochs");
  EXPECT_EQ(bad_request.field_violations(0).description(), "got -1, want 1 to 10000");
  EXPECT_EQ(bad_request.field_violations(1).field(), "images[3]");
}

TEST(ToGrpcTest, LineWithoutFieldIsNoViolation) {
  EXPECT_EQ(ToGrpc(absl::InvalidArgumentError("not an archive: what came is text")).error_details(), "");
}

TEST(ToGrpcTest, InternalErrorsTellTheCallerNothing) {
  for (const absl::Status& status : {absl::InternalError("disk /var/x"), absl::UnknownError("disk /var/x")}) {
    EXPECT_EQ(ToGrpc(status).error_code(), grpc::StatusCode::INTERNAL);
    EXPECT_EQ(ToGrpc(status).error_message(), "internal error");
  }
}

TEST(ToGrpcTest, LongMessagesStayBelowTheMetadataLimit) {
  std::string message;
  for (int i = 0; i < 1000; ++i) absl::StrAppend(&message, "field", i, ": got \xE4\xB8\xAD, want something else\n");
  const grpc::Status status = ToGrpc(absl::InvalidArgumentError(message));
  EXPECT_LT(3 * status.error_message().size() + status.error_details().size() * 4 / 3, 8000u);
  EXPECT_THAT(status.error_message(), testing::EndsWith("(and more)"));
  EXPECT_GT(Details(status).details_size(), 0);
}

TEST(ToGrpcTest, BytesThatAreNotUtf8AreEscaped) {
  const grpc::Status status = ToGrpc(absl::InvalidArgumentError("label: got \"\xFF\", want text"));
  EXPECT_EQ(status.error_message(), "label: got \\\"\\xff\\\", want text");
}

TEST(ToGrpcTest, CutsBetweenCharacters) {
  std::string message = "a";
  while (message.size() < 1100) message += "\xE4\xB8\xAD";
  const std::string cut = ToGrpc(absl::NotFoundError(message)).error_message();
  EXPECT_LE(cut.size(), 1000u);
  EXPECT_EQ((cut.size() - 1) % 3, 0u);
}

}  // namespace
}  // namespace graft

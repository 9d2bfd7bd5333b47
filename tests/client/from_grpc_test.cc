#include "client/from_grpc.h"

#include <google/rpc/error_details.pb.h>
#include <gtest/gtest.h>

#include <string>

namespace graft {
namespace {

grpc::Status WithViolations(const std::string& message) {
  google::rpc::BadRequest bad_request;
  auto* violation = bad_request.add_field_violations();
  violation->set_field("epochs");
  violation->set_description("epochs: got -1, want >= 1");
  violation = bad_request.add_field_violations();
  violation->set_field("learning_rate");
  violation->set_description("got -0.1, want > 0");
  google::rpc::Status details;
  details.set_code(3);
  details.add_details()->PackFrom(bad_request);
  return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, message, details.SerializeAsString());
}

TEST(FromGrpcTest, OkIsOk) { EXPECT_TRUE(FromGrpc(grpc::Status::OK).ok()); }

TEST(FromGrpcTest, CodeAndMessageStay) {
  const absl::Status status = FromGrpc(grpc::Status(grpc::StatusCode::NOT_FOUND, "job: no such job"));
  EXPECT_EQ(status, absl::NotFoundError("job: no such job"));
}

TEST(FromGrpcTest, ViolationsAreAppended) {
  EXPECT_EQ(FromGrpc(WithViolations("bad spec")),
            absl::InvalidArgumentError("bad spec\nepochs: got -1, want >= 1\nlearning_rate: got -0.1, want > 0"));
}

TEST(FromGrpcTest, ViolationsOfTheMessageAreNotRepeated) {
  const std::string message = "epochs: got -1, want >= 1; learning_rate: got -0.1, want > 0";
  EXPECT_EQ(FromGrpc(WithViolations(message)), absl::InvalidArgumentError(message));
}

TEST(FromGrpcTest, DetailsThatAreNoStatusAreIgnored) {
  EXPECT_EQ(FromGrpc(grpc::Status(grpc::StatusCode::INTERNAL, "broken", "\xff\xff")), absl::InternalError("broken"));
}

}  // namespace
}  // namespace graft

#include "client/from_grpc.h"

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"

namespace graft {
namespace {

void AppendViolations(const google::rpc::BadRequest& bad_request, std::string* message) {
  for (const auto& violation : bad_request.field_violations()) {
    if (absl::StrContains(*message, violation.description())) continue;
    const std::string line = absl::StartsWith(violation.description(), violation.field())
                                 ? violation.description()
                                 : absl::StrCat(violation.field(), ": ", violation.description());
    absl::StrAppend(message, message->empty() ? "" : "\n", line);
  }
}

}  // namespace

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  std::string message = status.error_message();
  google::rpc::Status details;
  if (details.ParseFromString(status.error_details())) {
    for (const auto& any : details.details()) {
      google::rpc::BadRequest bad_request;
      if (any.Is<google::rpc::BadRequest>() && any.UnpackTo(&bad_request)) AppendViolations(bad_request, &message);
    }
  }
  // gRPC and absl share google.rpc.Code's numbers.
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), message);
}

}  // namespace graft

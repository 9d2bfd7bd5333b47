#pragma once

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace graft {

// The one place where an absl::Status becomes an RPC's status: same code, same message. An InvalidArgument's lines
// "field: got X, want Y" are attached as google.rpc.BadRequest, one violation each. Internal and Unknown are our bugs:
// they are logged, and the caller reads "internal error" only.
grpc::Status ToGrpc(const absl::Status& status);

}  // namespace graft

#pragma once

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace graft {

// The one place where an RPC's status becomes an absl::Status: same code, the server's message, and each violation of
// attached google.rpc.BadRequest details as a line of its own unless the message already contains it.
absl::Status FromGrpc(const grpc::Status& status);

}  // namespace graft

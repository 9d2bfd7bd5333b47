#pragma once

#include <chrono>

#include <grpcpp/server_context.h>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace graft {

// When the caller stops waiting.
inline absl::Time Deadline(const grpc::ServerContextBase& context) {
  const auto deadline = context.deadline();
  if (deadline == std::chrono::system_clock::time_point::max()) return absl::InfiniteFuture();
  return absl::FromChrono(deadline);
}

// Why a call that nobody waits for any more ends: its deadline passed, or the caller went away.
inline absl::Status StopStatus(const grpc::ServerContextBase& context) {
  if (absl::Now() >= Deadline(context)) return absl::DeadlineExceededError("the call's deadline has passed");
  return absl::CancelledError("the caller gave up");
}

}  // namespace graft

#pragma once

#include <type_traits>
#include <utility>

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/rpc/call_context.h"
#include "server/rpc/executor.h"
#include "server/rpc/status.h"

namespace graft {

// A unary call: runs `work`, a function () -> absl::StatusOr<Response>, on the executor and answers with what it
// returns. A call that nobody waits for any more is answered, not run. `work` may point to the request: it lives until
// the answer.
//   RESOURCE_EXHAUSTED  the executor is full
template <typename Response, typename Work>
grpc::ServerUnaryReactor* RunUnary(grpc::CallbackServerContext* context, Executor* executor, Response* response,
                                   Work work) {
  static_assert(std::is_same_v<std::invoke_result_t<Work>, absl::StatusOr<Response>>);
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  const bool accepted = executor->TryRun([context, response, reactor, work = std::move(work)] {
    if (context->IsCancelled()) return reactor->Finish(ToGrpc(StopStatus(*context)));
    absl::StatusOr<Response> answer = work();
    if (answer.ok()) *response = *std::move(answer);
    reactor->Finish(ToGrpc(answer.status()));
  });
  if (!accepted) reactor->Finish(ToGrpc(absl::ResourceExhaustedError("the server is busy: retry later")));
  return reactor;
}

}  // namespace graft

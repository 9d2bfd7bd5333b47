#pragma once

#include <functional>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "graft/v1/inference.pb.h"
#include "server/rpc/executor.h"
#include "server/rpc/limits.h"
#include "worker/base/cancel_token.h"

namespace graft {

class Classifier;
class Metrics;

// What the unary and the streaming Classify share.
struct ClassifyContext {
  Classifier* classifier;
  Metrics* metrics;
  Executor* executor;
  Limits limits;
};

// Checks one request, classifies its pictures and counts the outcome. Call it on the executor: it may load a model.
// `done` runs exactly once, here or on a serving thread.
//   InvalidArgument  all violations of the limits
//   and everything Classifier::Classify says
void RunClassify(const ClassifyContext& classify, v1::ClassifyRequest request, absl::Time deadline, CancelToken cancel,
                 std::function<void(absl::StatusOr<v1::ClassifyResponse>)> done);

}  // namespace graft

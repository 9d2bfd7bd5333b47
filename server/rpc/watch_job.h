#pragma once

#include <functional>
#include <map>

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include "graft/v1/job.pb.h"
#include "server/jobs/event_hub.h"
#include "server/rpc/executor.h"
#include "worker/base/mutex.h"

namespace graft {

// The WatchJob calls that are open.
//
// Threads: safe.
class WatchSet {
 public:
  // Calls `end` at EndAll(), or at once when that was before; never after Remove(key) returned.
  void Add(const void* key, std::function<void()> end);
  void Remove(const void* key);
  void EndAll();

 private:
  Mutex mu_;
  std::map<const void*, std::function<void()>> ends_ ABSL_GUARDED_BY(mu_);
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
};

struct WatchContext {
  EventHub* events;
  Executor* executor;
  WatchSet* open;
};

// One WatchJob call: the hub's events, one write at a time. What `watch` points to outlives the call.
//   INVALID_ARGUMENT    from_seq < 0
//   NOT_FOUND           no such job
//   UNAVAILABLE         the server shuts down: watch again
grpc::ServerWriteReactor<v1::JobEvent>* NewWatchJob(const WatchContext& watch, grpc::CallbackServerContext* context,
                                                    const v1::WatchJobRequest& request);

}  // namespace graft

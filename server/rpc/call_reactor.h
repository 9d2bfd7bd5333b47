#pragma once

#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "server/rpc/executor.h"
#include "server/rpc/status.h"
#include "worker/base/mutex.h"

namespace graft {

// Base of the reactors that live longer than one reaction. `Reactor` is one of gRPC's.
//
// gRPC destroys nothing before Finish(), so whoever works for the call outside gRPC's reactions (an executor thread,
// the event hub, a write under way) holds it: Finish() is called when an end was named and the last hold is gone.
//
// Threads:  safe; no lock is held across a reaction.
// Lifetime: deletes itself in OnDone(), nowhere else.
template <typename Reactor>
class CallReactor : public Reactor {
 public:
  void OnDone() final { delete this; }

 protected:
  ~CallReactor() override = default;

  // False: the call is being finished; leave it alone.
  bool Hold() {
    MutexLock lock(&mu_);
    if (finished_) return false;
    ++holds_;
    return true;
  }
  // The last thing that its holder does with the call.
  void Release() { FinishIf(/*released=*/1, std::nullopt); }
  // Names how the call ends; the first one counts.
  void End(absl::Status status) { FinishIf(/*released=*/0, std::move(status)); }

  // Runs `work` on the executor and holds the call meanwhile; a full executor ends the call with ResourceExhausted.
  template <typename Work>
  void RunOn(Executor* executor, Work work) {
    if (!Hold()) return;
    const bool accepted = executor->TryRun([this, work = std::move(work)]() mutable {
      work();
      Release();
    });
    if (accepted) return;
    End(absl::ResourceExhaustedError("the server is busy: retry later"));
    Release();
  }

 private:
  void FinishIf(int released, std::optional<absl::Status> end) {
    absl::Status status;
    {
      MutexLock lock(&mu_);
      holds_ -= released;
      if (!end_.has_value()) end_ = std::move(end);
      if (finished_ || holds_ > 0 || !end_.has_value()) return;
      finished_ = true;
      status = *end_;
    }
    this->Finish(ToGrpc(status));
  }

  Mutex mu_;
  int holds_ ABSL_GUARDED_BY(mu_) = 0;
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mu_);
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace graft

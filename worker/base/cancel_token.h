#pragma once

#include <atomic>
#include <memory>

#include "absl/status/status.h"
#include "absl/time/time.h"

#include "worker/base/clock.h"

namespace graft {

// Why work should stop early.
enum class StopReason { kNone, kCancelled, kDrain, kLeaseLost };

// A one-way switch that long work polls between batches. Copies share the switch; the first reason given stays. A copy
// can have a deadline of its own.
//
// Threads: safe.
class CancelToken {
 public:
  void Stop(StopReason reason) {
    StopReason none = StopReason::kNone;
    reason_->compare_exchange_strong(none, reason);
  }
  StopReason reason() const { return reason_->load(); }
  bool stopped() const { return reason() != StopReason::kNone; }
  // OK while nobody asked to stop, Cancelled afterwards; DeadlineExceeded once an Until() of this copy is over.
  absl::Status status() const {
    if (stopped()) return absl::CancelledError("stopped");
    const bool is_over = clock_ != nullptr && clock_->Now() >= deadline_;
    return is_over ? absl::DeadlineExceededError("time is over") : absl::OkStatus();
  }
  // A copy that is also over at `deadline`, whatever deadline this one has. `clock` outlives it.
  CancelToken Until(const Clock* clock, absl::Time deadline) const {
    CancelToken copy = *this;
    copy.clock_ = clock;
    copy.deadline_ = deadline;
    return copy;
  }

 private:
  const Clock* clock_ = nullptr;  // null: no deadline
  absl::Time deadline_;
  std::shared_ptr<std::atomic<StopReason>> reason_ = std::make_shared<std::atomic<StopReason>>(StopReason::kNone);
};

}  // namespace graft

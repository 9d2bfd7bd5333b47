#pragma once

#include <atomic>
#include <memory>

#include "absl/status/status.h"

namespace graft {

// Why work should stop early.
enum class StopReason { kNone, kCancelled, kDrain, kLeaseLost };

// A one-way switch that long work polls between batches. Copies share the switch; the first reason given stays.
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
  // OK while nobody asked to stop, Cancelled afterwards.
  absl::Status status() const { return stopped() ? absl::CancelledError("stopped") : absl::OkStatus(); }

 private:
  std::shared_ptr<std::atomic<StopReason>> reason_ = std::make_shared<std::atomic<StopReason>>(StopReason::kNone);
};

}  // namespace graft

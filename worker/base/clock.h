#pragma once

#include <chrono>

#include "absl/time/clock.h"
#include "absl/time/time.h"

#include "worker/base/mutex.h"

namespace graft {

// The source of time, so that tests need not wait.
//
// Threads: safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual absl::Time Now() const = 0;
  // The system's wall clock; lives for ever.
  static Clock* Real();
  // Never steps; its zero is any time. Lives for ever.
  static Clock* Steady();
};

// A clock that moves only when told.
class FakeClock : public Clock {
 public:
  explicit FakeClock(absl::Time start = absl::UnixEpoch() + absl::Hours(24 * 365 * 50)) : now_(start) {}
  absl::Time Now() const override {
    MutexLock lock(&mu_);
    return now_;
  }
  void Advance(absl::Duration by) {
    MutexLock lock(&mu_);
    now_ += by;
  }

 private:
  mutable Mutex mu_;
  absl::Time now_ ABSL_GUARDED_BY(mu_);
};

inline Clock* Clock::Steady() {
  class SteadyClock : public Clock {
   public:
    absl::Time Now() const override {
      return absl::UnixEpoch() + absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
    }
  };
  static SteadyClock* const clock = new SteadyClock;
  return clock;
}

inline Clock* Clock::Real() {
  class RealClock : public Clock {
   public:
    absl::Time Now() const override { return absl::Now(); }
  };
  static RealClock* const clock = new RealClock;
  return clock;
}

}  // namespace graft

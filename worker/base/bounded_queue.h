#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <utility>

#include "absl/time/time.h"
#include "worker/base/mutex.h"

namespace graft {

// First in, first out, at most `capacity` elements.
//
// Threads: safe for any number of producers and consumers.
// Full:    TryPush() returns false at once, Push() waits.
// Closed:  pushes return false; pops hand out what is left, then nullopt.
template <typename T>
class BoundedQueue {
 public:
  explicit BoundedQueue(size_t capacity) : capacity_(capacity) {}

  bool TryPush(T value) {
    MutexLock lock(&mu_);
    if (closed_ || items_.size() >= capacity_) return false;
    items_.push_back(std::move(value));
    not_empty_.Signal();
    return true;
  }

  bool Push(T value) {
    MutexLock lock(&mu_);
    while (!closed_ && items_.size() >= capacity_) not_full_.Wait(&mu_);
    if (closed_) return false;
    items_.push_back(std::move(value));
    not_empty_.Signal();
    return true;
  }

  std::optional<T> Pop() {
    MutexLock lock(&mu_);
    while (!closed_ && items_.empty()) not_empty_.Wait(&mu_);
    return Take();
  }

  // Like Pop(), but gives up after `timeout`.
  std::optional<T> PopFor(absl::Duration timeout) {
    MutexLock lock(&mu_);
    if (!closed_ && items_.empty()) not_empty_.WaitFor(&mu_, timeout);
    return Take();
  }

  void Close() {
    MutexLock lock(&mu_);
    closed_ = true;
    not_empty_.SignalAll();
    not_full_.SignalAll();
  }

  size_t size() const {
    MutexLock lock(&mu_);
    return items_.size();
  }

 private:
  std::optional<T> Take() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (items_.empty()) return std::nullopt;
    std::optional<T> value(std::move(items_.front()));
    items_.pop_front();
    not_full_.Signal();
    return value;
  }

  const size_t capacity_;
  mutable Mutex mu_;
  CondVar not_empty_, not_full_;
  std::deque<T> items_ ABSL_GUARDED_BY(mu_);
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace graft

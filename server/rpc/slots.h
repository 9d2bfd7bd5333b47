#pragma once

#include <atomic>
#include <memory>

namespace graft {

// Bounds how many of something run at once.
//
// Threads:  safe.
// Lifetime: outlives what it gave.
class Slots {
 public:
  explicit Slots(int limit) : free_(limit) {}

  // A slot, given back when the pointer goes; nullptr when all are taken.
  std::shared_ptr<void> TryTake() {
    if (free_.fetch_sub(1) > 0) return std::shared_ptr<void>(this, [](Slots* slots) { ++slots->free_; });
    ++free_;
    return nullptr;
  }

 private:
  std::atomic<int> free_;
};

}  // namespace graft

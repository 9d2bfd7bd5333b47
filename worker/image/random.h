#pragma once

#include <cmath>
#include <cstdint>

#include "worker/base/random.h"

namespace graft {

// Random numbers from a seed and a counter. The standard library's distributions differ from one library to the next;
// these give the same numbers everywhere.
//
// Threads: one thread at a time.
class Random {
 public:
  // Different streams of one seed are independent of each other.
  explicit Random(uint64_t seed, uint64_t stream = 0) : state_(SplitMix64(seed ^ SplitMix64(stream))) {}

  uint64_t Next() {
    const uint64_t bits = SplitMix64(state_);
    state_ += kSplitMix64Step;
    return bits;
  }

  // In [0, 1), with 53 bits.
  double Uniform() { return static_cast<double>(Next() >> 11) * 0x1p-53; }
  double Uniform(double low, double high) { return low + (high - low) * Uniform(); }
  double LogUniform(double low, double high) { return std::exp(Uniform(std::log(low), std::log(high))); }

  // In [0, count); count > 0. The remainder favours small numbers by less than count / 2^64.
  int Below(int count) { return static_cast<int>(Next() % static_cast<uint64_t>(count)); }

  bool Chance(double probability) { return Uniform() < probability; }

 private:
  uint64_t state_;
};

}  // namespace graft

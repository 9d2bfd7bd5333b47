#pragma once

#include <cstdint>
#include <initializer_list>

namespace graft {

// One step of SplitMix64: a bijection of 64 bits that mixes each of them into all.
// Source: Steele, Lea and Flood 2014 (doi:10.1145/2660193.2660195); its constants.
constexpr uint64_t kSplitMix64Step = 0x9e3779b97f4a7c15;
inline uint64_t SplitMix64(uint64_t x) {
  x += kSplitMix64Step;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

// A stream of numbers that depends on its key alone: the i-th is a hash of the key and i, the same on every platform,
// so that nothing of it has to be stored to resume. A key begins with a number that tells its user from other users.
//
// Threads: one at a time.
// Source:  SplitMix64.
class CounterRandom {
 public:
  CounterRandom(std::initializer_list<uint64_t> key) {
    for (const uint64_t part : key) state_ = SplitMix64(state_ + part);
  }

  uint64_t Next() {
    const uint64_t bits = SplitMix64(state_);
    state_ += kSplitMix64Step;
    return bits;
  }

  // In [0, 1), a multiple of 2^-53.
  double Uniform() { return static_cast<double>(Next() >> 11) * 0x1p-53; }

  // In [0, count), count > 0. The modulo's bias is below count * 2^-64.
  uint64_t Below(uint64_t count) { return Next() % count; }

 private:
  uint64_t state_ = 0;
};

}  // namespace graft

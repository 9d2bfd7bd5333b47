#pragma once

#include <cstdint>
#include <initializer_list>

namespace graft {

// A stream of numbers that depends on its key alone: the i-th is a hash of the key and i, the same on every platform,
// so that nothing of it has to be stored to resume. A key begins with a number that tells its user from other users.
//
// Threads: one at a time.
// Source:  SplitMix64, Steele, Lea and Flood 2014 (doi:10.1145/2660193.2660195); its constants.
class CounterRandom {
 public:
  CounterRandom(std::initializer_list<uint64_t> key) {
    for (const uint64_t part : key) state_ = Scramble(state_ + part + kStep);
  }

  uint64_t Next() { return Scramble(state_ += kStep); }

  // In [0, 1), a multiple of 2^-53.
  double Uniform() { return static_cast<double>(Next() >> 11) * 0x1p-53; }

  // In [0, count), count > 0. The modulo's bias is below count * 2^-64.
  uint64_t Below(uint64_t count) { return Next() % count; }

 private:
  static constexpr uint64_t kStep = 0x9e3779b97f4a7c15;

  static uint64_t Scramble(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
  }

  uint64_t state_ = 0;
};

}  // namespace graft

#pragma once

#include <cstdint>
#include <vector>

#include "worker/image/resize.h"

namespace graft {

constexpr int kResampleBits = 32 - 8 - 2;  // Pillow's PRECISION_BITS: pixel and 2 bits of headroom stay in an int32

// How one axis of a picture is resampled, for the outputs that a window shows. Output i is the sum of inputs
// first[i] ... first[i] + count[i] - 1, each times its weight, which has kResampleBits bits after the point.
struct ResampleAxis {
  int begin = 0;           // in the window, of the first output shown
  int size = 0;            // outputs shown
  int resized_begin = 0;   // the first output shown, in the resized picture
  bool resampled = false;  // false: output resized_begin + i is that input, and the rest is empty
  int max_count = 1;
  std::vector<int> first;
  std::vector<int> count;

  // A weight is high * 256 + low, low from 0 to 255, so that 16-bit multiply-adds give the exact 32-bit sum. For each
  // pair of taps (the last one filled up with zero) 16 values: (high, high of the next tap) four times, then the low
  // parts likewise.
  std::vector<int16_t> packed;
  int pairs = 0;  // of each output; so output i's weights start at packed[i * pairs * 16]

  const int16_t* PackedAt(int output) const { return packed.data() + int64_t{output} * pairs * 16; }
};

// One weight of an output's PackedAt().
inline int32_t WeightOf(const int16_t* packed, int tap) {
  const int16_t* pair = packed + tap / 2 * 16;
  return pair[tap % 2] * 256 + pair[8 + tap % 2];
}

// The axis that takes `in_size` inputs to `resized`, seen through [window_begin, window_begin + window_size).
ResampleAxis MakeResampleAxis(int in_size, int resized, int window_begin, int window_size,
                              Interpolation interpolation = Interpolation::kBilinear);

}  // namespace graft

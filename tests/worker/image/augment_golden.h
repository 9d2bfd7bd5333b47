#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "gtest/gtest.h"
#include "worker/image/image.h"

namespace graft {

// Noise, by two multiplicative hashes (Knuth's constant, then xxHash's second). In numpy:
//   i = arange(3 * w * h, dtype=uint64) * 2654435761 % 2**32
//   i = (i ^ (i >> 15)) * 2246822519 % 2**32
//   (i >> 24).astype(uint8).reshape(h, w, 3)
inline Image Noise(int width_px, int height_px) {
  Image image;
  image.width_px = width_px;
  image.height_px = height_px;
  const uint32_t size = 3 * static_cast<uint32_t>(width_px) * static_cast<uint32_t>(height_px);
  for (uint32_t i = 0; i < size; ++i) {
    const uint32_t hash = i * 2654435761u;
    image.rgb.push_back(static_cast<uint8_t>((hash ^ (hash >> 15)) * 2246822519u >> 24));
  }
  return image;
}

// Compares every `step`-th pixel of `got` with `want`, their bytes in hexadecimal.
inline void ExpectPixels(const Image& got, size_t step, const std::string& want, int tolerance) {
  size_t at = 0;
  for (size_t pixel = 0; pixel < got.rgb.size() / 3; pixel += step) {
    for (size_t c = 0; c < 3; ++c, at += 2) {
      ASSERT_LE(at + 2, want.size());
      const int expected = std::stoi(want.substr(at, 2), nullptr, 16);
      EXPECT_LE(std::abs(got.rgb[3 * pixel + c] - expected), tolerance)
          << "pixel " << pixel << " channel " << c << ": got " << int{got.rgb[3 * pixel + c]} << ", want " << expected;
    }
  }
  EXPECT_EQ(at, want.size());
}

}  // namespace graft

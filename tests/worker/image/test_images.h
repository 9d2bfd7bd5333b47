#pragma once

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>

#include "gtest/gtest.h"
#include "worker/image/image.h"

namespace graft {

// A file of tests/golden/image, made by make.py there.
inline std::string ReadGolden(const std::string& name) {
  std::ifstream file(std::string(GRAFT_GOLDEN_DIR) + "/image/" + name, std::ios::binary);
  EXPECT_TRUE(file.is_open()) << name;
  return std::string(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
}

// A binary PPM as Pillow writes it: "P6\n<width> <height>\n255\n" and the pixels.
inline Image ReadGoldenPpm(const std::string& name) {
  std::istringstream file(ReadGolden(name));
  std::string magic;
  int max_value = 0;
  Image image;
  file >> magic >> image.width_px >> image.height_px >> max_value;
  file.get();
  image.rgb.assign(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  return image;
}

// The same formula as pattern() in tests/golden/image/make.py.
inline Image Pattern(int width_px, int height_px) {
  Image image;
  image.width_px = width_px;
  image.height_px = height_px;
  for (int64_t y = 0; y < height_px; ++y) {
    for (int64_t x = 0; x < width_px; ++x) {
      for (int64_t c = 0; c < 3; ++c) {
        image.rgb.push_back(static_cast<uint8_t>((3 * x * x + 5 * y * y + (c + 1) * x * y) / 64 + 40 * c));
      }
    }
  }
  return image;
}

}  // namespace graft

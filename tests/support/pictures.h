#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "worker/data/dataset.h"

namespace graft {

// A square BMP file of one colour (R, G, B); `noise` is the largest difference from it, drawn from `seed`.
inline std::string ColourBmp(const std::array<int, 3>& colour, int side_px, int noise, uint32_t seed) {
  const uint32_t row_bytes = (static_cast<uint32_t>(side_px) * 3 + 3) / 4 * 4;
  const uint32_t pixel_bytes = row_bytes * static_cast<uint32_t>(side_px);
  std::string file = "BM";
  const auto put = [&file](uint32_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) file.push_back(static_cast<char>(value >> (8 * i)));
  };
  put(54 + pixel_bytes, 4);
  put(0, 4);
  put(54, 4);  // where the pixels begin
  put(40, 4);  // BITMAPINFOHEADER
  put(static_cast<uint32_t>(side_px), 4);
  put(static_cast<uint32_t>(side_px), 4);
  put(1, 2);
  put(24, 2);  // bits of a pixel
  put(0, 4);
  put(pixel_bytes, 4);
  for (int i = 0; i < 4; ++i) put(0, 4);
  std::mt19937 random(seed);
  for (int y = 0; y < side_px; ++y) {
    for (int x = 0; x < side_px; ++x) {
      for (int channel = 2; channel >= 0; --channel) {  // B, G, R
        const int offset = noise == 0 ? 0 : static_cast<int>(random() % (2 * noise + 1)) - noise;
        put(static_cast<uint32_t>(std::clamp(colour[channel] + offset, 0, 255)), 1);
      }
    }
    for (uint32_t x = static_cast<uint32_t>(side_px) * 3; x < row_bytes; ++x) put(0, 1);
  }
  return file;
}

// Reddish, greenish and bluish: classes that any network tells apart.
inline std::array<int, 3> ClassColour(int label) {
  std::array<int, 3> colour{60, 60, 60};
  colour[label % 3] = 200;
  return colour;
}

using PictureFiles = std::map<std::string, std::string>;  // by their ids

inline ImageReader ReaderOf(std::shared_ptr<const PictureFiles> files) {
  return [files](const std::string& id) -> absl::StatusOr<std::string> {
    const auto it = files->find(id);
    if (it == files->end()) return absl::NotFoundError("no such file");
    return it->second;
  };
}

struct SplitSizes {
  int train = 0, validation = 0, test = 0;
};

// Fills the splits of `data` by add(split, its size, &examples).
template <typename Add>
void AddSplits(const SplitSizes& sizes, const Add& add, Dataset* data) {
  add("train", sizes.train, &data->train);
  add("validation", sizes.validation, &data->validation);
  add("test", sizes.test, &data->test);
}

// Noisy 8x8 pictures of `classes` (2 or 3) colours, so many for each class in each split, all different.
inline Dataset ColourDataset(int classes, int train, int validation, int test = 0) {
  Dataset data;
  auto files = std::make_shared<PictureFiles>();
  uint32_t seed = 1;
  const auto add = [&](const std::string& split, int count, std::vector<Example>* examples) {
    for (int i = 0; i < count; ++i) {
      for (int label = 0; label < classes; ++label) {
        const std::string id = absl::StrCat(split, "-", label, "-", i);
        (*files)[id] = ColourBmp(ClassColour(label), 8, 50, seed++);
        examples->push_back({id, label, id, {}});
      }
    }
  };
  for (int label = 0; label < classes; ++label) data.class_names.push_back(std::array{"red", "green", "blue"}[label]);
  AddSplits({train, validation, test}, add, &data);
  data.read = ReaderOf(files);
  return data;
}

// Noisy 8x8 pictures of a multi-label dataset: each of the eight sets of red, green and blue light up so many pictures
// of each split; none of them is a dark picture.
inline Dataset LightsDataset(int train, int validation, int test = 0) {
  Dataset data = ColourDataset(3, 0, 0);
  data.multi_label = true;
  auto files = std::make_shared<PictureFiles>();
  uint32_t seed = 1;
  const auto add = [&](const std::string& split, int count, std::vector<Example>* examples) {
    for (int i = 0; i < 8 * count; ++i) {
      Example example;
      example.id = example.name = absl::StrCat(split, "-", i);
      example.label = -1;
      std::array<int, 3> colour{60, 60, 60};
      for (int c = 0; c < 3; ++c) {
        if ((i >> c) % 2 == 0) continue;
        example.labels.push_back(c);
        colour[c] = 200;
      }
      (*files)[example.id] = ColourBmp(colour, 8, 20, seed++);
      examples->push_back(example);
    }
  };
  AddSplits({train, validation, test}, add, &data);
  data.read = ReaderOf(files);
  return data;
}

}  // namespace graft

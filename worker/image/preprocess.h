#pragma once

#include <array>
#include <string>

#include "absl/status/status.h"
#include "worker/image/image.h"
#include "worker/image/resize.h"

namespace graft {

constexpr int kMaxSidePx = 4096;

// How a checkpoint wants its pictures. The defaults are what torchvision's ImageNet weights were evaluated with.
// Source: torchvision references/classification/presets.py (ClassificationPresetEval).
struct PreprocessSpec {
  int resize_px = 256;  // of the shorter side; 1 to 4096
  int crop_px = 224;    // of both sides; 1 to 4096
  std::array<float, 3> mean{0.485f, 0.456f, 0.406f};  // R, G, B, of values in [0, 1]
  std::array<float, 3> std{0.229f, 0.224f, 0.225f};   // > 0
  Interpolation interpolation = Interpolation::kBilinear;

  //   InvalidArgument  a field out of its range
  absl::Status Validate() const;

  bool operator==(const PreprocessSpec& other) const;
  bool operator!=(const PreprocessSpec& other) const { return !(*this == other); }
};

// Equal for equal specifications and only for them; not for people.
std::string KeyOf(const PreprocessSpec& spec);

// The window that torchvision's Resize(resize_px) and CenterCrop(crop_px) cut from a picture of these sides.
ResizeWindow EvalWindow(int width_px, int height_px, const PreprocessSpec& spec);

// Writes (pixel / 255 - mean) / std to `out`: float32 [crop_px, crop_px, 3], which is one row of a channels-last
// [n, 3, h, w] tensor. `image` is not empty; `spec` is valid. A picture smaller than the crop is padded with black.
// Equals torchvision's Resize, CenterCrop, ToTensor, Normalize on PIL images.
// Source: torchvision 0.14, transforms/functional.py.
void Preprocess(const Image& image, const PreprocessSpec& spec, float* out);

}  // namespace graft

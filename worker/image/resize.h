#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/image/image.h"

namespace graft {

enum class Interpolation { kBilinear, kBicubic };

// "bilinear" or "bicubic".
absl::string_view InterpolationName(Interpolation interpolation);
//   InvalidArgument  neither of these names
absl::StatusOr<Interpolation> ParseInterpolation(absl::string_view name);

// Which pixels to compute: the picture is thought of as resized to resized_width_px x resized_height_px, and the window
// width_px x height_px at (left_px, top_px) of that is wanted. The window may reach beyond the resized picture.
struct ResizeWindow {
  int resized_width_px = 0;
  int resized_height_px = 0;
  int left_px = 0;
  int top_px = 0;
  int width_px = 0;
  int height_px = 0;
};

// Returns the window of the resized picture; zeros where it reaches beyond. Every byte equals that of
// PIL.Image.resize(BILINEAR or BICUBIC).crop(): a triangle or a cubic filter as wide as the reduction (so it
// antialiases), in fixed point, horizontally first, 8 bits after each direction. Only pixels that the window needs are
// computed, so cost and memory follow source and window, never the resized size. All sides are at least 1.
// Source: Pillow 9.4, src/libImaging/Resample.c (8 bits per channel).
Image ResizeAndCrop(const Image& image, const ResizeWindow& window,
                    Interpolation interpolation = Interpolation::kBilinear);

}  // namespace graft

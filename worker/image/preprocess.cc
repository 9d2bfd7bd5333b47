#include "worker/image/preprocess.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "worker/base/status.h"

namespace graft {
namespace {

absl::Status CheckSide(absl::string_view field, int got) {
  if (got >= 1 && got <= kMaxSidePx) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(field, ": got ", got, ", want 1 to ", kMaxSidePx));
}

// CenterCrop along one axis: where the crop begins; negative where it pads.
int CropBegin(int side, int crop) {
  if (side < crop) return -((crop - side) / 2);
  const int twice = side - crop;  // Python's round(twice / 2.0): halves go to the even neighbour
  return twice % 4 == 3 ? twice / 2 + 1 : twice / 2;
}

}  // namespace

absl::Status PreprocessSpec::Validate() const {
  RETURN_IF_ERROR(CheckSide("resize_px", resize_px));
  RETURN_IF_ERROR(CheckSide("crop_px", crop_px));
  for (size_t c = 0; c < 3; ++c) {
    if (!std::isfinite(mean[c])) {
      return absl::InvalidArgumentError(absl::StrCat("mean[", c, "]: got ", mean[c], ", want a finite number"));
    }
    if (!std::isfinite(std[c]) || !(std[c] > 0)) {
      return absl::InvalidArgumentError(absl::StrCat("std[", c, "]: got ", std[c], ", want > 0 and finite"));
    }
  }
  return absl::OkStatus();
}

bool PreprocessSpec::operator==(const PreprocessSpec& other) const {
  return resize_px == other.resize_px && crop_px == other.crop_px && mean == other.mean && std == other.std &&
         interpolation == other.interpolation;
}

std::string KeyOf(const PreprocessSpec& spec) {
  std::string key = absl::StrCat(spec.resize_px, " ", spec.crop_px, " ", static_cast<int>(spec.interpolation));
  for (const float value : spec.mean) absl::StrAppendFormat(&key, " %.9g", value);
  for (const float value : spec.std) absl::StrAppendFormat(&key, " %.9g", value);
  return key;
}

ResizeWindow EvalWindow(int width_px, int height_px, const PreprocessSpec& spec) {
  const int64_t shorter = std::min(width_px, height_px);
  const int64_t longer = std::max(width_px, height_px);
  const int64_t resized = spec.resize_px * longer / shorter;
  GRAFT_CHECK(resized <= INT32_MAX);  // 4096 * 65535 for the thinnest picture that ImageLimits can allow
  const int resized_longer = static_cast<int>(resized);

  ResizeWindow window;
  window.resized_width_px = width_px <= height_px ? spec.resize_px : resized_longer;
  window.resized_height_px = width_px <= height_px ? resized_longer : spec.resize_px;
  window.left_px = CropBegin(window.resized_width_px, spec.crop_px);
  window.top_px = CropBegin(window.resized_height_px, spec.crop_px);
  window.width_px = spec.crop_px;
  window.height_px = spec.crop_px;
  return window;
}

void Preprocess(const Image& image, const PreprocessSpec& spec, float* out) {
  const ResizeWindow window = EvalWindow(image.width_px, image.height_px, spec);
  const Image cropped = ResizeAndCrop(image, window, spec.interpolation);

  // The same operations in the same order as torchvision, once per byte value, so that the results are bit-equal.
  float table[3][256];
  for (size_t c = 0; c < 3; ++c) {
    for (int v = 0; v < 256; ++v) table[c][v] = (static_cast<float>(v) / 255.0f - spec.mean[c]) / spec.std[c];
  }
  const uint8_t* from = cropped.rgb.data();
  const uint8_t* end = from + cropped.rgb.size();
  for (; from != end; from += 3, out += 3) {
    out[0] = table[0][from[0]];
    out[1] = table[1][from[1]];
    out[2] = table[2][from[2]];
  }
}

}  // namespace graft

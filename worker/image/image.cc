#include "worker/image/image.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include "worker/base/status.h"

namespace graft {
namespace {

constexpr int64_t kOpenCvMaxPixels = int64_t{1} << 30;  // OPENCV_IO_MAX_IMAGE_PIXELS
constexpr int64_t kMaxSide = 65'535;  // of a JPEG; OpenCV stops at 2^20

absl::Status CheckLimit(absl::string_view field, int64_t got, int64_t most) {
  if (got > 0 && got <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(field, ": got ", got, ", want 1 to ", most));
}

}  // namespace

absl::string_view ImageFormatName(ImageFormat format) {
  switch (format) {
    case ImageFormat::kJpeg: return "JPEG";
    case ImageFormat::kPng: return "PNG";
    case ImageFormat::kWebp: return "WebP";
    case ImageFormat::kBmp: return "BMP";
  }
  return "image";
}

absl::Status ImageLimits::Validate() const {
  RETURN_IF_ERROR(CheckLimit("max_bytes", max_bytes, std::numeric_limits<int>::max()));
  RETURN_IF_ERROR(CheckLimit("max_pixels", max_pixels, kOpenCvMaxPixels));
  return CheckLimit("max_side_px", max_side_px, kMaxSide);
}

}  // namespace graft

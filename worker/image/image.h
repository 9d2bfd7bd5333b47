#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace graft {

// A picture in memory: `rgb` holds height_px * width_px * 3 bytes, rows from the top, R, G, B of each pixel together.
struct Image {
  int width_px = 0;
  int height_px = 0;
  std::vector<uint8_t> rgb;
};

enum class ImageFormat { kJpeg, kPng, kWebp, kBmp };

// "JPEG", "PNG", "WebP" or "BMP".
absl::string_view ImageFormatName(ImageFormat format);

// What a file's header says, before anything is decoded. The sides are those stored, before EXIF orientation.
struct ImageInfo {
  ImageFormat format = ImageFormat::kJpeg;
  int width_px = 0;
  int height_px = 0;
};

// What a file may ask of us. Decoding takes up to 11 bytes a pixel for a moment (16-bit RGBA and the result).
struct ImageLimits {
  int64_t max_bytes = 32 << 20;      // of the file
  int64_t max_pixels = 89'478'485;   // Pillow's Image.MAX_IMAGE_PIXELS: 256 MiB of RGB
  int max_side_px = 32'768;

  //   InvalidArgument  a limit that is not positive, or above what OpenCV decodes
  absl::Status Validate() const;
};

}  // namespace graft

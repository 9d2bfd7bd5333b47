#include "worker/image/exif.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "worker/image/container.h"

namespace graft {
namespace {

constexpr absl::string_view kExifPrefix("Exif\0\0", 6);  // required in JPEG, written by some programs elsewhere

// The first part of a file that `is_exif` accepts; empty when there is none.
template <typename Chunks, typename IsExif>
absl::string_view FindPayload(Chunks chunks, IsExif is_exif) {
  Chunk chunk;
  while (chunks.Next(&chunk) == Step::kChunk) {
    if (is_exif(chunk)) return chunk.payload;
  }
  return {};
}

absl::string_view FindExif(absl::string_view bytes, ImageFormat format) {
  switch (format) {
    case ImageFormat::kJpeg:
      return FindPayload(JpegSegments(bytes), [](const Chunk& chunk) {
        return chunk.tag == 0xe1 && absl::StartsWith(chunk.payload, kExifPrefix);
      });
    case ImageFormat::kPng:
      return FindPayload(PngChunks(bytes), [](const Chunk& chunk) { return chunk.tag == FourCc("eXIf"); });
    case ImageFormat::kWebp:
      return FindPayload(WebpChunks(bytes), [](const Chunk& chunk) { return chunk.tag == FourCc("EXIF"); });
    case ImageFormat::kBmp: break;
  }
  return {};
}

// The orientation in the first directory of a TIFF structure, or 1.
int OrientationOfTiff(absl::string_view tiff) {
  constexpr uint32_t kOrientation = 0x0112, kShort = 3;
  if (!absl::StartsWith(tiff, "II") && !absl::StartsWith(tiff, "MM")) return 1;
  const Endian endian = tiff[0] == 'I' ? Endian::kLittle : Endian::kBig;
  uint32_t directory = 0, entries = 0;
  if (!ReadUint(tiff, 4, 4, endian, &directory) || !ReadUint(tiff, directory, 2, endian, &entries)) return 1;
  for (uint32_t i = 0; i < entries; ++i) {
    const size_t entry = size_t{directory} + 2 + size_t{i} * 12;
    uint32_t tag = 0, type = 0, value = 0;
    if (!ReadUint(tiff, entry, 2, endian, &tag) || !ReadUint(tiff, entry + 2, 2, endian, &type) ||
        !ReadUint(tiff, entry + 8, 2, endian, &value)) {
      return 1;
    }
    if (tag == kOrientation) return type == kShort && value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

// Fills `out` from `corner` on, by steps in bytes. In tiles, as a turned picture is read column by column.
void CopySteps(const uint8_t* corner, ptrdiff_t across, ptrdiff_t down, Image* out) {
  constexpr int kTile = 32;
  const auto copy_tile = [&](int left, int top) {
    const int right = std::min(left + kTile, out->width_px), bottom = std::min(top + kTile, out->height_px);
    for (int y = top; y < bottom; ++y) {
      uint8_t* to = out->rgb.data() + (ptrdiff_t{y} * out->width_px + left) * 3;
      for (int x = left; x < right; ++x, to += 3) {
        const uint8_t* from = corner + y * down + x * across;
        to[0] = from[0];
        to[1] = from[1];
        to[2] = from[2];
      }
    }
  };
  for (int top = 0; top < out->height_px; top += kTile) {
    for (int left = 0; left < out->width_px; left += kTile) copy_tile(left, top);
  }
}

}  // namespace

int ReadExifOrientation(absl::string_view bytes, ImageFormat format) {
  return OrientationOfTiff(absl::StripPrefix(FindExif(bytes, format), kExifPrefix));
}

Image ApplyExifOrientation(Image image, int orientation) {
  if (orientation <= 1 || orientation > 8) return image;
  const bool transposed = orientation >= 5;
  const bool from_right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool from_bottom = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;

  Image out;
  out.width_px = transposed ? image.height_px : image.width_px;
  out.height_px = transposed ? image.width_px : image.height_px;
  out.rgb.resize(image.rgb.size());

  // A step along the source's x or y axis, in bytes, and the source pixel that becomes the top left corner.
  const ptrdiff_t row = ptrdiff_t{3} * image.width_px;
  const ptrdiff_t x_step = from_right ? -3 : 3;
  const ptrdiff_t y_step = from_bottom ? -row : row;
  const ptrdiff_t corner = (from_right ? row - 3 : 0) + (from_bottom ? row * (image.height_px - 1) : 0);
  CopySteps(image.rgb.data() + corner, transposed ? y_step : x_step, transposed ? x_step : y_step, &out);
  return out;
}

}  // namespace graft

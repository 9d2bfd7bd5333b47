#include "worker/image/header.h"

#include <cstdint>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "worker/base/status.h"
#include "worker/image/container.h"

namespace graft {
namespace {

constexpr int kMaxScans = 100;  // real progressive JPEGs have about 10; libjpeg-turbo's own fuzzers stop at 500
constexpr uint32_t kSos = 0xda;

absl::Status Truncated(ImageFormat format) {
  return absl::InvalidArgumentError(
      absl::StrCat("image: got a truncated ", ImageFormatName(format), ", want the complete file"));
}

absl::Status Malformed(ImageFormat format) {
  return absl::InvalidArgumentError(
      absl::StrCat("image: got a malformed ", ImageFormatName(format), ", want a valid file"));
}

absl::StatusOr<ImageInfo> MakeInfo(ImageFormat format, uint32_t width, uint32_t height) {
  constexpr uint32_t kMaxSide = 0x7fffffff;
  if (width == 0 || height == 0 || width > kMaxSide || height > kMaxSide) return Malformed(format);
  return ImageInfo{format, static_cast<int>(width), static_cast<int>(height)};
}

// ---- JPEG ----

bool IsStartOfFrame(uint32_t marker) {
  constexpr uint32_t kDht = 0xc4, kJpg = 0xc8, kDac = 0xcc;
  return marker >= 0xc0 && marker <= 0xcf && marker != kDht && marker != kJpg && marker != kDac;
}

absl::StatusOr<ImageInfo> ReadJpegHeader(absl::string_view bytes) {
  JpegSegments segments(bytes);
  Chunk chunk;
  Step step = segments.Next(&chunk);
  while (step == Step::kChunk && !IsStartOfFrame(chunk.tag) && chunk.tag != kSos) step = segments.Next(&chunk);
  if (step == Step::kTruncated) return Truncated(ImageFormat::kJpeg);
  uint32_t width = 0, height = 0;
  if (step != Step::kChunk || chunk.tag == kSos || !ReadUint(chunk.payload, 1, 2, Endian::kBig, &height) ||
      !ReadUint(chunk.payload, 3, 2, Endian::kBig, &width)) {
    return Malformed(ImageFormat::kJpeg);
  }
  return MakeInfo(ImageFormat::kJpeg, width, height);
}

absl::Status CheckCompleteJpeg(absl::string_view bytes) {
  JpegSegments segments(bytes);
  Chunk chunk;
  int scans = 0;
  Step step = segments.Next(&chunk);
  for (; step == Step::kChunk; step = segments.Next(&chunk)) {
    if (chunk.tag == kSos && ++scans > kMaxScans) {
      return absl::InvalidArgumentError(
          absl::StrCat("image: got a JPEG of more than ", kMaxScans, " scans, want at most ", kMaxScans));
    }
  }
  if (step == Step::kTruncated) return Truncated(ImageFormat::kJpeg);
  if (step == Step::kMalformed || scans == 0) return Malformed(ImageFormat::kJpeg);
  return absl::OkStatus();
}

// ---- PNG ----

absl::StatusOr<ImageInfo> ReadPngHeader(absl::string_view bytes) {
  PngChunks chunks(bytes);
  Chunk chunk;
  const Step step = chunks.Next(&chunk);
  if (step == Step::kTruncated) return Truncated(ImageFormat::kPng);
  uint32_t width = 0, height = 0;
  if (step != Step::kChunk || chunk.tag != FourCc("IHDR") || chunk.payload.size() != 13 ||
      !ReadUint(chunk.payload, 0, 4, Endian::kBig, &width) || !ReadUint(chunk.payload, 4, 4, Endian::kBig, &height)) {
    return Malformed(ImageFormat::kPng);
  }
  return MakeInfo(ImageFormat::kPng, width, height);
}

absl::Status CheckCompletePng(absl::string_view bytes) {
  PngChunks chunks(bytes);
  Chunk chunk;
  Step step = chunks.Next(&chunk);
  while (step == Step::kChunk) step = chunks.Next(&chunk);
  if (step == Step::kTruncated) return Truncated(ImageFormat::kPng);
  if (step == Step::kMalformed) return Malformed(ImageFormat::kPng);
  return absl::OkStatus();
}

// ---- WebP ----

// The first chunk's payload starts at 20; a whole file has at least these 30 bytes (VP8L: 25).
absl::StatusOr<ImageInfo> ReadWebpHeader(absl::string_view bytes) {
  constexpr ImageFormat kFormat = ImageFormat::kWebp;
  uint32_t tag = 0, a = 0, b = 0;
  if (!ReadUint(bytes, 12, 4, Endian::kBig, &tag)) return Truncated(kFormat);
  if (tag == FourCc("VP8X")) {  // flags, 3 reserved bytes, width - 1, height - 1
    constexpr uint32_t kAnimated = 0x02;
    uint32_t flags = 0;
    if (!ReadUint(bytes, 20, 1, Endian::kLittle, &flags) || !ReadUint(bytes, 24, 3, Endian::kLittle, &a) ||
        !ReadUint(bytes, 27, 3, Endian::kLittle, &b)) {
      return Truncated(kFormat);
    }
    if (flags & kAnimated) return absl::InvalidArgumentError("image: got an animated WebP, want a still picture");
    return MakeInfo(kFormat, a + 1, b + 1);
  }
  if (tag == FourCc("VP8L")) {  // signature, then 14 bits of width - 1 and 14 bits of height - 1
    if (!ReadUint(bytes, 20, 1, Endian::kLittle, &a) || !ReadUint(bytes, 21, 4, Endian::kLittle, &b)) {
      return Truncated(kFormat);
    }
    if (a != 0x2f) return Malformed(kFormat);
    return MakeInfo(kFormat, (b & 0x3fff) + 1, ((b >> 14) & 0x3fff) + 1);
  }
  if (tag != FourCc("VP8 ")) return Malformed(kFormat);
  uint32_t start_code = 0;  // RFC 6386, 9.1: after the 3 bytes of the frame tag
  if (!ReadUint(bytes, 23, 3, Endian::kBig, &start_code) || !ReadUint(bytes, 26, 2, Endian::kLittle, &a) ||
      !ReadUint(bytes, 28, 2, Endian::kLittle, &b)) {
    return Truncated(kFormat);
  }
  if (start_code != 0x9d012a) return Malformed(kFormat);
  return MakeInfo(kFormat, a & 0x3fff, b & 0x3fff);
}

absl::Status CheckCompleteWebp(absl::string_view bytes) {
  WebpChunks chunks(bytes);
  Chunk chunk;
  Step step = chunks.Next(&chunk);
  while (step == Step::kChunk) step = chunks.Next(&chunk);
  if (step == Step::kTruncated) return Truncated(ImageFormat::kWebp);
  if (step == Step::kMalformed) return Malformed(ImageFormat::kWebp);
  return absl::OkStatus();
}

// ---- BMP ----

struct BmpHeader {
  uint32_t data_offset = 0;
  uint32_t width = 0;
  uint32_t height = 0;
  uint32_t bits_per_pixel = 0;
  uint32_t compression = 0;
  uint32_t data_size = 0;  // of compressed data
};

absl::StatusOr<BmpHeader> ReadBmp(absl::string_view bytes) {
  constexpr Endian kLe = Endian::kLittle;
  BmpHeader h;
  uint32_t header_size = 0;
  if (!ReadUint(bytes, 10, 4, kLe, &h.data_offset) || !ReadUint(bytes, 14, 4, kLe, &header_size)) {
    return Truncated(ImageFormat::kBmp);
  }
  if (header_size == 12) {  // BITMAPCOREHEADER
    if (!ReadUint(bytes, 18, 2, kLe, &h.width) || !ReadUint(bytes, 20, 2, kLe, &h.height) ||
        !ReadUint(bytes, 24, 2, kLe, &h.bits_per_pixel)) {
      return Truncated(ImageFormat::kBmp);
    }
    return h;
  }
  if (header_size < 36) return Malformed(ImageFormat::kBmp);  // OpenCV reads BITMAPINFOHEADER from 36 bytes on
  if (!ReadUint(bytes, 18, 4, kLe, &h.width) || !ReadUint(bytes, 22, 4, kLe, &h.height) ||
      !ReadUint(bytes, 28, 2, kLe, &h.bits_per_pixel) || !ReadUint(bytes, 30, 4, kLe, &h.compression) ||
      !ReadUint(bytes, 34, 4, kLe, &h.data_size)) {
    return Truncated(ImageFormat::kBmp);
  }
  if (h.height > 0x80000000u) h.height = 0u - h.height;  // negative: rows run from the top
  return h;
}

absl::StatusOr<ImageInfo> ReadBmpHeader(absl::string_view bytes) {
  ASSIGN_OR_RETURN(const BmpHeader h, ReadBmp(bytes));
  return MakeInfo(ImageFormat::kBmp, h.width, h.height);
}

absl::Status CheckCompleteBmp(absl::string_view bytes) {
  constexpr uint32_t kRle8 = 1, kRle4 = 2;
  ASSIGN_OR_RETURN(const BmpHeader h, ReadBmp(bytes));
  ASSIGN_OR_RETURN(const ImageInfo info, ReadBmpHeader(bytes));
  if (h.bits_per_pixel == 0 || h.bits_per_pixel > 32) return Malformed(ImageFormat::kBmp);
  uint64_t data_size = h.data_size;
  if (h.compression != kRle8 && h.compression != kRle4) {
    const uint64_t row_bits = static_cast<uint64_t>(info.width_px) * h.bits_per_pixel;
    data_size = (row_bits + 31) / 32 * 4 * static_cast<uint64_t>(info.height_px);  // < 2^66 / 8
  }
  if (h.data_offset > bytes.size() || bytes.size() - h.data_offset < data_size) return Truncated(ImageFormat::kBmp);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ImageInfo> ReadImageHeader(absl::string_view bytes) {
  if (absl::StartsWith(bytes, "\xff\xd8\xff")) return ReadJpegHeader(bytes);
  if (absl::StartsWith(bytes, "\x89PNG\r\n\x1a\n")) return ReadPngHeader(bytes);
  if (absl::StartsWith(bytes, "RIFF") && bytes.size() >= 12 && bytes.substr(8, 4) == "WEBP") {
    return ReadWebpHeader(bytes);
  }
  if (absl::StartsWith(bytes, "BM")) return ReadBmpHeader(bytes);
  return absl::InvalidArgumentError("image: got an unknown format, want JPEG, PNG, WebP or BMP");
}

absl::Status CheckComplete(absl::string_view bytes, ImageFormat format) {
  switch (format) {
    case ImageFormat::kJpeg: return CheckCompleteJpeg(bytes);
    case ImageFormat::kPng: return CheckCompletePng(bytes);
    case ImageFormat::kWebp: return CheckCompleteWebp(bytes);
    case ImageFormat::kBmp: return CheckCompleteBmp(bytes);
  }
  return absl::InternalError("image: unknown format");
}

}  // namespace graft

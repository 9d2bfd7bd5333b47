#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"

namespace graft {

enum class Endian { kBig, kLittle };

// Reads an unsigned integer of `size` <= 4 bytes at offset `at`. Returns false, and leaves `value`, past the end.
bool ReadUint(absl::string_view bytes, size_t at, size_t size, Endian endian, uint32_t* value);

// One part of a file: a JPEG segment (tag = the marker's second byte), a PNG chunk (its type, big-endian) or a RIFF
// chunk (its FourCC, big-endian). The payload has neither length nor checksum.
struct Chunk {
  uint32_t tag = 0;
  absl::string_view payload;
};

enum class Step {
  kChunk,      // one more part
  kEnd,        // the container's own end was reached
  kTruncated,  // the bytes end before the container does
  kMalformed,
};

// Walks the parts of a file whose signature was already checked. Every read is bounds-checked: the bytes come from
// outside. Next() is not called again after it returned anything but kChunk.
//
// Lifetime: the bytes outlive the walker and its chunks.
//
// A JPEG's segments, as libjpeg's next_marker() finds them: garbage and entropy-coded data between segments is skipped.
// So the walk passes thumbnails inside APPn, and ends at the real EOI.
class JpegSegments {
 public:
  explicit JpegSegments(absl::string_view bytes) : bytes_(bytes) {}
  Step Next(Chunk* chunk);

 private:
  absl::string_view bytes_;
  size_t pos_ = 2;  // past SOI
};

// A PNG's chunks, IEND included.
class PngChunks {
 public:
  explicit PngChunks(absl::string_view bytes) : bytes_(bytes) {}
  Step Next(Chunk* chunk);

 private:
  absl::string_view bytes_;
  size_t pos_ = 8;  // past the signature
  bool ended_ = false;
};

// A WebP's chunks, inside the size that its RIFF header states.
class WebpChunks {
 public:
  explicit WebpChunks(absl::string_view bytes);
  Step Next(Chunk* chunk);

 private:
  absl::string_view bytes_;
  size_t pos_ = 12;  // past "RIFF", size, "WEBP"
  size_t end_ = 0;
};

constexpr uint32_t FourCc(const char (&text)[5]) {
  return (uint32_t{static_cast<uint8_t>(text[0])} << 24) | (uint32_t{static_cast<uint8_t>(text[1])} << 16) |
         (uint32_t{static_cast<uint8_t>(text[2])} << 8) | uint32_t{static_cast<uint8_t>(text[3])};
}

}  // namespace graft

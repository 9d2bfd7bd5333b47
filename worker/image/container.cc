#include "worker/image/container.h"

namespace graft {

bool ReadUint(absl::string_view bytes, size_t at, size_t size, Endian endian, uint32_t* value) {
  if (at > bytes.size() || bytes.size() - at < size) return false;
  uint32_t result = 0;
  for (size_t i = 0; i < size; ++i) {
    const size_t from = endian == Endian::kBig ? at + i : at + size - 1 - i;
    result = (result << 8) | static_cast<uint8_t>(bytes[from]);
  }
  *value = result;
  return true;
}

Step JpegSegments::Next(Chunk* chunk) {
  constexpr uint32_t kTem = 0x01, kRst0 = 0xd0, kRst7 = 0xd7, kSoi = 0xd8, kEoi = 0xd9;
  while (true) {
    pos_ = bytes_.find('\xff', pos_);
    if (pos_ == absl::string_view::npos) return Step::kTruncated;
    pos_ = bytes_.find_first_not_of('\xff', pos_);
    if (pos_ == absl::string_view::npos) return Step::kTruncated;
    const uint32_t marker = static_cast<uint8_t>(bytes_[pos_++]);
    if (marker == 0 || marker == kTem || (marker >= kRst0 && marker <= kRst7)) continue;
    if (marker == kEoi) return Step::kEnd;
    if (marker == kSoi) return Step::kMalformed;

    uint32_t length = 0;
    if (!ReadUint(bytes_, pos_, 2, Endian::kBig, &length)) return Step::kTruncated;
    if (length < 2) return Step::kMalformed;
    if (bytes_.size() - pos_ < length) return Step::kTruncated;
    *chunk = Chunk{marker, bytes_.substr(pos_ + 2, length - 2)};
    pos_ += length;
    return Step::kChunk;
  }
}

Step PngChunks::Next(Chunk* chunk) {
  if (ended_) return Step::kEnd;
  uint32_t length = 0;
  if (!ReadUint(bytes_, pos_, 4, Endian::kBig, &length) || !ReadUint(bytes_, pos_ + 4, 4, Endian::kBig, &chunk->tag)) {
    return Step::kTruncated;
  }
  if (length > 0x7fffffff) return Step::kMalformed;  // PNG specification, 5.3
  const size_t payload = pos_ + 8;
  if (bytes_.size() - payload < size_t{length} + 4) return Step::kTruncated;
  chunk->payload = bytes_.substr(payload, length);
  pos_ = payload + length + 4;  // the checksum
  ended_ = chunk->tag == FourCc("IEND");
  return Step::kChunk;
}

WebpChunks::WebpChunks(absl::string_view bytes) : bytes_(bytes) {
  uint32_t riff_size = 0;
  if (ReadUint(bytes_, 4, 4, Endian::kLittle, &riff_size)) end_ = size_t{riff_size} + 8;
}

Step WebpChunks::Next(Chunk* chunk) {
  if (end_ > bytes_.size()) return Step::kTruncated;
  if (pos_ + 8 > end_) return Step::kEnd;
  uint32_t length = 0;
  if (!ReadUint(bytes_, pos_, 4, Endian::kBig, &chunk->tag) ||
      !ReadUint(bytes_, pos_ + 4, 4, Endian::kLittle, &length)) {
    return Step::kTruncated;
  }
  const size_t payload = pos_ + 8;
  if (end_ - payload < length) return Step::kMalformed;
  chunk->payload = bytes_.substr(payload, length);
  pos_ = payload + length + (length & 1);  // chunks start at even offsets
  return Step::kChunk;
}

}  // namespace graft

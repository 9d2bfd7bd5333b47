// libFuzzer: any bytes must end in a picture within the limits or in a status, never in a crash.
// Build: clang++ -fsanitize=fuzzer,address,undefined; seeds: tests/golden/image.

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "absl/strings/string_view.h"
#include "worker/image/decode.h"
#include "worker/image/header.h"
#include "worker/image/image.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto info = graft::ReadImageHeader(bytes);
  if (info.ok()) {
    const absl::Status complete = graft::CheckComplete(bytes, info->format);
    static_cast<void>(complete);
  }

  graft::ImageLimits limits;
  limits.max_bytes = 1 << 16;
  limits.max_pixels = 1 << 14;
  limits.max_side_px = 1 << 10;
  const auto image = graft::DecodeImage(bytes, limits);
  if (image.ok()) {
    const size_t pixels = static_cast<size_t>(image->width_px) * static_cast<size_t>(image->height_px);
    if (!info.ok() || pixels > (1 << 14) || image->rgb.size() != pixels * 3) std::abort();
  }
  return 0;
}

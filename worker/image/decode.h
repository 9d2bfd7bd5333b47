#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/image/image.h"

namespace graft {

// Decodes a JPEG, PNG, WebP or BMP file to 8-bit RGB, upright (EXIF orientation applied).
//
// - The limits are checked against the header, before any pixel is decoded.
// - Grey and palette become RGB, CMYK and YCCK as in Pillow; of 16 bits the high byte stays.
// - Transparent pixels are laid over white: what lies under alpha is arbitrary, and photos of cut-out objects have a
//   white ground. Opaque pixels are unchanged. BMP's fourth byte is padding and is ignored.
//
// Threads: safe for concurrent calls; one call uses one thread.
//   InvalidArgument    beyond the limits, not one of the formats, truncated, or damaged
//   ResourceExhausted  out of memory
// `smallest_side_px` > 0 allows a JPEG to be decoded at 1/2, 1/4 or 1/8 of its size, in a fraction of the time, as long
// as its shorter side keeps that many pixels (libjpeg's scaled inverse DCT: about the mean of each block of pixels).
absl::StatusOr<Image> DecodeImage(absl::string_view bytes, const ImageLimits& limits, int smallest_side_px = 0);

}  // namespace graft

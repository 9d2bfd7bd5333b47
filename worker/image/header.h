#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/image/image.h"

namespace graft {

// Returns format and sides from a file's first bytes, and decodes nothing: JPEG (SOFn), PNG (IHDR), WebP (VP8, VP8L,
// VP8X), BMP. Needs no more of the file than its header. Sides are at least 1.
//   InvalidArgument  another format, a truncated or malformed header, an animated WebP
// Source: ITU-T T.81 annex B; PNG (W3C) 11.2.2; RFC 9649; BITMAPINFOHEADER (Microsoft).
absl::StatusOr<ImageInfo> ReadImageHeader(absl::string_view bytes);

// Checks that a file reaches its container's own end: JPEG to EOI through every scan, PNG to IEND, WebP by its RIFF
// size, BMP by its rows. Bytes after the end are allowed. Decoders answer a truncated file with a half-grey picture, or
// with rows of the picture before it (OpenCV 4.10), so this is checked first. Damage inside the data is for the
// decoder to find.
//   InvalidArgument  a truncated or malformed file; a JPEG of more than 100 scans (each is a pass over the picture)
absl::Status CheckComplete(absl::string_view bytes, ImageFormat format);

}  // namespace graft

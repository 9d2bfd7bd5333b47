#pragma once

#include "absl/strings/string_view.h"
#include "worker/image/image.h"

namespace graft {

// Returns the EXIF orientation, 1 to 8, of a JPEG (APP1), PNG (eXIf) or WebP (EXIF); 1, "as stored", when the file has
// none, or a broken one: a bad hint is no reason to refuse a picture.
// Source: Exif 2.32 (CIPA DC-008), 4.6.4, tag 0x0112.
int ReadExifOrientation(absl::string_view bytes, ImageFormat format);

// Turns a picture that was stored with `orientation` (1 to 8) upright.
Image ApplyExifOrientation(Image image, int orientation);

}  // namespace graft

#pragma once

#include "absl/strings/string_view.h"
#include "worker/image/header.h"
#include "worker/image/image.h"

namespace graft {

// Decodes a grey, YCbCr or RGB JPEG to RGB at 1 / `reduction` of its size (1, 2, 4 or 8; sides rounded up), not turned
// by its EXIF orientation. TurboJPEG itself, not OpenCV: that swaps red and blue pixel by pixel, and we swap them back,
// in more time than the inverse cosine transform takes. An empty image: it is of another colour space, or damaged.
// `info` is what ReadImageHeader() says. Throws std::bad_alloc when out of memory.
Image DecodeJpeg(absl::string_view bytes, const ImageInfo& info, int reduction);

}  // namespace graft

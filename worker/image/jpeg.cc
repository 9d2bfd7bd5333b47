#include "worker/image/jpeg.h"

#include <turbojpeg.h>

#include <cstddef>
#include <memory>
#include <new>

namespace graft {
namespace {

#ifdef TJFLAG_LIMITSCANS
constexpr int kFlags = TJFLAG_ACCURATEDCT | TJFLAG_LIMITSCANS;  // a small progressive file can ask for hours of scans
#else
constexpr int kFlags = TJFLAG_ACCURATEDCT;
#endif

struct Destroy {
  void operator()(void* handle) const { tjDestroy(handle); }
};

}  // namespace

Image DecodeJpeg(absl::string_view bytes, const ImageInfo& info, int reduction) {
  const std::unique_ptr<void, Destroy> handle(tjInitDecompress());
  if (handle == nullptr) throw std::bad_alloc();
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
  int width = 0, height = 0, subsampling = 0, colour_space = 0;
  const int header =
      tjDecompressHeader3(handle.get(), data, bytes.size(), &width, &height, &subsampling, &colour_space);
  const bool is_plain = colour_space == TJCS_YCbCr || colour_space == TJCS_GRAY || colour_space == TJCS_RGB;
  if (header != 0 || !is_plain || width != info.width_px || height != info.height_px) return Image();
  const tjscalingfactor factor{1, reduction};
  Image image;
  image.width_px = TJSCALED(width, factor);
  image.height_px = TJSCALED(height, factor);
  image.rgb.resize(size_t{3} * static_cast<size_t>(image.width_px) * static_cast<size_t>(image.height_px));
  const int decoded = tjDecompress2(handle.get(), data, bytes.size(), image.rgb.data(), image.width_px, 0,
                                    image.height_px, TJPF_RGB, kFlags);
  // Warnings leave a picture, as with libjpeg's other users; files that end too early were refused before.
  if (decoded != 0 && tjGetErrorCode(handle.get()) != TJERR_WARNING) return Image();
  return image;
}

}  // namespace graft

#include "worker/image/decode.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include <opencv2/core.hpp>
#include <opencv2/imgcodecs.hpp>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "worker/base/status.h"
#include "worker/image/exif.h"
#include "worker/image/header.h"
#include "worker/image/jpeg.h"
#include "worker/image/opencv_adapter.h"

namespace graft {
namespace {

absl::Status CheckLimits(const ImageInfo& info, const ImageLimits& limits) {
  const int64_t pixels = int64_t{info.width_px} * info.height_px;
  if (pixels > limits.max_pixels) {
    return absl::InvalidArgumentError(absl::StrCat("image: got ", info.width_px, "x", info.height_px, " = ", pixels,
                                                   " pixels, want at most ", limits.max_pixels));
  }
  if (info.width_px > limits.max_side_px || info.height_px > limits.max_side_px) {
    return absl::InvalidArgumentError(absl::StrCat("image: got ", info.width_px, "x", info.height_px,
                                                   " px, want sides of at most ", limits.max_side_px));
  }
  return absl::OkStatus();
}

// PNG and WebP are read as stored, to see their alpha. Orientation is ours everywhere: OpenCV applies it for some
// formats, in some versions, and never to pictures with alpha.
int ReadFlags(ImageFormat format, int reduction) {
  if (format == ImageFormat::kPng || format == ImageFormat::kWebp) return cv::IMREAD_UNCHANGED;
  int flags = cv::IMREAD_COLOR;
  if (reduction == 2) flags = cv::IMREAD_REDUCED_COLOR_2;
  if (reduction == 4) flags = cv::IMREAD_REDUCED_COLOR_4;
  if (reduction == 8) flags = cv::IMREAD_REDUCED_COLOR_8;
  return flags | cv::IMREAD_IGNORE_ORIENTATION;
}

// By how much the sides of a picture may be divided while it is decoded.
int Reduction(const ImageInfo& info, int smallest_side_px) {
  if (info.format != ImageFormat::kJpeg || smallest_side_px <= 0) return 1;
  const int shorter = std::min(info.width_px, info.height_px);
  for (const int reduction : {8, 4, 2}) {
    if (shorter / reduction >= smallest_side_px) return reduction;
  }
  return 1;
}

int Divided(int side_px, int reduction) { return (side_px + reduction - 1) / reduction; }  // as libjpeg rounds

uint8_t HighByte(uint8_t value) { return value; }
uint8_t HighByte(uint16_t value) { return static_cast<uint8_t>(value >> 8); }

uint8_t OverWhite(uint8_t color, uint8_t alpha) {
  return static_cast<uint8_t>((color * alpha + 255 * (255 - alpha) + 127) / 255);
}

// One row of OpenCV's grey, BGR or BGRA, `kChannels` values a pixel, to RGB.
template <typename T, int kChannels>
void ConvertRow(const T* from, int width_px, uint8_t* to) {
  for (int x = 0; x < width_px; ++x, from += kChannels, to += 3) {
    for (int c = 0; c < 3; ++c) {
      const uint8_t color = HighByte(from[kChannels == 1 ? 0 : 2 - c]);
      to[c] = kChannels == 4 ? OverWhite(color, HighByte(from[kChannels - 1])) : color;
    }
  }
}

template <typename T>
void ConvertRows(const cv::Mat& mat, Image* image) {
  for (int y = 0; y < mat.rows; ++y) {
    const T* from = mat.ptr<T>(y);
    uint8_t* to = image->rgb.data() + size_t{3} * static_cast<size_t>(mat.cols) * static_cast<size_t>(y);
    if (mat.channels() == 1) ConvertRow<T, 1>(from, mat.cols, to);
    if (mat.channels() == 3) ConvertRow<T, 3>(from, mat.cols, to);
    if (mat.channels() == 4) ConvertRow<T, 4>(from, mat.cols, to);
  }
}

Image ToRgb(const cv::Mat& mat) {
  Image image;
  image.width_px = mat.cols;
  image.height_px = mat.rows;
  image.rgb.resize(mat.total() * 3);
  if (mat.depth() == CV_16U) {
    ConvertRows<uint16_t>(mat, &image);
  } else {
    ConvertRows<uint8_t>(mat, &image);
  }
  return image;
}

bool IsExpectedType(const cv::Mat& mat) {
  const int channels = mat.channels();
  return (mat.depth() == CV_8U || mat.depth() == CV_16U) && (channels == 1 || channels == 3 || channels == 4);
}

}  // namespace

absl::StatusOr<Image> DecodeImage(absl::string_view bytes, const ImageLimits& limits, int smallest_side_px) {
  RETURN_IF_ERROR(limits.Validate());
  if (static_cast<int64_t>(bytes.size()) > limits.max_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("image: got ", bytes.size(), " bytes, want at most ", limits.max_bytes));
  }
  ASSIGN_OR_RETURN(const ImageInfo info, ReadImageHeader(bytes));
  RETURN_IF_ERROR(CheckLimits(info, limits));
  RETURN_IF_ERROR(CheckComplete(bytes, info.format));

  const int reduction = Reduction(info, smallest_side_px);
  Image image;
  bool decoded = false;
  RETURN_IF_ERROR(TryOpenCv("decode", [&] {  // memory may run out in either
    if (info.format == ImageFormat::kJpeg) {
      image = DecodeJpeg(bytes, info, reduction);
      decoded = !image.rgb.empty();
      if (decoded) image = ApplyExifOrientation(std::move(image), ReadExifOrientation(bytes, info.format));
      if (decoded) return;
    }
    // OpenCV has no read-only view; imdecode does not write to its input.
    const cv::Mat file(1, static_cast<int>(bytes.size()), CV_8UC1, const_cast<char*>(bytes.data()));
    const cv::Mat mat = cv::imdecode(file, ReadFlags(info.format, reduction));
    decoded = !mat.empty() && mat.cols == Divided(info.width_px, reduction) &&
              mat.rows == Divided(info.height_px, reduction) && IsExpectedType(mat);
    if (decoded) image = ApplyExifOrientation(ToRgb(mat), ReadExifOrientation(bytes, info.format));
  }));
  if (!decoded) {
    return absl::InvalidArgumentError(
        absl::StrCat("image: got a damaged ", ImageFormatName(info.format), ", want a valid file"));
  }
  return image;
}

}  // namespace graft

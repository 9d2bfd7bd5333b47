#include "worker/image/resize.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include <opencv2/core/hal/intrin.hpp>  // SSE2 or NEON behind one name; plain C++ elsewhere

#include "absl/strings/str_cat.h"
#include "worker/base/status.h"
#include "worker/image/resample_axis.h"

namespace graft {
namespace {

constexpr int32_t kHalf = 1 << (kResampleBits - 1);

// Bicubic sums overshoot on both sides.
uint8_t Clip8(int32_t sum) { return static_cast<uint8_t>(std::clamp(sum >> kResampleBits, 0, 255)); }

// Of the sums of the weights' two parts: each alone may wrap around over ten thousands of taps, the whole fits.
uint8_t Clip8(int32_t high, int32_t low) {
  return Clip8(static_cast<int32_t>(static_cast<uint32_t>(high) * 256u + static_cast<uint32_t>(low) + uint32_t{kHalf}));
}

// The values at `a` and `b`, eight each, as 16 bits and in turn: a0 b0 a1 b1 ...
void LoadInterleaved(const uint8_t* a, const uint8_t* b, cv::v_int16x8* low, cv::v_int16x8* high) {
  cv::v_uint16x8 first, second;
  cv::v_zip(cv::v_load_expand(a), cv::v_load_expand(b), first, second);
  *low = cv::v_reinterpret_as_s16(first);
  *high = cv::v_reinterpret_as_s16(second);
}

// One output pixel from `count` pixels at `in`. Reads up to 8 bytes beyond them.
void ResamplePixel(const uint8_t* in, const int16_t* packed, int count, uint8_t* out) {
  cv::v_int32x4 high = cv::v_setzero_s32(), low = cv::v_setzero_s32();  // R, G, B, anything
  for (int tap = 0; tap < count; tap += 2, in += 6, packed += 16) {
    cv::v_int16x8 pixels, unused;  // r0 r1 g0 g1 b0 b1 ...
    LoadInterleaved(in, in + 3, &pixels, &unused);
    high = cv::v_dotprod(pixels, cv::v_load(packed), high);
    low = cv::v_dotprod(pixels, cv::v_load(packed + 8), low);
  }
  int32_t high_sum[4], low_sum[4];
  cv::v_store(high_sum, high);
  cv::v_store(low_sum, low);
  for (int c = 0; c < 3; ++c) out[c] = Clip8(high_sum[c], low_sum[c]);
}

void ResamplePixelAtEnd(const uint8_t* in, const int16_t* packed, int count, uint8_t* out) {
  for (int c = 0; c < 3; ++c) {
    int32_t sum = kHalf;
    for (int tap = 0; tap < count; ++tap) sum += in[3 * tap + c] * WeightOf(packed, tap);
    out[c] = Clip8(sum);
  }
}

// One source row to the shown columns. `end` is where the picture's memory ends.
void ResampleRow(const uint8_t* row, const uint8_t* end, const ResampleAxis& axis, uint8_t* out) {
  for (int x = 0; x < axis.size; ++x, out += 3) {
    const uint8_t* in = row + ptrdiff_t{3} * axis.first[static_cast<size_t>(x)];
    const int count = axis.count[static_cast<size_t>(x)];
    if (end - in >= ptrdiff_t{3} * count + 8) {
      ResamplePixel(in, axis.PackedAt(x), count, out);
    } else {
      ResamplePixelAtEnd(in, axis.PackedAt(x), count, out);
    }
  }
}

// Eight columns of weighted rows. `rows` has an even length; a row that fills it up has the weight 0.
void BlendEight(const std::vector<const uint8_t*>& rows, const int16_t* packed, size_t x, uint8_t* out) {
  cv::v_int32x4 high[2] = {cv::v_setzero_s32(), cv::v_setzero_s32()};
  cv::v_int32x4 low[2] = {cv::v_setzero_s32(), cv::v_setzero_s32()};
  for (size_t i = 0; i < rows.size(); i += 2, packed += 16) {
    cv::v_int16x8 left, right;
    LoadInterleaved(rows[i] + x, rows[i + 1] + x, &left, &right);
    const cv::v_int16x8 high_weights = cv::v_load(packed), low_weights = cv::v_load(packed + 8);
    high[0] = cv::v_dotprod(left, high_weights, high[0]);
    high[1] = cv::v_dotprod(right, high_weights, high[1]);
    low[0] = cv::v_dotprod(left, low_weights, low[0]);
    low[1] = cv::v_dotprod(right, low_weights, low[1]);
  }
  int32_t high_sum[8], low_sum[8];
  for (int half = 0; half < 2; ++half) {
    cv::v_store(high_sum + 4 * half, high[half]);
    cv::v_store(low_sum + 4 * half, low[half]);
  }
  for (int j = 0; j < 8; ++j) out[j] = Clip8(high_sum[j], low_sum[j]);
}

void BlendRows(const std::vector<const uint8_t*>& rows, const int16_t* packed, size_t length, uint8_t* out) {
  size_t x = 0;
  for (; x + 8 <= length; x += 8) BlendEight(rows, packed, x, out + x);
  for (; x < length; ++x) {
    int32_t sum = kHalf;
    for (size_t i = 0; i < rows.size(); ++i) sum += rows[i][x] * WeightOf(packed, static_cast<int>(i));
    out[x] = Clip8(sum);
  }
}

// Gives source rows cut to the shown columns, and resampled when the columns are. The last `capacity` rows stay valid.
class ColumnResampler {
 public:
  ColumnResampler(const Image& image, const ResampleAxis& axis, int capacity)
      : image_(image), axis_(axis), length_(static_cast<size_t>(axis.size) * 3), capacity_(capacity) {
    if (axis.resampled) ring_.resize(length_ * static_cast<size_t>(capacity));
  }

  // Rows are asked for in rising order, except that the last `capacity` may be asked for again.
  const uint8_t* Row(int y) {
    const uint8_t* row = image_.rgb.data() + size_t{3} * static_cast<size_t>(image_.width_px) * static_cast<size_t>(y);
    if (!axis_.resampled) return row + size_t{3} * static_cast<size_t>(axis_.resized_begin);
    uint8_t* slot = ring_.data() + length_ * static_cast<size_t>(y % capacity_);
    if (y > newest_) {
      ResampleRow(row, image_.rgb.data() + image_.rgb.size(), axis_, slot);
      newest_ = y;
    }
    return slot;
  }

 private:
  const Image& image_;
  const ResampleAxis& axis_;
  const size_t length_;
  const int capacity_;
  std::vector<uint8_t> ring_;
  int newest_ = -1;
};

}  // namespace

absl::string_view InterpolationName(Interpolation interpolation) {
  return interpolation == Interpolation::kBicubic ? "bicubic" : "bilinear";
}

absl::StatusOr<Interpolation> ParseInterpolation(absl::string_view name) {
  for (const Interpolation interpolation : {Interpolation::kBilinear, Interpolation::kBicubic}) {
    if (name == InterpolationName(interpolation)) return interpolation;
  }
  return absl::InvalidArgumentError(absl::StrCat("interpolation: got \"", name, "\", want bilinear or bicubic"));
}

Image ResizeAndCrop(const Image& image, const ResizeWindow& window, Interpolation interpolation) {
  GRAFT_CHECK(image.width_px > 0 && image.height_px > 0 && window.width_px > 0 && window.height_px > 0);
  GRAFT_CHECK(window.resized_width_px > 0 && window.resized_height_px > 0);
  const ResampleAxis columns =
      MakeResampleAxis(image.width_px, window.resized_width_px, window.left_px, window.width_px, interpolation);
  const ResampleAxis rows =
      MakeResampleAxis(image.height_px, window.resized_height_px, window.top_px, window.height_px, interpolation);
  const size_t length = static_cast<size_t>(columns.size) * 3;

  Image out;
  out.width_px = window.width_px;
  out.height_px = window.height_px;
  out.rgb.resize(static_cast<size_t>(window.width_px) * static_cast<size_t>(window.height_px) * 3);

  ColumnResampler source(image, columns, rows.max_count);
  std::vector<const uint8_t*> blended;
  const size_t row_bytes = static_cast<size_t>(window.width_px) * 3;
  uint8_t* to = out.rgb.data() + static_cast<size_t>(rows.begin) * row_bytes + static_cast<size_t>(columns.begin) * 3;
  for (int y = 0; y < rows.size && length > 0; ++y, to += row_bytes) {
    if (!rows.resampled) {
      std::memcpy(to, source.Row(rows.resized_begin + y), length);
      continue;
    }
    const int first = rows.first[static_cast<size_t>(y)], count = rows.count[static_cast<size_t>(y)];
    blended.clear();
    for (int i = 0; i < count; ++i) blended.push_back(source.Row(first + i));
    if (count % 2 == 1) blended.push_back(blended.back());
    BlendRows(blended, rows.PackedAt(y), length, to);
  }
  return out;
}

}  // namespace graft

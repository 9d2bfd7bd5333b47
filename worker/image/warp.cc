#include "worker/image/warp.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "worker/base/status.h"

namespace graft {
namespace {

constexpr int kPositionBits = 32;
constexpr int kWeightBits = 11;  // twice that and 8 of a pixel fit an int32
constexpr int32_t kOne = 1 << kWeightBits;
constexpr int64_t kHalfPixel = int64_t{1} << (kPositionBits - 1);

double Radians(double degrees) { return degrees * (3.14159265358979323846 / 180); }

int64_t FixedPoint(double position) { return std::llround(std::ldexp(position, kPositionBits)); }

// The part between two pixels.
int32_t WeightOf(int64_t position) {
  return static_cast<int32_t>(position >> (kPositionBits - kWeightBits)) & (kOne - 1);
}

// A pixel between four others.
void Interpolate(const uint8_t* top_left, const uint8_t* top_right, const uint8_t* bottom_left,
                 const uint8_t* bottom_right, int32_t right, int32_t down, uint8_t* out) {
  for (size_t c = 0; c < 3; ++c) {
    const int32_t top = top_left[c] * (kOne - right) + top_right[c] * right;
    const int32_t bottom = bottom_left[c] * (kOne - right) + bottom_right[c] * right;
    out[c] = static_cast<uint8_t>((top * (kOne - down) + bottom * down + (1 << (2 * kWeightBits - 1))) >>
                                  (2 * kWeightBits));
  }
}

class Sampler {
 public:
  Sampler(const Image& image, Border border)
      : rgb_(image.rgb.data()), width_(image.width_px), height_(image.height_px), border_(border) {}

  // The value at a position where 0 is the middle of the first pixel.
  void Sample(int64_t x, int64_t y, uint8_t* out) const {
    const int64_t left = x >> kPositionBits, top = y >> kPositionBits;
    if (left >= 0 && top >= 0 && left + 1 < width_ && top + 1 < height_) {
      const uint8_t* at = rgb_ + 3 * (top * width_ + left);
      const uint8_t* below = at + 3 * width_;
      Interpolate(at, at + 3, below, below + 3, WeightOf(x), WeightOf(y), out);
    } else {
      SampleAtBorder(x, y, out);
    }
  }

 private:
  void SampleAtBorder(int64_t x, int64_t y, uint8_t* out) const {
    if (border_ == Border::kBlack && !(Inside(x, width_) && Inside(y, height_))) {
      std::fill_n(out, 3, uint8_t{0});
      return;
    }
    const int64_t left = x >> kPositionBits, top = y >> kPositionBits;
    const uint8_t* upper = rgb_ + 3 * width_ * Clamp(top, height_);
    const uint8_t* lower = rgb_ + 3 * width_ * Clamp(top + 1, height_);
    const int64_t first = 3 * Clamp(left, width_), second = 3 * Clamp(left + 1, width_);
    Interpolate(upper + first, upper + second, lower + first, lower + second, WeightOf(x), WeightOf(y), out);
  }

  static bool Inside(int64_t position, int64_t size) {
    return position + kHalfPixel >= 0 && (position + kHalfPixel) >> kPositionBits < size;
  }
  static int64_t Clamp(int64_t pixel, int64_t size) { return std::clamp<int64_t>(pixel, 0, size - 1); }

  const uint8_t* rgb_;
  const int64_t width_, height_;
  const Border border_;
};

}  // namespace

Affine Rotation(double degrees) {
  const double sine = std::sin(Radians(degrees)), cosine = std::cos(Radians(degrees));
  return {cosine, -sine, 0, sine, cosine, 0};
}

Affine Translation(double right, double down) { return {1, 0, -right, 0, 1, -down}; }

Affine Shear(double degrees) {
  return {std::cos(Radians(degrees)), 0, 0, -std::sin(Radians(degrees)), 1, 0};
}

Affine Zoom(double horizontal, double vertical) { return {horizontal, 0, 0, 0, vertical, 0}; }

Affine operator*(const Affine& left, const Affine& right) {
  return {left.a * right.a + left.b * right.d, left.a * right.b + left.b * right.e,
          left.a * right.c + left.b * right.f + left.c, left.d * right.a + left.e * right.d,
          left.d * right.b + left.e * right.e, left.d * right.c + left.e * right.f + left.f};
}

Affine AboutMiddle(const Affine& affine, int width_px, int height_px) {
  const double x = width_px / 2.0, y = height_px / 2.0;
  return Translation(-x, -y) * affine * Translation(x, y);
}

Image WarpAffine(const Image& image, const Affine& affine, Border border) {
  GRAFT_CHECK(image.width_px > 0 && image.height_px > 0);
  Image out;
  out.width_px = image.width_px;
  out.height_px = image.height_px;
  out.rgb.resize(image.rgb.size());
  const Sampler sampler(image, border);
  const int64_t step_x = FixedPoint(affine.a), step_y = FixedPoint(affine.d);
  uint8_t* to = out.rgb.data();
  for (int row = 0; row < image.height_px; ++row) {
    int64_t x = FixedPoint(affine.a * 0.5 + affine.b * (row + 0.5) + affine.c - 0.5);
    int64_t y = FixedPoint(affine.d * 0.5 + affine.e * (row + 0.5) + affine.f - 0.5);
    for (int column = 0; column < image.width_px; ++column, x += step_x, y += step_y, to += 3) {
      sampler.Sample(x, y, to);
    }
  }
  return out;
}

}  // namespace graft

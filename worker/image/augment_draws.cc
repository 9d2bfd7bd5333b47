#include "worker/image/augment_draws.h"

#include <cmath>
#include <cstdint>

namespace graft {
namespace {

constexpr int kAttempts = 10;  // torchvision's, of both

// Areas are fractions of the picture's, a ratio is width over height.
struct RectRange {
  double area_min, area_max;
  double ratio_min, ratio_max;
};

int RoundToInt(double value) { return static_cast<int>(std::lrint(value)); }  // halves to even, as Python

// Sides only, which may exceed the picture's.
PixelRect DrawSides(int width_px, int height_px, const RectRange& range, Random* random) {
  const double area =
      static_cast<double>(width_px) * height_px * random->Uniform(range.area_min, range.area_max);
  const double ratio = random->LogUniform(range.ratio_min, range.ratio_max);
  PixelRect rect;
  rect.width_px = RoundToInt(std::sqrt(area * ratio));
  rect.height_px = RoundToInt(std::sqrt(area / ratio));
  return rect;
}

void DrawPosition(int width_px, int height_px, Random* random, PixelRect* rect) {
  rect->top_px = random->Below(height_px - rect->height_px + 1);
  rect->left_px = random->Below(width_px - rect->width_px + 1);
}

PixelRect MiddlePart(int width_px, int height_px, double ratio) {
  PixelRect rect{0, 0, width_px, height_px};
  const double picture = static_cast<double>(width_px) / height_px;
  if (picture < 1 / ratio) rect.height_px = RoundToInt(width_px * ratio);
  if (picture > ratio) rect.width_px = RoundToInt(height_px * ratio);
  rect.top_px = (height_px - rect.height_px) / 2;
  rect.left_px = (width_px - rect.width_px) / 2;
  return rect;
}

}  // namespace

PixelRect DrawCrop(int width_px, int height_px, const AugmentSpec& spec, Random* random) {
  const RectRange range{spec.crop_scale_min, spec.crop_scale_max, 1 / spec.crop_ratio, spec.crop_ratio};
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    PixelRect rect = DrawSides(width_px, height_px, range, random);
    if (rect.width_px <= 0 || rect.width_px > width_px || rect.height_px <= 0 || rect.height_px > height_px) continue;
    DrawPosition(width_px, height_px, random, &rect);
    return rect;
  }
  return MiddlePart(width_px, height_px, spec.crop_ratio);
}

// The order of Keras: shift and shear follow the rotated axes. Its factors scale source coordinates.
Affine DrawAffine(int width_px, int height_px, const AugmentSpec& spec, Random* random) {
  const double degrees = random->Uniform(-spec.rotation_degrees, spec.rotation_degrees);
  const double right = random->Uniform(-spec.shift, spec.shift) * width_px;
  const double down = random->Uniform(-spec.shift, spec.shift) * height_px;
  const double shear = random->Uniform(-spec.shear_degrees, spec.shear_degrees);
  const double horizontal = random->Uniform(1 - spec.zoom, 1 + spec.zoom);
  const double vertical = random->Uniform(1 - spec.zoom, 1 + spec.zoom);
  const Affine affine = Rotation(degrees) * Translation(right, down) * Shear(shear) * Zoom(horizontal, vertical);
  return AboutMiddle(affine, width_px, height_px);
}

PixelRect DrawErased(int width_px, int height_px, Random* random) {
  const RectRange range{0.02, 0.33, 1 / 3.3, 1 / 0.3};  // torchvision's defaults; its ratio is height over width
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    PixelRect rect = DrawSides(width_px, height_px, range, random);
    if (rect.width_px >= width_px || rect.height_px >= height_px) continue;
    DrawPosition(width_px, height_px, random, &rect);
    return rect;
  }
  return {};
}

}  // namespace graft

#include "worker/image/auto_augment.h"

#include <cmath>

#include "worker/image/color.h"
#include "worker/image/warp.h"

namespace graft {
namespace {

// The magnitudes of the last bin. Source: torchvision 0.14, autoaugment.py, _augmentation_space.
struct Strongest {
  double shear;
  double right_px, down_px;
  double degrees;
  double factor_change;
  double lost_bits;
};

Strongest StrongestOf(AutoAugmentSpace space, const Image& image) {
  if (space == AutoAugmentSpace::kTrivialAugmentWide) return {0.99, 32, 32, 135, 0.99, 6};
  return {0.3, 150.0 / 331.0 * image.width_px, 150.0 / 331.0 * image.height_px, 30, 0.9, 4};
}

bool IsSigned(AutoAugmentOp op) { return op >= AutoAugmentOp::kShearX && op <= AutoAugmentOp::kSharpness; }

void Warp(const Affine& affine, Image* image) { *image = WarpAffine(*image, affine, Border::kBlack); }

AutoAugmentOp DrawOp(Random* random) { return static_cast<AutoAugmentOp>(random->Below(kNumAutoAugmentOps)); }

void ApplySigned(AutoAugmentSpace space, AutoAugmentOp op, double bin, Random* random, Image* image) {
  const double magnitude = AutoAugmentMagnitude(space, op, bin, *image);
  const bool negative = IsSigned(op) && random->Chance(0.5);
  ApplyAutoAugment(op, negative ? -magnitude : magnitude, image);
}

}  // namespace

double AutoAugmentMagnitude(AutoAugmentSpace space, AutoAugmentOp op, double bin, const Image& image) {
  const Strongest strongest = StrongestOf(space, image);
  // Divided last, so that whole numbers come out whole: thresholds and pixels are compared and cut off.
  const auto part = [bin](double most) { return most * bin / (kAutoAugmentBins - 1); };
  switch (op) {
    case AutoAugmentOp::kIdentity:
    case AutoAugmentOp::kAutoContrast:
    case AutoAugmentOp::kEqualize: return 0;
    case AutoAugmentOp::kShearX:
    case AutoAugmentOp::kShearY: return part(strongest.shear);
    case AutoAugmentOp::kTranslateX: return part(strongest.right_px);
    case AutoAugmentOp::kTranslateY: return part(strongest.down_px);
    case AutoAugmentOp::kRotate: return part(strongest.degrees);
    case AutoAugmentOp::kBrightness:
    case AutoAugmentOp::kColor:
    case AutoAugmentOp::kContrast:
    case AutoAugmentOp::kSharpness: return part(strongest.factor_change);
    case AutoAugmentOp::kPosterize: return 8 - std::nearbyint(part(strongest.lost_bits));
    case AutoAugmentOp::kSolarize: return 255 - part(255);
  }
  return 0;
}

void ApplyAutoAugment(AutoAugmentOp op, double magnitude, Image* image) {
  switch (op) {
    case AutoAugmentOp::kIdentity: return;
    case AutoAugmentOp::kShearX: return Warp({1, magnitude, 0, 0, 1, 0}, image);  // about the corner
    case AutoAugmentOp::kShearY: return Warp({1, 0, 0, magnitude, 1, 0}, image);
    case AutoAugmentOp::kTranslateX: return Warp(Translation(std::trunc(magnitude), 0), image);
    case AutoAugmentOp::kTranslateY: return Warp(Translation(0, std::trunc(magnitude)), image);
    case AutoAugmentOp::kRotate:
      return Warp(AboutMiddle(Rotation(magnitude), image->width_px, image->height_px), image);
    case AutoAugmentOp::kBrightness: return AdjustBrightness(1 + magnitude, image);
    case AutoAugmentOp::kColor: return AdjustSaturation(1 + magnitude, image);
    case AutoAugmentOp::kContrast: return AdjustContrast(1 + magnitude, image);
    case AutoAugmentOp::kSharpness: return AdjustSharpness(1 + magnitude, image);
    case AutoAugmentOp::kPosterize: return Posterize(static_cast<int>(magnitude), image);
    case AutoAugmentOp::kSolarize: return Solarize(magnitude, image);
    case AutoAugmentOp::kAutoContrast: return AutoContrast(image);
    case AutoAugmentOp::kEqualize: return Equalize(image);
  }
}

void RandAugment(int num_ops, double bin, Random* random, Image* image) {
  for (int i = 0; i < num_ops; ++i) ApplySigned(AutoAugmentSpace::kRandAugment, DrawOp(random), bin, random, image);
}

void TrivialAugmentWide(Random* random, Image* image) {
  const AutoAugmentOp op = DrawOp(random);
  const int bin = random->Below(kAutoAugmentBins);
  ApplySigned(AutoAugmentSpace::kTrivialAugmentWide, op, bin, random, image);
}

}  // namespace graft

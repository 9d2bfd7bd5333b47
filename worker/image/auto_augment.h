#pragma once

#include "worker/image/image.h"
#include "worker/image/random.h"

namespace graft {

// The operations that RandAugment and TrivialAugmentWide choose from, in torchvision's order.
enum class AutoAugmentOp {
  kIdentity,
  kShearX,  // kShearX to kSharpness have a random sign
  kShearY,
  kTranslateX,
  kTranslateY,
  kRotate,
  kBrightness,
  kColor,
  kContrast,
  kSharpness,
  kPosterize,
  kSolarize,
  kAutoContrast,
  kEqualize,
};
constexpr int kNumAutoAugmentOps = 14;
constexpr int kAutoAugmentBins = 31;  // of magnitudes: torchvision's num_magnitude_bins

enum class AutoAugmentSpace { kRandAugment, kTrivialAugmentWide };

// An operation's magnitude for a bin, 0 to 30, before its sign: an angle in degrees, pixels, a change of a factor, bits
// or a threshold. 0 for operations without one.
double AutoAugmentMagnitude(AutoAugmentSpace space, AutoAugmentOp op, double bin, const Image& image);

// Geometry is bilinear with black around the picture, as torchvision's reference training does it.
// Within 1 level of torchvision 0.14, autoaugment.py, _apply_op on PIL images; but where a source position lies exactly
// on the picture's border, rounding decides between the pixel and black.
void ApplyAutoAugment(AutoAugmentOp op, double magnitude, Image* image);

// `num_ops` operations, each with the magnitude of `bin`. Source: Cubuk et al. 2019 (arXiv:1909.13719).
void RandAugment(int num_ops, double bin, Random* random, Image* image);

// One operation with a random bin. Source: Mueller, Hutter 2021 (arXiv:2103.10158).
void TrivialAugmentWide(Random* random, Image* image);

}  // namespace graft

#pragma once

#include "worker/image/augment_spec.h"
#include "worker/image/random.h"
#include "worker/image/warp.h"

namespace graft {

// A part of a picture.
struct PixelRect {
  int left_px = 0;
  int top_px = 0;
  int width_px = 0;
  int height_px = 0;
};

// The part of a picture that a random resized crop takes; never empty. After ten misses the largest part in the middle
// whose aspect ratio is allowed. Source: torchvision 0.14, transforms.py, RandomResizedCrop.get_params.
PixelRect DrawCrop(int width_px, int height_px, const AugmentSpec& spec, Random* random);

// Rotation, shift, shear and zoom of a picture, about its middle.
Affine DrawAffine(int width_px, int height_px, const AugmentSpec& spec, Random* random);

// What to erase; may be empty. Source: torchvision 0.14, transforms.py, RandomErasing.get_params.
PixelRect DrawErased(int width_px, int height_px, Random* random);

}  // namespace graft

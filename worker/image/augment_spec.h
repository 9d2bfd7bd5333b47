#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace graft {

// How training pictures are varied. The defaults vary nothing. Chances are 0 to 1; "uniform in +-v" is -v to v.
struct AugmentSpec {
  // Random resized crop: a part of the picture, with this fraction of its area and a log-uniform aspect ratio in
  // [1 / crop_ratio, crop_ratio], is resized to the crop. Off when crop_scale_min is 1, whatever the ratio: then the
  // view is the middle, as in evaluation.
  // Source: Szegedy et al. 2015 (arXiv:1409.4842); torchvision RandomResizedCrop.
  double crop_scale_min = 1;  // > 0, at most crop_scale_max
  double crop_scale_max = 1;  // at most 1
  double crop_ratio = 1;      // 1 to 10

  double horizontal_flip = 0;  // chance
  double vertical_flip = 0;    // chance

  // Affine, in one bilinear resampling with the edge pixels repeated. Source: Keras ImageDataGenerator.
  double rotation_degrees = 0;  // uniform in +-; 0 to 180
  double shift = 0;             // of width and of height, each uniform in +-; 0 to 1
  double shear_degrees = 0;     // uniform in +-; 0 to 60
  double zoom = 0;              // each axis is scaled by a factor uniform in [1 - zoom, 1 + zoom]; 0 to 0.9

  // One op of torchvision's TrivialAugmentWide (Mueller, Hutter 2021, arXiv:2103.10158), or some of RandAugment (Cubuk
  // et al. 2019, arXiv:1909.13719). Not both.
  int rand_augment_ops = 0;           // 0 to 14
  double rand_augment_magnitude = 9;  // bin, 0 to 30
  bool trivial_augment = false;

  // Colour jitter in random order. Source: torchvision ColorJitter.
  double brightness = 0;  // factor uniform in [1 - brightness, 1 + brightness]; 0 to 1
  double contrast = 0;    // likewise
  double saturation = 0;  // likewise
  double hue = 0;         // uniform in +- of the circle; 0 to 0.5

  double grey = 0;  // chance

  // Chance that a rectangle of 0.02 to 0.33 of the view becomes the mean colour.
  // Source: Zhong et al. 2017 (arXiv:1708.04896); torchvision RandomErasing.
  double erase = 0;

  // Random resized crop is on.
  bool crops() const { return crop_scale_min != 1; }

  //   InvalidArgument  every violation, one a line: "shift: got 2, want 0 to 1"
  absl::Status Validate() const;

  bool operator==(const AugmentSpec& other) const;
  bool operator!=(const AugmentSpec& other) const { return !(*this == other); }
};

// Equal for equal specifications and only for them; not for people.
std::string KeyOf(const AugmentSpec& spec);

// none             nothing: every view is the evaluation's
// flip             horizontal flips
// light            crops of half the picture and more, flips: for fine-tuning on few pictures (the half is our choice)
// crop-flip        crops of 8 % and more, flips: torchvision's reference training, PyTorch's tutorial
// keras            Chollet, Deep Learning with Python (2017), 5.2.5. Its shear_range=0.2 meant radians then, and so
//                  it is 11.46 degrees here; Keras since its pull request 8868 reads degrees, too few to see
// rand-augment     crop-flip and RandAugment, 2 ops of magnitude 9: torchvision's defaults
// trivial-augment  crop-flip, TrivialAugmentWide, erasing 0.1: from torchvision's ImageNet recipe of 2021
//   NotFound  another name: "augmentation: got \"x\", want one of none, flip, ..."
absl::StatusOr<AugmentSpec> AugmentPreset(absl::string_view name);

// The names above, in that order.
std::vector<std::string> AugmentPresetNames();

}  // namespace graft

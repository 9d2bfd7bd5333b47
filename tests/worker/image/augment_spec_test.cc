#include "worker/image/augment_spec.h"

#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace graft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(AugmentPresetTest, EveryNameIsAValidDifferentSpec) {
  EXPECT_THAT(AugmentPresetNames(),
              ElementsAre("none", "flip", "light", "crop-flip", "keras", "rand-augment", "trivial-augment"));
  std::vector<AugmentSpec> seen;
  for (const std::string& name : AugmentPresetNames()) {
    const absl::StatusOr<AugmentSpec> spec = AugmentPreset(name);
    ASSERT_TRUE(spec.ok()) << name;
    EXPECT_TRUE(spec->Validate().ok()) << name;
    for (const AugmentSpec& other : seen) EXPECT_NE(*spec, other) << name;
    seen.push_back(*spec);
  }
  EXPECT_EQ(seen.front(), AugmentSpec());
}

TEST(AugmentPresetTest, AnotherNameIsNotFound) {
  const absl::Status status = AugmentPreset("x").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(status.message(),
            "augmentation: got \"x\", want one of none, flip, light, crop-flip, keras, rand-augment, trivial-augment");
}

TEST(AugmentSpecTest, EachFieldIsCheckedAndCompared) {
  const std::vector<std::pair<double AugmentSpec::*, std::string>> fields = {
      {&AugmentSpec::crop_ratio, "crop_ratio: got -1, want 1 to 10"},
      {&AugmentSpec::horizontal_flip, "horizontal_flip: got -1, want 0 to 1"},
      {&AugmentSpec::vertical_flip, "vertical_flip: got -1, want 0 to 1"},
      {&AugmentSpec::rotation_degrees, "rotation_degrees: got -1, want 0 to 180"},
      {&AugmentSpec::shift, "shift: got -1, want 0 to 1"},
      {&AugmentSpec::shear_degrees, "shear_degrees: got -1, want 0 to 60"},
      {&AugmentSpec::zoom, "zoom: got -1, want 0 to 0.9"},
      {&AugmentSpec::rand_augment_magnitude, "rand_augment_magnitude: got -1, want 0 to 30"},
      {&AugmentSpec::brightness, "brightness: got -1, want 0 to 1"},
      {&AugmentSpec::contrast, "contrast: got -1, want 0 to 1"},
      {&AugmentSpec::saturation, "saturation: got -1, want 0 to 1"},
      {&AugmentSpec::hue, "hue: got -1, want 0 to 0.5"},
      {&AugmentSpec::grey, "grey: got -1, want 0 to 1"},
      {&AugmentSpec::erase, "erase: got -1, want 0 to 1"},
  };
  for (const auto& [field, message] : fields) {
    AugmentSpec spec;
    spec.*field = -1;
    EXPECT_EQ(spec.Validate(), absl::InvalidArgumentError(message));
    EXPECT_NE(spec, AugmentSpec()) << message;
    spec.*field = 181;
    EXPECT_THAT(spec.Validate().message(), HasSubstr("got 181"));
    spec.*field = std::numeric_limits<double>::quiet_NaN();
    EXPECT_THAT(spec.Validate().message(), HasSubstr("got nan"));
  }
}

TEST(AugmentSpecTest, CropScalesAreOrderedFractions) {
  AugmentSpec spec;
  spec.crop_scale_min = 0;
  EXPECT_EQ(spec.Validate().message(), "crop_scale_min: got 0, want > 0 and at most 1");
  spec.crop_scale_min = 0.5;
  EXPECT_NE(spec, AugmentSpec());
  spec.crop_scale_max = 0.4;
  EXPECT_EQ(spec.Validate().message(), "crop_scale_max: got 0.4, want crop_scale_min to 1");
  spec.crop_scale_max = 1.5;
  EXPECT_EQ(spec.Validate().message(), "crop_scale_max: got 1.5, want crop_scale_min to 1");
  spec.crop_scale_max = 0.9;
  EXPECT_TRUE(spec.Validate().ok());
}

TEST(AugmentSpecTest, OnlyOneAutomaticAugmentation) {
  AugmentSpec spec;
  spec.rand_augment_ops = 15;
  EXPECT_EQ(spec.Validate().message(), "rand_augment_ops: got 15, want 0 to 14");
  EXPECT_NE(spec, AugmentSpec());
  spec.rand_augment_ops = 2;
  spec.trivial_augment = true;
  EXPECT_EQ(spec.Validate().message(), "trivial_augment: got true, want false where rand_augment_ops > 0");
  spec.rand_augment_ops = 0;
  EXPECT_TRUE(spec.Validate().ok());
  EXPECT_NE(spec, AugmentSpec());
}

TEST(AugmentSpecTest, AllViolationsComeTogether) {
  AugmentSpec spec;
  spec.shift = 2;
  spec.hue = 0.7;
  EXPECT_EQ(spec.Validate().message(), "shift: got 2, want 0 to 1\nhue: got 0.7, want 0 to 0.5");
}

}  // namespace
}  // namespace graft

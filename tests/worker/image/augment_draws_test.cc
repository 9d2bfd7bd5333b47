#include "worker/image/augment_draws.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <set>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/image/random.h"

namespace graft {
namespace {

using ::testing::ElementsAre;

constexpr uint64_t kSeeds = 2000;

// Golden: Vigna's splitmix64.c. Another number would give every resumed job other views.
TEST(RandomTest, IsSplitMix64) {
  EXPECT_EQ(SplitMix64(0), 0xE220A8397B1DCDAFu);
  EXPECT_EQ(Random(1, 2).Next(), 10428484394136884971u);
}

TEST(RandomTest, StreamsOfASeedDiffer) { EXPECT_NE(Random(3, 0).Next(), Random(3, 1).Next()); }

TEST(RandomTest, UniformFillsItsRange) {
  Random random(3);
  double sum = 0, low = 1, high = 0;
  for (int i = 0; i < 10000; ++i) {
    const double value = random.Uniform();
    ASSERT_GE(value, 0);
    ASSERT_LT(value, 1);
    sum += value;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  EXPECT_NEAR(sum / 10000, 0.5, 0.0145);  // five standard errors
  EXPECT_LT(low, 0.001);
  EXPECT_GT(high, 0.999);
}

TEST(DrawCropTest, AreaAndRatioStayInRangeAndFillIt) {
  const AugmentSpec spec = *AugmentPreset("crop-flip");
  double area_sum = 0, area_low = 1, log_ratio_sum = 0, ratio_high = 0, ratio_low = 9;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    Random random(seed);
    const PixelRect rect = DrawCrop(640, 480, spec, &random);
    ASSERT_GE(rect.left_px, 0);
    ASSERT_GE(rect.top_px, 0);
    ASSERT_LE(rect.left_px + rect.width_px, 640);
    ASSERT_LE(rect.top_px + rect.height_px, 480);
    const double area = rect.width_px * rect.height_px / (640.0 * 480);
    const double ratio = static_cast<double>(rect.width_px) / rect.height_px;
    ASSERT_GE(area, 0.079);
    ASSERT_GE(ratio, 0.745);
    ASSERT_LE(ratio, 1.34);
    area_sum += area;
    area_low = std::min(area_low, area);
    log_ratio_sum += std::log(ratio);
    ratio_low = std::min(ratio_low, ratio);
    ratio_high = std::max(ratio_high, ratio);
  }
  // Golden: 40000 draws of torchvision 0.14.1's RandomResizedCrop.get_params for 640 x 480 give these two means;
  // four standard errors of 2000 draws are the tolerance.
  EXPECT_NEAR(area_sum / kSeeds, 0.434, 0.023);
  EXPECT_NEAR(log_ratio_sum / kSeeds, 0.0318, 0.015);
  EXPECT_LT(area_low, 0.09);
  EXPECT_LT(ratio_low, 0.76);
  EXPECT_GT(ratio_high, 1.32);
}

TEST(DrawCropTest, PositionsReachEveryCorner) {
  AugmentSpec spec;
  spec.crop_scale_min = spec.crop_scale_max = 0.25;
  std::set<std::pair<int, int>> positions;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    Random random(seed);
    const PixelRect rect = DrawCrop(8, 8, spec, &random);
    EXPECT_EQ(rect.width_px, 4);
    EXPECT_EQ(rect.height_px, 4);
    positions.emplace(rect.left_px, rect.top_px);
  }
  EXPECT_EQ(positions.size(), 25u);
}

TEST(DrawCropTest, ThinPicturesFallBackToTheirMiddle) {
  AugmentSpec spec;
  spec.crop_scale_min = 0.5;
  spec.crop_ratio = 4.0 / 3;
  Random random(1);
  const PixelRect wide = DrawCrop(300, 30, spec, &random);
  EXPECT_THAT((std::vector<int>{wide.left_px, wide.top_px, wide.width_px, wide.height_px}),
              ElementsAre(130, 0, 40, 30));
  const PixelRect high = DrawCrop(30, 300, spec, &random);
  EXPECT_THAT((std::vector<int>{high.left_px, high.top_px, high.width_px, high.height_px}),
              ElementsAre(0, 130, 30, 40));
}

TEST(DrawAffineTest, RotationIsUniformAndAboutTheMiddle) {
  AugmentSpec spec;
  spec.rotation_degrees = 40;
  int tenths[10] = {};
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    Random random(seed);
    const Affine affine = DrawAffine(30, 20, spec, &random);
    EXPECT_NEAR(affine.a * 15 + affine.b * 10 + affine.c, 15, 1e-9);
    EXPECT_NEAR(affine.d * 15 + affine.e * 10 + affine.f, 10, 1e-9);
    const double degrees = std::atan2(affine.d, affine.a) * 180 / 3.14159265358979323846;
    ASSERT_LT(std::abs(degrees), 40);
    ++tenths[static_cast<int>((degrees + 40) / 8)];
  }
  for (const int count : tenths) EXPECT_NEAR(count, 200, 67);  // five standard deviations
}

TEST(DrawAffineTest, ShiftIsAFractionOfEachSide) {
  AugmentSpec spec;
  spec.shift = 0.2;
  double most_x = 0, most_y = 0, sum_x = 0;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    Random random(seed);
    const Affine affine = DrawAffine(300, 200, spec, &random);
    EXPECT_EQ(affine.a, 1);
    EXPECT_EQ(affine.e, 1);
    most_x = std::max(most_x, std::abs(affine.c));
    most_y = std::max(most_y, std::abs(affine.f));
    sum_x += affine.c;
  }
  EXPECT_NEAR(most_x, 60, 0.5);
  EXPECT_NEAR(most_y, 40, 0.5);
  EXPECT_NEAR(sum_x / kSeeds, 0, 60 / std::sqrt(3.0) / std::sqrt(kSeeds) * 5);
}

TEST(DrawAffineTest, ZoomAndShearStayInRange) {
  AugmentSpec spec;
  spec.zoom = 0.2;
  AugmentSpec sheared;
  sheared.shear_degrees = 30;
  double low = 9, high = 0, steepest = 0;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    Random random(seed), again(seed);
    const Affine zoom = DrawAffine(30, 20, spec, &random);
    low = std::min({low, zoom.a, zoom.e});
    high = std::max({high, zoom.a, zoom.e});
    steepest = std::max(steepest, std::abs(DrawAffine(30, 20, sheared, &again).d));
  }
  EXPECT_NEAR(low, 0.8, 0.001);
  EXPECT_NEAR(high, 1.2, 0.001);
  EXPECT_NEAR(steepest, 0.5, 0.001);  // the sine of 30 degrees
}

TEST(DrawErasedTest, AreaAndPlaceStayInRange) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    Random random(seed);
    const PixelRect rect = DrawErased(224, 224, &random);
    const double area = rect.width_px * rect.height_px / (224.0 * 224);
    const double ratio = static_cast<double>(rect.height_px) / rect.width_px;
    ASSERT_GT(area, 0.0195);
    ASSERT_LT(area, 0.3325);
    ASSERT_GT(ratio, 0.29);
    ASSERT_LT(ratio, 3.4);
    ASSERT_LE(rect.left_px + rect.width_px, 224);
    ASSERT_LE(rect.top_px + rect.height_px, 224);
  }
}

}  // namespace
}  // namespace graft

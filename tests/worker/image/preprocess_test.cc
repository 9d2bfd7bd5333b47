#include "worker/image/preprocess.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <ostream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/worker/image/test_images.h"

namespace graft {
namespace {

using ::testing::HasSubstr;

struct Resized {
  int width_px, height_px, resize_px, crop_px, row_step;
  Interpolation interpolation = Interpolation::kBilinear;
};

void PrintTo(const Resized& p, std::ostream* out) {  // ctest shows it
  *out << p.width_px << "x" << p.height_px << "_to_" << p.resize_px << "_" << p.crop_px << "_"
       << InterpolationName(p.interpolation);
}

class PreprocessParityTest : public testing::TestWithParam<Resized> {};

// Golden: torchvision 0.14.1 over Pillow 9.4 (tests/golden/image/make.py). Equal to the byte.
TEST_P(PreprocessParityTest, ResizeAndCropEqualTorchvision) {
  const Resized& p = GetParam();
  const std::string prefix = p.interpolation == Interpolation::kBicubic ? "bicubic_" : "resize_";
  const std::string name = prefix + std::to_string(p.width_px) + "x" + std::to_string(p.height_px) + "_" +
                           std::to_string(p.resize_px) + "_" + std::to_string(p.crop_px) + "_rows_" +
                           std::to_string(p.row_step) + ".raw";
  const std::string want = ReadGolden(name);
  PreprocessSpec spec;
  spec.resize_px = p.resize_px;
  spec.crop_px = p.crop_px;
  const Image source = Pattern(p.width_px, p.height_px);
  const Image image = ResizeAndCrop(source, EvalWindow(p.width_px, p.height_px, spec), p.interpolation);
  ASSERT_EQ(image.width_px, p.crop_px);
  ASSERT_EQ(image.height_px, p.crop_px);

  const size_t row_bytes = static_cast<size_t>(p.crop_px) * 3;
  std::string got;
  for (size_t y = 0; y < static_cast<size_t>(p.crop_px); y += static_cast<size_t>(p.row_step)) {
    got.append(reinterpret_cast<const char*>(image.rgb.data()) + y * row_bytes, row_bytes);
  }
  ASSERT_EQ(got.size(), want.size());
  size_t different = 0;
  for (size_t i = 0; i < got.size(); ++i) different += got[i] != want[i];
  EXPECT_EQ(different, 0u) << "of " << got.size();
}

INSTANTIATE_TEST_SUITE_P(Sizes, PreprocessParityTest,
                         testing::Values(Resized{100, 100, 256, 224, 4}, Resized{341, 256, 256, 224, 4},
                                         Resized{640, 427, 256, 224, 4}, Resized{2016, 3024, 256, 224, 4},
                                         Resized{301, 500, 129, 98, 1}, Resized{1000, 37, 40, 33, 1},
                                         Resized{33, 20, 24, 64, 1}, Resized{9, 90, 12, 45, 1}));

constexpr Interpolation kBicubic = Interpolation::kBicubic;
INSTANTIATE_TEST_SUITE_P(BicubicSizes, PreprocessParityTest,
                         testing::Values(Resized{100, 100, 256, 224, 8, kBicubic},
                                         Resized{640, 427, 256, 224, 8, kBicubic},
                                         Resized{301, 500, 129, 98, 1, kBicubic},
                                         Resized{1000, 37, 40, 33, 1, kBicubic}, Resized{33, 20, 24, 64, 1, kBicubic},
                                         Resized{9, 90, 12, 45, 1, kBicubic}));

// Golden: torchvision's ToTensor and Normalize of every byte value. Equal to the bit.
TEST(PreprocessTest, NormalizesAsTorchvision) {
  const std::string bytes = ReadGolden("normalize.f32");
  std::vector<float> want(3 * 256);
  ASSERT_EQ(bytes.size(), want.size() * sizeof(float));
  std::memcpy(want.data(), bytes.data(), bytes.size());

  Image ramp;
  ramp.width_px = 16;
  ramp.height_px = 16;
  for (int v = 0; v < 256; ++v) ramp.rgb.insert(ramp.rgb.end(), 3, static_cast<uint8_t>(v));
  PreprocessSpec spec;
  spec.resize_px = 16;
  spec.crop_px = 16;
  std::vector<float> got(256 * 3);  // [16, 16, 3]
  Preprocess(ramp, spec, got.data());
  for (size_t v = 0; v < 256; ++v) {
    for (size_t c = 0; c < 3; ++c) ASSERT_EQ(got[v * 3 + c], want[c * 256 + v]) << "byte " << v << " channel " << c;
  }
}

TEST(PreprocessTest, PaddingIsBlackBeforeNormalizing) {
  Image white;
  white.width_px = 2;
  white.height_px = 2;
  white.rgb.assign(12, 255);
  PreprocessSpec spec;
  spec.resize_px = 2;
  spec.crop_px = 4;
  spec.mean = {0, 0, 0};
  spec.std = {1, 1, 1};
  std::vector<float> out(4 * 4 * 3, -1.0f);
  Preprocess(white, spec, out.data());
  for (size_t y = 0; y < 4; ++y) {
    for (size_t x = 0; x < 4; ++x) {
      const bool inside = y >= 1 && y <= 2 && x >= 1 && x <= 2;
      EXPECT_EQ(out[(y * 4 + x) * 3], inside ? 1.0f : 0.0f) << x << ", " << y;
    }
  }
}

TEST(PreprocessTest, UsesTheSpecsInterpolation) {
  const Image source = Pattern(31, 22);
  PreprocessSpec spec;
  spec.resize_px = 16;
  spec.crop_px = 16;
  spec.interpolation = Interpolation::kBicubic;
  spec.mean = {0, 0, 0};
  spec.std = {1, 1, 1};
  std::vector<float> got(16 * 16 * 3);
  Preprocess(source, spec, got.data());
  const Image want = ResizeAndCrop(source, EvalWindow(31, 22, spec), Interpolation::kBicubic);
  for (size_t i = 0; i < got.size(); ++i) ASSERT_EQ(got[i], static_cast<float>(want.rgb[i]) / 255.0f) << i;
}

TEST(EvalWindowTest, HalvesRoundToTheEvenPixel) {
  PreprocessSpec spec;
  spec.resize_px = 8;
  spec.crop_px = 5;
  EXPECT_EQ(EvalWindow(8, 8, spec).left_px, 2);   // 1.5
  EXPECT_EQ(EvalWindow(10, 8, spec).left_px, 2);  // 2.5
  EXPECT_EQ(EvalWindow(12, 8, spec).left_px, 4);  // 3.5
}

TEST(PreprocessSpecTest, DefaultsAreValid) { EXPECT_TRUE(PreprocessSpec().Validate().ok()); }

TEST(PreprocessSpecTest, EachFieldIsChecked) {
  PreprocessSpec spec;
  spec.resize_px = 0;
  EXPECT_EQ(spec.Validate().message(), "resize_px: got 0, want 1 to 4096");
  spec = PreprocessSpec();
  spec.crop_px = 4097;
  EXPECT_EQ(spec.Validate().message(), "crop_px: got 4097, want 1 to 4096");
  spec = PreprocessSpec();
  spec.mean[1] = std::numeric_limits<float>::infinity();
  EXPECT_THAT(spec.Validate().message(), HasSubstr("mean[1]: got inf"));
  spec = PreprocessSpec();
  spec.std[2] = 0;
  EXPECT_EQ(spec.Validate().message(), "std[2]: got 0, want > 0 and finite");
  spec.std[2] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_FALSE(spec.Validate().ok());
}

TEST(PreprocessSpecTest, EqualityComparesEveryField) {
  EXPECT_EQ(PreprocessSpec(), PreprocessSpec());
  PreprocessSpec other;
  other.std[0] = 0.5f;
  EXPECT_NE(other, PreprocessSpec());
  other = PreprocessSpec();
  other.crop_px = 96;
  EXPECT_NE(other, PreprocessSpec());
  other = PreprocessSpec();
  other.interpolation = Interpolation::kBicubic;
  EXPECT_NE(other, PreprocessSpec());
}

TEST(KeyOfTest, DiffersInEachFieldOfASpec) {
  const std::string key = KeyOf(PreprocessSpec());
  EXPECT_EQ(KeyOf(PreprocessSpec()), key);
  std::vector<PreprocessSpec> others(5);
  others[0].resize_px = 255;
  others[1].crop_px = 223;
  others[2].mean[2] = std::nextafter(others[2].mean[2], 1.0f);
  others[3].std[0] = std::nextafter(others[3].std[0], 1.0f);
  others[4].interpolation = Interpolation::kBicubic;
  for (const PreprocessSpec& other : others) EXPECT_NE(KeyOf(other), key);
}

}  // namespace
}  // namespace graft

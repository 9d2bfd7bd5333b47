#include "worker/image/resize.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/worker/image/test_images.h"

namespace graft {
namespace {

// The part of `whole` that the window shows, zeros around it.
std::vector<uint8_t> Cut(const Image& whole, const ResizeWindow& window) {
  std::vector<uint8_t> cut;
  for (int y = window.top_px; y < window.top_px + window.height_px; ++y) {
    for (int x = window.left_px; x < window.left_px + window.width_px; ++x) {
      const bool inside = x >= 0 && y >= 0 && x < whole.width_px && y < whole.height_px;
      for (int c = 0; c < 3; ++c) {
        cut.push_back(inside ? whole.rgb[static_cast<size_t>((y * whole.width_px + x) * 3 + c)] : uint8_t{0});
      }
    }
  }
  return cut;
}

// Every window must show what a resize of the whole picture shows there: at the edges, beyond them, and outside.
TEST(ResizeAndCropTest, WindowEqualsTheWholePictureCut) {
  const Image source = Pattern(37, 29);
  const std::vector<std::pair<int, int>> sizes = {{37, 29}, {37, 11}, {12, 29}, {50, 61}, {5, 7}};
  for (const Interpolation how : {Interpolation::kBilinear, Interpolation::kBicubic}) {
    for (const auto& [width, height] : sizes) {
      const Image whole = ResizeAndCrop(source, {width, height, 0, 0, width, height}, how);
      for (const int left : {-9, -1, 0, 2, width - 3, width + 4}) {
        for (const int top : {-8, 0, 1, height - 2, height + 1}) {
          const ResizeWindow window{width, height, left, top, 7, 6};
          EXPECT_EQ(ResizeAndCrop(source, window, how).rgb, Cut(whole, window))
              << InterpolationName(how) << " " << width << "x" << height << " at " << left << ", " << top;
        }
      }
    }
  }
}

// One row of grey pixels, resized to `width` by the cubic filter: the red channel.
std::vector<int> BicubicRow(const std::vector<uint8_t>& values, int width) {
  Image row;
  row.width_px = static_cast<int>(values.size());
  row.height_px = 1;
  for (const uint8_t value : values) row.rgb.insert(row.rgb.end(), 3, value);
  const Image resized = ResizeAndCrop(row, {width, 1, 0, 0, width, 1}, Interpolation::kBicubic);
  std::vector<int> red;
  for (size_t i = 0; i < resized.rgb.size(); i += 3) red.push_back(resized.rgb[i]);
  return red;
}

// Golden: Pillow 9.4, Image.resize((width, 1), BICUBIC) of these rows. Equal to the byte. More in preprocess_test.cc.
TEST(ResizeAndCropTest, BicubicEqualsPillow) {
  EXPECT_EQ(BicubicRow({10, 200, 30, 255, 0, 90, 90, 10}, 3), (std::vector<int>{105, 111, 56}));
  EXPECT_EQ(BicubicRow({0, 0, 255, 255}, 8), (std::vector<int>{0, 0, 0, 52, 203, 255, 255, 255}));
}

// The cubic filter overshoots at an edge, below 0 and above 255: that must not wrap around.
TEST(ResizeAndCropTest, BicubicOvershootIsClipped) {
  std::vector<uint8_t> edge(40, 0);
  std::fill(edge.begin() + 20, edge.end(), uint8_t{255});
  for (const int width : {11, 39, 41, 200}) {
    const std::vector<int> row = BicubicRow(edge, width);
    EXPECT_TRUE(std::is_sorted(row.begin(), row.end())) << width;
    EXPECT_EQ(row.front(), 0) << width;
    EXPECT_EQ(row.back(), 255) << width;
  }
}

TEST(InterpolationTest, NamesAreReadBack) {
  for (const Interpolation how : {Interpolation::kBilinear, Interpolation::kBicubic}) {
    const auto back = ParseInterpolation(InterpolationName(how));
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(*back, how);
  }
}

TEST(InterpolationTest, AnotherNameIsInvalidArgument) {
  EXPECT_EQ(ParseInterpolation("nearest").status(),
            absl::InvalidArgumentError("interpolation: got \"nearest\", want bilinear or bicubic"));
  EXPECT_FALSE(ParseInterpolation("").ok());
}

TEST(ResizeAndCropTest, SameSizeIsACopy) {
  const Image source = Pattern(13, 8);
  EXPECT_EQ(ResizeAndCrop(source, {13, 8, 0, 0, 13, 8}).rgb, source.rgb);
}

TEST(ResizeAndCropTest, OneColorStaysThatColor) {
  Image source;
  source.width_px = 301;
  source.height_px = 203;
  source.rgb.assign(301 * 203 * 3, 255);
  for (const Interpolation how : {Interpolation::kBilinear, Interpolation::kBicubic}) {
    const Image shrunk = ResizeAndCrop(source, {3, 2, 0, 0, 3, 2}, how);
    EXPECT_EQ(shrunk.rgb, std::vector<uint8_t>(18, 255)) << InterpolationName(how);
  }
}

// Without antialiasing one column in 16 would decide; the triangle averages about 32.
TEST(ResizeAndCropTest, ShrinkingAntialiases) {
  Image stripes;
  stripes.width_px = 256;
  stripes.height_px = 16;
  for (int i = 0; i < 256 * 16; ++i) stripes.rgb.insert(stripes.rgb.end(), 3, i % 2 == 0 ? 0 : 255);
  const Image shrunk = ResizeAndCrop(stripes, {16, 16, 0, 0, 16, 16});
  const auto [least, most] = std::minmax_element(shrunk.rgb.begin(), shrunk.rgb.end());
  EXPECT_GE(*least, 120);
  EXPECT_LE(*most, 135);
}

TEST(ResizeAndCropTest, OnePixelFillsTheWindow) {
  Image source;
  source.width_px = 1;
  source.height_px = 1;
  source.rgb = {10, 20, 30};
  const Image grown = ResizeAndCrop(source, {9, 9, 2, 2, 1, 1});
  EXPECT_EQ(grown.rgb, source.rgb);
}

// A resized picture of 4096 x 134 million pixels, of which four are computed.
TEST(ResizeAndCropTest, CostFollowsTheWindowNotTheResizedSize) {
  const Image source = Pattern(1, 32768);
  EXPECT_EQ(ResizeAndCrop(source, {4096, 4096 * 32768, 2048, 1 << 26, 2, 2}).rgb.size(), 12u);
}

}  // namespace
}  // namespace graft

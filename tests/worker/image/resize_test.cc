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
  for (const auto& [width, height] : std::vector<std::pair<int, int>>{{37, 29}, {37, 11}, {12, 29}, {50, 61}, {5, 7}}) {
    const Image whole = ResizeAndCrop(source, {width, height, 0, 0, width, height});
    for (const int left : {-9, -1, 0, 2, width - 3, width + 4}) {
      for (const int top : {-8, 0, 1, height - 2, height + 1}) {
        const ResizeWindow window{width, height, left, top, 7, 6};
        EXPECT_EQ(ResizeAndCrop(source, window).rgb, Cut(whole, window))
            << width << "x" << height << " at " << left << ", " << top;
      }
    }
  }
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
  const Image shrunk = ResizeAndCrop(source, {3, 2, 0, 0, 3, 2});
  EXPECT_EQ(shrunk.rgb, std::vector<uint8_t>(18, 255));
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

#include "worker/image/warp.h"

#include <cstddef>
#include <cstdint>
#include <vector>

#include "gtest/gtest.h"
#include "tests/worker/image/augment_golden.h"

namespace graft {
namespace {

// Black, but for one white pixel.
Image Marked(int width_px, int height_px, int x, int y) {
  Image image;
  image.width_px = width_px;
  image.height_px = height_px;
  image.rgb.assign(static_cast<size_t>(3 * width_px * height_px), 0);
  for (int c = 0; c < 3; ++c) image.rgb[static_cast<size_t>(3 * (y * width_px + x) + c)] = 255;
  return image;
}

std::vector<uint8_t> PixelAt(const Image& image, int x, int y) {
  const auto at = image.rgb.begin() + 3 * (y * image.width_px + x);
  return std::vector<uint8_t>(at, at + 3);
}

// Golden: Pillow 9.4, Image.transform(size, AFFINE, matrix, BILINEAR) of Noise(20, 16): every ninth pixel. Tolerance
// 1 level: Pillow cuts off where we round.
TEST(WarpAffineTest, EqualsPillow) {
  const Image image = Noise(20, 16);
  ExpectPixels(WarpAffine(image, {0.83, 0.31, -1.7, -0.27, 1.13, 2.9}, Border::kBlack), 9,
               "0000008be2aa000000795a9984713b53c6a59b5a30b668bd905147995eb68552c67e70aa499e5a2ebbc79a735c7480bd"
               "523d6dc131ce3f26699771acee6b8d8ab194c7461f9c9a458c5fa3e57265b4d731000000a6d66c000000d18a99b46639"
               "000000691251000000000000",
               1);
  ExpectPixels(WarpAffine(image, {-1.21, 0.4, 19.3, 0.37, 0.71, -2.2}, Border::kBlack), 9,
               "000000ad708d00000078522600000041837fba74d197ed87e78b8d7d842a9567c2000000725151ab32f456c195b68a63"
               "4d989c9d846a5b4fc9ab8ca40000009543a230c7619c51a75e27544e7f55856c570000009bca8c0000005566a8757f69"
               "a199607a6ed0b08d66b04f7c",
               1);
}

TEST(WarpAffineTest, BordersDifferOutsideOnly) {
  const Affine affine{0.83, 0.31, -1.7, -0.27, 1.13, 2.9};
  const Image noise = Noise(20, 16);
  const Image edge = WarpAffine(noise, affine, Border::kEdge), black = WarpAffine(noise, affine, Border::kBlack);
  int outside = 0;
  for (int y = 0; y < 16; ++y) {
    for (int x = 0; x < 20; ++x) {
      const double from_x = affine.a * (x + 0.5) + affine.b * (y + 0.5) + affine.c;
      const double from_y = affine.d * (x + 0.5) + affine.e * (y + 0.5) + affine.f;
      if (from_x >= 0 && from_x < 20 && from_y >= 0 && from_y < 16) {
        EXPECT_EQ(PixelAt(edge, x, y), PixelAt(black, x, y)) << x << ", " << y;
      } else {
        ++outside;
        EXPECT_EQ(PixelAt(black, x, y), std::vector<uint8_t>(3, 0)) << x << ", " << y;
      }
    }
  }
  EXPECT_GT(outside, 20);
}

TEST(WarpAffineTest, IdentityIsExact) {
  for (const Border border : {Border::kEdge, Border::kBlack}) {
    EXPECT_EQ(WarpAffine(Noise(20, 16), Affine(), border).rgb, Noise(20, 16).rgb);
  }
}

TEST(WarpAffineTest, OnePixelIsAllThereIs) {
  const Image out = WarpAffine(Noise(1, 1), Rotation(30) * Translation(7, -9), Border::kEdge);
  EXPECT_EQ(out.rgb, Noise(1, 1).rgb);
}

TEST(WarpAffineTest, RotationTurnsCounterClockwiseAboutTheMiddle) {
  const Image marked = Marked(9, 9, 8, 1);  // right, near the top
  const auto turned = [&marked](double degrees) {
    return WarpAffine(marked, AboutMiddle(Rotation(degrees), 9, 9), Border::kEdge).rgb;
  };
  EXPECT_EQ(turned(90), Marked(9, 9, 1, 0).rgb);
  EXPECT_EQ(turned(180), Marked(9, 9, 0, 7).rgb);
  EXPECT_EQ(turned(-90), Marked(9, 9, 7, 8).rgb);
}

TEST(WarpAffineTest, TranslationMovesRightAndDownByPixels) {
  EXPECT_EQ(WarpAffine(Marked(9, 7, 2, 3), Translation(4, -2), Border::kBlack).rgb, Marked(9, 7, 6, 1).rgb);
}

TEST(WarpAffineTest, HalfAPixelIsTheMeanOfTwo) {
  const Image moved = WarpAffine(Marked(9, 7, 2, 3), Translation(0.5, 0), Border::kEdge);
  EXPECT_EQ(PixelAt(moved, 2, 3), std::vector<uint8_t>(3, 128));
  EXPECT_EQ(PixelAt(moved, 3, 3), std::vector<uint8_t>(3, 128));
}

TEST(WarpAffineTest, TheEdgeIsRepeated) {
  const Image noise = Noise(9, 7);
  const Image moved = WarpAffine(noise, Translation(3, 0), Border::kEdge);
  for (int y = 0; y < 7; ++y) {
    for (int x = 0; x < 9; ++x) EXPECT_EQ(PixelAt(moved, x, y), PixelAt(noise, x < 3 ? 0 : x - 3, y));
  }
}

TEST(WarpAffineTest, ZoomBelowOneEnlargesAlongItsAxis) {
  // Half as far from the middle (4.5, 4.5) in x: the pixel at 2, centre 2.5, appears at 0.5.
  const Image zoomed = WarpAffine(Marked(9, 9, 2, 4), AboutMiddle(Zoom(0.5, 1), 9, 9), Border::kEdge);
  EXPECT_EQ(PixelAt(zoomed, 0, 4), std::vector<uint8_t>(3, 255));
  EXPECT_EQ(PixelAt(zoomed, 0, 3), std::vector<uint8_t>(3, 0));
}

// Keras: a source is at (x cos(shear), y - x sin(shear)), so 30 degrees take 10 pixels right to 5 up.
TEST(WarpAffineTest, ShearIsKerass) {
  const Affine shear = Shear(30);
  EXPECT_NEAR(shear.a * 10 + shear.b * 7, 8.660254, 1e-6);
  EXPECT_NEAR(shear.d * 10 + shear.e * 7, 2, 1e-12);
}

TEST(AffineTest, ProductAppliesTheRightFactorFirst) {
  const Affine both = Zoom(2, 3) * Translation(-5, 7);  // x -> 2 (x + 5), y -> 3 (y - 7)
  EXPECT_EQ(both.a * 1 + both.b * 10 + both.c, 12);
  EXPECT_EQ(both.d * 1 + both.e * 10 + both.f, 9);
}

}  // namespace
}  // namespace graft

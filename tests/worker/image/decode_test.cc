#include "worker/image/decode.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/worker/image/test_images.h"
#include "worker/image/exif.h"

namespace graft {
namespace {

using ::testing::HasSubstr;

int MaxDifference(const Image& a, const Image& b) {
  int difference = 0;
  for (size_t i = 0; i < std::min(a.rgb.size(), b.rgb.size()); ++i) {
    difference = std::max(difference, std::abs(int{a.rgb[i]} - int{b.rgb[i]}));
  }
  return difference;
}

struct Golden {
  std::string name;
  int tolerance;  // of a byte, against Pillow
};

void PrintTo(const Golden& golden, std::ostream* out) { *out << golden.name; }  // ctest shows it

class DecodeGoldenTest : public testing::TestWithParam<Golden> {};

TEST_P(DecodeGoldenTest, EqualsPillow) {
  const auto image = DecodeImage(ReadGolden(GetParam().name), ImageLimits());
  ASSERT_TRUE(image.ok()) << image.status();
  const Image want = ReadGoldenPpm(GetParam().name + ".ppm");
  ASSERT_EQ(image->width_px, want.width_px);
  ASSERT_EQ(image->height_px, want.height_px);
  ASSERT_EQ(image->rgb.size(), want.rgb.size());
  EXPECT_LE(MaxDifference(*image, want), GetParam().tolerance);
}

INSTANTIATE_TEST_SUITE_P(Jpeg, DecodeGoldenTest,
                         testing::Values(Golden{"baseline.jpg", 1}, Golden{"progressive.jpg", 1},
                                         Golden{"full_chroma.jpg", 1}, Golden{"grey.jpg", 1}));
// OpenCV divides by 256 where Pillow divides by 255.
INSTANTIATE_TEST_SUITE_P(JpegOfFourColors, DecodeGoldenTest,
                         testing::Values(Golden{"cmyk.jpg", 2}, Golden{"ycck.jpg", 2}));
INSTANTIATE_TEST_SUITE_P(Exif, DecodeGoldenTest,
                         testing::Values(Golden{"exif_1.jpg", 1}, Golden{"exif_2.jpg", 1}, Golden{"exif_3.jpg", 1},
                                         Golden{"exif_4.jpg", 1}, Golden{"exif_5.jpg", 1}, Golden{"exif_6.jpg", 1},
                                         Golden{"exif_7.jpg", 1}, Golden{"exif_8.jpg", 1},
                                         Golden{"rgba_exif_6.png", 0}, Golden{"exif_8.webp", 0}));
INSTANTIATE_TEST_SUITE_P(Png, DecodeGoldenTest,
                         testing::Values(Golden{"rgb.png", 0}, Golden{"grey.png", 0}, Golden{"bilevel.png", 0},
                                         Golden{"palette.png", 0}, Golden{"palette_transparent.png", 0},
                                         Golden{"rgba.png", 0}, Golden{"grey_alpha.png", 0}, Golden{"rgb16.png", 0},
                                         Golden{"grey16.png", 0}));
INSTANTIATE_TEST_SUITE_P(Webp, DecodeGoldenTest,
                         testing::Values(Golden{"lossy.webp", 1}, Golden{"lossless.webp", 0}, Golden{"alpha.webp", 0}));
INSTANTIATE_TEST_SUITE_P(Bmp, DecodeGoldenTest,
                         testing::Values(Golden{"rgb.bmp", 0}, Golden{"palette.bmp", 0}, Golden{"grey.bmp", 0},
                                         Golden{"bilevel.bmp", 0}));

TEST(DecodeImageTest, TooManyBytesAreRefused) {
  ImageLimits limits;
  limits.max_bytes = 100;
  const absl::Status status = DecodeImage(ReadGolden("rgb.bmp"), limits).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr(" bytes, want at most 100"));
}

// A header alone: were the limit checked after decoding, the message would speak of truncation.
TEST(DecodeImageTest, TooManyPixelsAreRefusedFromTheHeader) {
  const std::string png("\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x75\x30\0\0\x75\x30\x08\x02\0\0\0\0\0\0\0", 33);
  const absl::Status status = DecodeImage(png, ImageLimits()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "image: got 30000x30000 = 900000000 pixels, want at most 89478485");
}

TEST(DecodeImageTest, TooLongSideIsRefused) {
  ImageLimits limits;
  limits.max_side_px = 25;
  EXPECT_EQ(DecodeImage(ReadGolden("rgb.png"), limits).status().message(),
            "image: got 26x18 px, want sides of at most 25");
}

TEST(DecodeImageTest, TruncatedFileIsAnErrorInEveryFormat) {
  for (const char* name : {"baseline.jpg", "progressive.jpg", "rgb.png", "lossy.webp", "rgb.bmp"}) {
    std::string bytes = ReadGolden(name);
    bytes.resize(bytes.size() * 2 / 3);
    const absl::Status status = DecodeImage(bytes, ImageLimits()).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_THAT(status.message(), HasSubstr("got a truncated")) << name;
  }
}

TEST(DecodeImageTest, DamagedDataIsAnError) {
  for (const char* name : {"rgb.png", "lossless.webp"}) {
    std::string bytes = ReadGolden(name);
    for (size_t i = bytes.size() / 3; i < bytes.size() / 2; ++i) bytes[i] = static_cast<char>(bytes[i] ^ 0x5a);
    const absl::Status status = DecodeImage(bytes, ImageLimits()).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_THAT(status.message(), HasSubstr("got a damaged")) << name;
  }
}

TEST(DecodeImageTest, EmptyInputIsAnUnknownFormat) {
  EXPECT_THAT(DecodeImage("", ImageLimits()).status().message(), HasSubstr("unknown format"));
}

// The mean of each `step` x `step` block, at the edge of what is there.
Image AreaMean(const Image& image, int step) {
  Image mean;
  mean.width_px = (image.width_px + step - 1) / step;
  mean.height_px = (image.height_px + step - 1) / step;
  for (int y = 0; y < image.height_px; y += step) {
    for (int x = 0; x < image.width_px; x += step) {
      for (int c = 0; c < 3; ++c) {
        int sum = 0, count = 0;
        for (int v = y; v < std::min(y + step, image.height_px); ++v) {
          for (int u = x; u < std::min(x + step, image.width_px); ++u, ++count) {
            sum += image.rgb[(static_cast<size_t>(v) * image.width_px + u) * 3 + c];
          }
        }
        mean.rgb.push_back(static_cast<uint8_t>((sum + count / 2) / count));
      }
    }
  }
  return mean;
}

Image Reduced(const std::string& name, int smallest_side_px) {
  const auto image = DecodeImage(ReadGolden(name), ImageLimits(), smallest_side_px);
  EXPECT_TRUE(image.ok()) << image.status();
  return image.ok() ? *image : Image();
}

// The files have 26x18 px.
TEST(ReducedDecodeTest, AJpegHasTheLargestFractionThatKeepsTheSide) {
  const struct {
    int smallest_side_px, width_px, height_px;
  } cases[] = {{19, 26, 18}, {18, 26, 18}, {10, 26, 18}, {9, 13, 9}, {5, 13, 9},
               {4, 7, 5},    {3, 7, 5},    {2, 4, 3},    {1, 4, 3}};
  for (const auto& want : cases) {
    for (const char* name : {"baseline.jpg", "progressive.jpg", "grey.jpg", "cmyk.jpg"}) {
      const Image image = Reduced(name, want.smallest_side_px);
      EXPECT_EQ(image.width_px, want.width_px) << name << " to " << want.smallest_side_px;
      EXPECT_EQ(image.height_px, want.height_px) << name << " to " << want.smallest_side_px;
      EXPECT_EQ(image.rgb.size(), size_t{3} * want.width_px * want.height_px);
    }
  }
}

TEST(ReducedDecodeTest, TheShorterSideIsNeverBelowWhatWasAskedFor) {
  for (int side = 1; side <= 18; ++side) {
    const Image image = Reduced("baseline.jpg", side);
    EXPECT_GE(std::min(image.width_px, image.height_px), side);
  }
}

TEST(ReducedDecodeTest, ZeroAndNegativeMeanWhole) {
  for (const int side : {0, -1}) {
    const Image image = Reduced("baseline.jpg", side);
    EXPECT_EQ(image.width_px, 26);
    EXPECT_LE(MaxDifference(image, ReadGoldenPpm("baseline.jpg.ppm")), 1) << side;
  }
}

// The goldens are gentle, but the low frequencies of a block are not quite its mean: measured 2, 3 and 5 of 255.
TEST(ReducedDecodeTest, AReducedJpegIsAboutTheAreaMean) {
  for (const char* name : {"baseline.jpg", "progressive.jpg", "full_chroma.jpg", "grey.jpg"}) {
    const Image whole = ReadGoldenPpm(std::string(name) + ".ppm");
    const struct {
      int side_px, step, tolerance;
    } cases[] = {{9, 2, 3}, {4, 4, 4}, {2, 8, 6}};
    for (const auto& c : cases) {
      const Image image = Reduced(name, c.side_px), want = AreaMean(whole, c.step);
      ASSERT_EQ(image.rgb.size(), want.rgb.size()) << name;
      EXPECT_LE(MaxDifference(image, want), c.tolerance) << name << " by " << c.step;
    }
  }
}

TEST(ReducedDecodeTest, ExifOrientationIsStillApplied) {
  for (int orientation = 1; orientation <= 8; ++orientation) {
    const std::string name = "exif_" + std::to_string(orientation) + ".jpg";
    const Image image = Reduced(name, 9), want = AreaMean(ReadGoldenPpm(name + ".ppm"), 2);
    ASSERT_EQ(image.width_px, want.width_px) << name;
    ASSERT_EQ(image.height_px, want.height_px) << name;
    EXPECT_LE(MaxDifference(image, want), 3) << name;
  }
}

TEST(ReducedDecodeTest, OtherFormatsAreUnaffected) {
  for (const char* name : {"rgb.png", "lossless.webp", "rgb.bmp"}) {
    EXPECT_EQ(Reduced(name, 1).rgb, ReadGoldenPpm(std::string(name) + ".ppm").rgb) << name;
  }
}

TEST(ReducedDecodeTest, LimitsAndDamageAreOfTheWholeFile) {
  ImageLimits limits;
  limits.max_side_px = 25;
  EXPECT_EQ(DecodeImage(ReadGolden("baseline.jpg"), limits, 1).status().message(),
            "image: got 26x18 px, want sides of at most 25");
  std::string bytes = ReadGolden("baseline.jpg");
  bytes.resize(bytes.size() * 2 / 3);
  EXPECT_THAT(DecodeImage(bytes, ImageLimits(), 1).status().message(), HasSubstr("got a truncated"));
}

TEST(ImageLimitsTest, DefaultsAreValidAndEachFieldIsChecked) {
  EXPECT_TRUE(ImageLimits().Validate().ok());
  ImageLimits limits;
  limits.max_bytes = 0;
  EXPECT_EQ(limits.Validate().message(), "max_bytes: got 0, want 1 to 2147483647");
  limits = ImageLimits();
  limits.max_pixels = (int64_t{1} << 30) + 1;
  EXPECT_THAT(limits.Validate().message(), HasSubstr("max_pixels: got 1073741825"));
  limits = ImageLimits();
  limits.max_side_px = -1;
  EXPECT_THAT(limits.Validate().message(), HasSubstr("max_side_px: got -1"));
}

std::string JpegWithTiff(const std::string& tiff) {
  std::string segment = std::string("Exif\0\0", 6) + tiff;
  segment = std::string("\xff\xe1\0", 3) + static_cast<char>(segment.size() + 2) + segment;
  return "\xff\xd8" + segment + "\xff\xd9";
}

TEST(ReadExifOrientationTest, ReadsBothByteOrders) {
  const std::string big("MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0", 22);
  const std::string little("II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x05\0\0\0", 22);
  EXPECT_EQ(ReadExifOrientation(JpegWithTiff(big), ImageFormat::kJpeg), 6);
  EXPECT_EQ(ReadExifOrientation(JpegWithTiff(little), ImageFormat::kJpeg), 5);
}

TEST(ReadExifOrientationTest, BrokenExifMeansAsStored) {
  const std::string good("MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0", 22);
  for (size_t size = 0; size < 20; ++size) {
    EXPECT_EQ(ReadExifOrientation(JpegWithTiff(good.substr(0, size)), ImageFormat::kJpeg), 1) << size;
  }
  std::string out_of_range = good;
  out_of_range[19] = 9;
  EXPECT_EQ(ReadExifOrientation(JpegWithTiff(out_of_range), ImageFormat::kJpeg), 1);
  std::string far_directory = good;
  far_directory[4] = '\xff';
  EXPECT_EQ(ReadExifOrientation(JpegWithTiff(far_directory), ImageFormat::kJpeg), 1);
}

TEST(ApplyExifOrientationTest, SixTurnsClockwise) {
  Image image;  // A B over C D, as grey values
  image.width_px = 2;
  image.height_px = 2;
  for (const uint8_t value : {1, 2, 3, 4}) image.rgb.insert(image.rgb.end(), 3, value);
  const Image turned = ApplyExifOrientation(std::move(image), 6);
  EXPECT_EQ(turned.rgb, (std::vector<uint8_t>{3, 3, 3, 1, 1, 1, 4, 4, 4, 2, 2, 2}));
}

}  // namespace
}  // namespace graft

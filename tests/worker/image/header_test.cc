#include "worker/image/header.h"

#include <cstddef>
#include <initializer_list>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/worker/image/test_images.h"

namespace graft {
namespace {

using ::testing::HasSubstr;

constexpr char kUnknown[] = "image: got an unknown format, want JPEG, PNG, WebP or BMP";

std::string Bytes(std::initializer_list<int> values) {
  std::string bytes;
  for (const int value : values) bytes.push_back(static_cast<char>(value));
  return bytes;
}

struct Sample {
  std::string name;
  ImageFormat format;
};

std::vector<Sample> Samples() {
  return {{"baseline.jpg", ImageFormat::kJpeg},  {"progressive.jpg", ImageFormat::kJpeg},
          {"exif_6.jpg", ImageFormat::kJpeg},    {"cmyk.jpg", ImageFormat::kJpeg},
          {"rgb.png", ImageFormat::kPng},        {"palette.png", ImageFormat::kPng},
          {"lossy.webp", ImageFormat::kWebp},    {"lossless.webp", ImageFormat::kWebp},
          {"exif_8.webp", ImageFormat::kWebp},   {"rgb.bmp", ImageFormat::kBmp},
          {"bilevel.bmp", ImageFormat::kBmp}};
}

TEST(ReadImageHeaderTest, GivesFormatAndStoredSides) {
  for (const Sample& sample : Samples()) {
    const auto info = ReadImageHeader(ReadGolden(sample.name));
    ASSERT_TRUE(info.ok()) << sample.name << ": " << info.status();
    EXPECT_EQ(info->format, sample.format) << sample.name;
    EXPECT_EQ(info->width_px, 26) << sample.name;
    EXPECT_EQ(info->height_px, 18) << sample.name;
  }
}

TEST(ReadImageHeaderTest, ReadsBothSidesOfLargeNumbers) {
  const auto jpeg = ReadImageHeader(Bytes({0xff, 0xd8, 0xff, 0xc0, 0, 8, 8, 0x12, 0x34, 0x56, 0x78, 3}));
  ASSERT_TRUE(jpeg.ok()) << jpeg.status();
  EXPECT_EQ(jpeg->height_px, 0x1234);
  EXPECT_EQ(jpeg->width_px, 0x5678);

  const auto extended = ReadImageHeader("RIFF" + Bytes({22, 0, 0, 0}) + "WEBPVP8X" + Bytes({10, 0, 0, 0, 0, 0, 0, 0}) +
                                        Bytes({0xff, 0x01, 0x02, 0xff, 0x03, 0x00}));
  ASSERT_TRUE(extended.ok()) << extended.status();
  EXPECT_EQ(extended->width_px, 0x0201ff + 1);
  EXPECT_EQ(extended->height_px, 0x0003ff + 1);
}

TEST(ReadImageHeaderTest, BmpWithRowsFromTheTopHasPositiveHeight) {
  std::string bmp = ReadGolden("rgb.bmp");
  bmp.replace(22, 4, Bytes({0xee, 0xff, 0xff, 0xff}));  // -18
  const auto info = ReadImageHeader(bmp);
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->height_px, 18);
}

TEST(ReadImageHeaderTest, UnknownFormatNamesWhatIsWanted) {
  for (const std::string& bytes : {std::string(), std::string("GIF89a"), std::string("RIFF1234WAVE"),
                                   std::string("RIFF"), Bytes({0xff, 0xd8}), std::string(64, '\0')}) {
    const absl::Status status = ReadImageHeader(bytes).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(status.message(), kUnknown);
  }
}

TEST(ReadImageHeaderTest, EveryShorterFileIsAnErrorOrTheSameHeader) {
  for (const Sample& sample : Samples()) {
    const std::string bytes = ReadGolden(sample.name);
    for (size_t size = 0; size < bytes.size(); ++size) {
      const auto info = ReadImageHeader(absl::string_view(bytes).substr(0, size));
      if (info.ok()) {
        EXPECT_EQ(info->width_px, 26) << sample.name << " cut to " << size;
        EXPECT_EQ(info->height_px, 18) << sample.name << " cut to " << size;
      } else {
        EXPECT_EQ(info.status().code(), absl::StatusCode::kInvalidArgument) << sample.name;
      }
    }
  }
}

TEST(ReadImageHeaderTest, TruncatedHeaderSaysSo) {
  EXPECT_THAT(ReadImageHeader(ReadGolden("baseline.jpg").substr(0, 40)).status().message(),
              HasSubstr("got a truncated JPEG"));
  EXPECT_THAT(ReadImageHeader(ReadGolden("rgb.png").substr(0, 20)).status().message(),
              HasSubstr("got a truncated PNG"));
  EXPECT_THAT(ReadImageHeader(ReadGolden("lossy.webp").substr(0, 24)).status().message(),
              HasSubstr("got a truncated WebP"));
  EXPECT_THAT(ReadImageHeader(ReadGolden("rgb.bmp").substr(0, 20)).status().message(),
              HasSubstr("got a truncated BMP"));
}

TEST(ReadImageHeaderTest, MalformedHeaderSaysSo) {
  std::string png = ReadGolden("rgb.png");
  png.replace(16, 4, Bytes({0, 0, 0, 0}));  // no width
  EXPECT_THAT(ReadImageHeader(png).status().message(), HasSubstr("got a malformed PNG"));

  std::string webp = ReadGolden("lossy.webp");
  webp[23] = 0;  // the start code
  EXPECT_THAT(ReadImageHeader(webp).status().message(), HasSubstr("got a malformed WebP"));

  std::string bmp = ReadGolden("rgb.bmp");
  bmp[14] = 13;  // a header size that no version has
  EXPECT_THAT(ReadImageHeader(bmp).status().message(), HasSubstr("got a malformed BMP"));

  const std::string jpeg = Bytes({0xff, 0xd8, 0xff, 0xda, 0, 2, 0xff, 0xd9});  // a scan before any frame
  EXPECT_THAT(ReadImageHeader(jpeg).status().message(), HasSubstr("got a malformed JPEG"));
}

TEST(ReadImageHeaderTest, AnimatedWebpIsRefused) {
  EXPECT_THAT(ReadImageHeader(ReadGolden("animated.webp")).status().message(), HasSubstr("got an animated WebP"));
}

TEST(CheckCompleteTest, WholeFilesPassAndTrailingBytesAreAllowed) {
  for (const Sample& sample : Samples()) {
    const std::string bytes = ReadGolden(sample.name);
    EXPECT_TRUE(CheckComplete(bytes, sample.format).ok()) << sample.name;
    EXPECT_TRUE(CheckComplete(bytes + "trailing", sample.format).ok()) << sample.name;
  }
}

TEST(CheckCompleteTest, EveryShorterFileIsTruncated) {
  for (const Sample& sample : Samples()) {
    const std::string bytes = ReadGolden(sample.name);
    for (size_t size = 30; size < bytes.size(); ++size) {
      const absl::Status status = CheckComplete(absl::string_view(bytes).substr(0, size), sample.format);
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << sample.name << " cut to " << size;
      EXPECT_THAT(status.message(), HasSubstr("got a truncated ")) << sample.name << " cut to " << size;
    }
  }
}

TEST(CheckCompleteTest, EndMarkerOfAnEmbeddedThumbnailDoesNotCount) {
  std::string jpeg = ReadGolden("baseline.jpg");
  jpeg.insert(2, Bytes({0xff, 0xe1, 0, 6, 0xff, 0xd8, 0xff, 0xd9}));
  EXPECT_TRUE(CheckComplete(jpeg, ImageFormat::kJpeg).ok());
  jpeg.resize(jpeg.size() - 2);
  EXPECT_THAT(CheckComplete(jpeg, ImageFormat::kJpeg).message(), HasSubstr("got a truncated JPEG"));
}

TEST(CheckCompleteTest, JpegWithoutScanIsMalformed) {
  EXPECT_THAT(CheckComplete(Bytes({0xff, 0xd8, 0xff, 0xd9}), ImageFormat::kJpeg).message(),
              HasSubstr("got a malformed JPEG"));
}

TEST(CheckCompleteTest, JpegOfTooManyScansIsRefused) {
  std::string jpeg = Bytes({0xff, 0xd8});
  for (int i = 0; i < 101; ++i) jpeg += Bytes({0xff, 0xda, 0, 2});
  jpeg += Bytes({0xff, 0xd9});
  EXPECT_THAT(CheckComplete(jpeg, ImageFormat::kJpeg).message(), HasSubstr("more than 100 scans"));
}

TEST(CheckCompleteTest, OversizedPngChunkIsMalformed) {
  std::string png = ReadGolden("rgb.png");
  png[8] = '\xff';
  EXPECT_THAT(CheckComplete(png, ImageFormat::kPng).message(), HasSubstr("got a malformed PNG"));
}

}  // namespace
}  // namespace graft

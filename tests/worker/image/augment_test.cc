#include "worker/image/augment.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/worker/image/augment_golden.h"
#include "worker/image/color.h"
#include "worker/image/resize.h"

namespace graft {
namespace {

constexpr uint64_t kSeeds = 2000;

PreprocessSpec Small(int crop_px = 16) {
  PreprocessSpec spec;
  spec.resize_px = crop_px + 4;
  spec.crop_px = crop_px;
  return spec;
}

std::vector<float> View(const Image& image, const AugmentSpec& spec, uint64_t seed, const PreprocessSpec& how) {
  std::vector<float> out(static_cast<size_t>(3 * how.crop_px * how.crop_px), -100.0f);
  Augment(image, spec, how, seed, out.data());
  return out;
}

// A view of a picture of 16 x 16 that is not resized, as bytes: what the steps after the crop do.
std::vector<uint8_t> Bytes(const AugmentSpec& spec, uint64_t seed, const Image& image = Noise(16, 16)) {
  PreprocessSpec how = Small();
  how.resize_px = how.crop_px;
  how.mean = {0, 0, 0};
  how.std = {1, 1, 1};
  std::vector<uint8_t> bytes;
  for (const float value : View(image, spec, seed, how)) {
    bytes.push_back(static_cast<uint8_t>(std::lround(value * 255)));
  }
  return bytes;
}

std::vector<uint8_t> Flipped(bool horizontally, bool vertically) {
  const Image noise = Noise(16, 16);
  std::vector<uint8_t> flipped;
  for (size_t y = 0; y < 16; ++y) {
    for (size_t x = 0; x < 16; ++x) {
      const size_t from = (vertically ? 15 - y : y) * 16 + (horizontally ? 15 - x : x);
      flipped.insert(flipped.end(), noise.rgb.begin() + static_cast<ptrdiff_t>(3 * from),
                     noise.rgb.begin() + static_cast<ptrdiff_t>(3 * from + 3));
    }
  }
  return flipped;
}

AugmentSpec Everything() {
  AugmentSpec spec = *AugmentPreset("keras");
  spec.crop_scale_min = 0.3;
  spec.crop_ratio = 1.5;
  spec.vertical_flip = 0.5;
  spec.brightness = spec.contrast = spec.saturation = 0.4;
  spec.hue = 0.1;
  spec.grey = 0.2;
  spec.erase = 0.5;
  spec.rand_augment_ops = 2;
  return spec;
}

TEST(AugmentTest, NothingOnIsPreprocess) {
  PreprocessSpec how = Small();
  for (const int resize_px : {20, 9}) {  // 9 is padded
    how.resize_px = resize_px;
    for (const auto& [width, height] : {std::pair{40, 23}, {7, 90}, {16, 16}}) {
      const Image image = Noise(width, height);
      std::vector<float> want(3 * 16 * 16);
      Preprocess(image, how, want.data());
      const std::vector<float> got = View(image, AugmentSpec(), 7, how);
      EXPECT_EQ(std::memcmp(got.data(), want.data(), want.size() * sizeof(float)), 0) << width << "x" << height;
    }
  }
}

TEST(AugmentTest, SameSeedSameViewOnEveryThread) {
  const Image image = Noise(50, 40);
  std::vector<std::vector<float>> views(4);
  std::vector<std::thread> threads;
  for (std::vector<float>& view : views) {
    threads.emplace_back([&] { view = View(image, Everything(), 11, Small()); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::vector<float>& view : views) EXPECT_EQ(view, views.front());
}

TEST(AugmentTest, SeedsGiveDifferentViews) {
  std::set<std::vector<float>> views;
  for (uint64_t seed = 0; seed < 100; ++seed) views.insert(View(Noise(50, 40), Everything(), seed, Small()));
  EXPECT_EQ(views.size(), 100u);
}

TEST(AugmentTest, FlipsAreHalfOfTheViewsAndMirrorThem) {
  AugmentSpec spec;
  spec.horizontal_flip = spec.vertical_flip = 0.5;
  int count[2][2] = {};
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    const std::vector<uint8_t> bytes = Bytes(spec, seed);
    for (const bool horizontally : {false, true}) {
      for (const bool vertically : {false, true}) {
        if (bytes == Flipped(horizontally, vertically)) ++count[horizontally][vertically];
      }
    }
  }
  EXPECT_EQ(count[0][0] + count[0][1] + count[1][0] + count[1][1], static_cast<int>(kSeeds));
  // Each a quarter; 97 is five standard deviations.
  for (const bool horizontally : {false, true}) {
    for (const bool vertically : {false, true}) EXPECT_NEAR(count[horizontally][vertically], 500, 97);
  }
}

TEST(AugmentTest, ChanceOneIsAlways) {
  AugmentSpec spec;
  spec.vertical_flip = 1;
  for (uint64_t seed = 0; seed < 50; ++seed) EXPECT_EQ(Bytes(spec, seed), Flipped(false, true));
}

TEST(AugmentTest, SwitchingOneStepOnLeavesTheOthersDraws) {
  AugmentSpec flip;
  flip.horizontal_flip = 0.5;
  AugmentSpec both = flip;
  both.erase = 1;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const std::vector<uint8_t> plain = Bytes(flip, seed), erased = Bytes(both, seed);
    for (size_t i = 0; i < plain.size(); ++i) EXPECT_TRUE(erased[i] == plain[i] || erased[i] == 0) << seed;
  }
}

TEST(AugmentTest, CropIsCutBeforeItIsResized) {
  AugmentSpec spec;
  spec.crop_scale_min = spec.crop_scale_max = 0.3;
  spec.crop_ratio = 1.2;
  const Image image = Noise(30, 22);
  PreprocessSpec how = Small();
  how.interpolation = Interpolation::kBicubic;
  std::set<std::vector<float>> possible;  // every crop of this size range, as PIL's crop().resize() has it
  for (int width = 10; width <= 18; ++width) {
    for (int height = 10; height <= 18; ++height) {
      if (std::abs(width * height - 198) > 18) continue;
      for (int left = 0; left + width <= 30; ++left) {
        for (int top = 0; top + height <= 22; ++top) {
          Image part;
          part.width_px = width;
          part.height_px = height;
          for (int y = top; y < top + height; ++y) {
            const auto row = image.rgb.begin() + 3 * (y * 30 + left);
            part.rgb.insert(part.rgb.end(), row, row + 3 * width);
          }
          const Image resized = ResizeAndCrop(part, {16, 16, 0, 0, 16, 16}, Interpolation::kBicubic);
          PreprocessSpec same = how;
          same.resize_px = same.crop_px;
          std::vector<float> out(3 * 16 * 16);
          Preprocess(resized, same, out.data());
          possible.insert(out);
        }
      }
    }
  }
  for (uint64_t seed = 0; seed < 20; ++seed) EXPECT_EQ(possible.count(View(image, spec, seed, how)), 1u) << seed;
}

TEST(AugmentTest, TheWholeAreaIsNoCropWhateverTheRatio) {
  AugmentSpec whole = *AugmentPreset("light");
  whole.crop_scale_min = 1;
  const AugmentSpec flip = *AugmentPreset("flip");
  const Image image = Noise(40, 23);
  for (uint64_t seed = 0; seed < 20; ++seed) {
    EXPECT_EQ(View(image, whole, seed, Small()), View(image, flip, seed, Small())) << seed;
  }
}

TEST(AugmentTest, RotationIsAppliedOnceWithTheEdgeRepeated) {
  AugmentSpec spec;
  spec.rotation_degrees = 40;
  spec.zoom = 0.2;
  Image white;
  white.width_px = white.height_px = 16;
  white.rgb.assign(3 * 16 * 16, 255);
  PreprocessSpec how = Small();
  how.mean = {0, 0, 0};
  how.std = {1, 1, 1};
  EXPECT_EQ(View(white, spec, 3, how), std::vector<float>(3 * 16 * 16, 1.0f));
  EXPECT_NE(Bytes(spec, 3), Noise(16, 16).rgb);
}

TEST(AugmentTest, HueAndSaturationLeaveGreysAndChangeColors) {
  Image grey = Noise(16, 16);
  MakeGrey(&grey);
  for (const auto& [field, changes_greys] : {std::pair{&AugmentSpec::brightness, true}, {&AugmentSpec::contrast, true},
                                             {&AugmentSpec::saturation, false}, {&AugmentSpec::hue, false}}) {
    AugmentSpec spec;
    spec.*field = 0.4;
    EXPECT_NE(Bytes(spec, 5), Noise(16, 16).rgb);
    EXPECT_EQ(Bytes(spec, 5, grey) != grey.rgb, changes_greys);
  }
}

// Half 155, half 255. At the most 1.5 of brightness, only a contrast before it brings both to 255. A contrast of 0.5 or
// more after it leaves a spread that shrank beyond that factor only where brightness had clipped before.
TEST(AugmentTest, JitterComesInEitherOrder) {
  AugmentSpec spec;
  spec.brightness = spec.contrast = 0.5;
  Image image = Noise(16, 16);
  for (size_t i = 0; i < image.rgb.size(); ++i) image.rgb[i] = i < image.rgb.size() / 2 ? 155 : 255;
  int contrast_first = 0, brightness_first = 0;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    const std::vector<uint8_t> bytes = Bytes(spec, seed, image);
    const int low = bytes.front(), high = bytes.back();
    if (low == 255 && high == 255) ++contrast_first;
    if (high < 250 && (high - low) * 205 < 0.4 * 100 * (high + low) / 2.0) ++brightness_first;
  }
  EXPECT_GT(contrast_first, 0);
  EXPECT_GT(brightness_first, 0);
}

TEST(AugmentTest, BrightnessFactorsFillTheirRange) {
  AugmentSpec spec;
  spec.brightness = 0.5;
  const size_t at = 300;  // the byte whose factor is read
  const double value = Noise(16, 16).rgb[at];
  ASSERT_GT(value, 50);
  ASSERT_LT(value, 160);  // so that 1.5 does not clip
  double low = 9, high = 0, sum = 0;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    const double factor = Bytes(spec, seed)[at] / value;
    low = std::min(low, factor);
    high = std::max(high, factor);
    sum += factor;
  }
  EXPECT_NEAR(low, 0.5, 0.02);
  EXPECT_NEAR(high, 1.5, 0.02);
  EXPECT_NEAR(sum / kSeeds, 1.0, 0.04);
}

TEST(AugmentTest, GreyHasEqualChannels) {
  AugmentSpec spec;
  spec.grey = 1;
  Image want = Noise(16, 16);
  MakeGrey(&want);
  EXPECT_EQ(Bytes(spec, 5), want.rgb);
}

TEST(AugmentTest, ErasedPartIsTheMean) {
  AugmentSpec spec;
  spec.erase = 0.5;
  const PreprocessSpec how = Small(32);
  const Image image = Noise(40, 40);
  const std::vector<float> plain = View(image, AugmentSpec(), 0, how);
  int erased_views = 0;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    const std::vector<float> view = View(image, spec, seed, how);
    int changed = 0;
    for (size_t i = 0; i < view.size(); ++i) {
      if (view[i] == plain[i]) continue;
      ++changed;
      ASSERT_EQ(view[i], 0.0f);
    }
    if (changed == 0) continue;
    ++erased_views;
    EXPECT_GE(changed / 3, 15);   // 0.02 of 1024 is 20.5, sides rounded
    EXPECT_LE(changed / 3, 355);  // 0.33 is 338
  }
  EXPECT_NEAR(erased_views, 1000, 112);  // five standard deviations
}

TEST(AugmentTest, TrivialAndRandAugmentChangeThePicture) {
  AugmentSpec trivial, rand;
  trivial.trivial_augment = true;
  rand.rand_augment_ops = 2;
  std::set<std::vector<uint8_t>> trivials, rands;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    trivials.insert(Bytes(trivial, seed));
    rands.insert(Bytes(rand, seed));
  }
  EXPECT_GT(trivials.size(), 100u);
  EXPECT_GT(rands.size(), 100u);
}

TEST(AugmentTest, OnePixelPicturesSurviveEverything) {
  for (const std::string& name : AugmentPresetNames()) {
    for (uint64_t seed = 0; seed < 50; ++seed) {
      for (const float value : View(Noise(1, 1), *AugmentPreset(name), seed, Small(1))) {
        ASSERT_TRUE(std::isfinite(value));
        ASSERT_NE(value, -100.0f);
      }
    }
  }
}

// Golden: the formula of the header, in Python. Another number would give every resumed job other views.
TEST(ViewSeedTest, IsTheSameInEveryVersion) { EXPECT_EQ(ViewSeed(1, "a", 2), 8798628151115068418u); }

TEST(ViewSeedTest, EveryArgumentMatters) {
  std::set<uint64_t> seeds;
  for (uint64_t seed = 0; seed < 10; ++seed) {
    for (const char* id : {"", "a", "b", "ab", "ba"}) {
      for (int64_t view = 0; view < 20; ++view) seeds.insert(ViewSeed(seed, id, view));
    }
  }
  EXPECT_EQ(seeds.size(), 1000u);
}

}  // namespace
}  // namespace graft

#include "worker/image/auto_augment.h"

#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/worker/image/augment_golden.h"
#include "worker/image/color.h"

namespace graft {
namespace {

using Op = AutoAugmentOp;
constexpr AutoAugmentSpace kRand = AutoAugmentSpace::kRandAugment;
constexpr AutoAugmentSpace kWide = AutoAugmentSpace::kTrivialAugmentWide;

struct OpCase {
  Op op;
  AutoAugmentSpace space;
  int bin;
  int sign;
  std::string want;
};

// Golden: torchvision 0.14.1, autoaugment.py, _augmentation_space and _apply_op with BILINEAR of Noise(20, 16) as a
// PIL image: every 23rd pixel. Tolerance 1 level: Pillow's geometry cuts off where we round, and magnitudes are float32
// there.
TEST(AutoAugmentTest, EqualsTorchvision) {
  const std::vector<OpCase> cases = {
      {Op::kShearX, kRand, 23, 1,
       "0157d406187c604a88559a2fa1e279b64a4a76277ee296214133a352b0c46fcc441bad81b56874000000"},
      {Op::kShearY, kWide, 8, -1,
       "005dd488311275e8bebca883957c149b9fd26bd745528032184a1e950698535a959687816a8219967af6"},
      {Op::kTranslateX, kRand, 9, -1,
       "0e5fe51c6c280e4f29032f5217d3cf61068d000000ea961d4e2bc644b8ff3292b705daa782274e000000"},
      {Op::kTranslateY, kWide, 5, 1,
       "0000000000000000000000000000002dcdc673e0470fd8a56c232b395e51067aef0f082bfb2117a58ef9"},
      {Op::kRotate, kRand, 9, 1,
       "00000020e95492495f5e8c34797eaf79645c4fa2a8aabf532d56316e7d73c47fc5998f71b18cc46dda4e"},
      {Op::kRotate, kWide, 25, -1,
       "000000000000cad887894a8d7f9c5479935e98cab2aa36ede1fb483ab63f7696b3708a90000000000000"},
      {Op::kBrightness, kRand, 9, -1,
       "00439a04136d1c638980223a3840786202495a0539153403232580a5985e6c11b5a5b934aa066d51819a"},
      {Op::kColor, kWide, 30, 1,
       "006aff0013ff009effff05473e52ebd70091c4006a065b002127fff8d435d000ffe4ff00ff00cf3dc0ff"},
      {Op::kContrast, kRand, 30, 1,
       "0041ff0000ad0092f5de00282437c990004e7c00260019000000deffff85a900ffffff19ff00ad63e0ff"},
      {Op::kSharpness, kWide, 30, -1,
       "005dd4324c9a5a82778c50655359947e53737f4258646f506b53838a91638b56bfa4c350894b9f6fb1d4"},
      {Op::kPosterize, kWide, 21, 1,
       "0050d00010902080b0b020504050a08000607000401040003030b0e0d0809010f0e0f040e0009060b0d0"},
      {Op::kSolarize, kRand, 17, 1,
       "005d2b061b692777434f2f504e585a78046483084f1d480531344f1c2e7e6b18061c0148150969904e2b"},
  };
  for (const OpCase& c : cases) {
    SCOPED_TRACE(static_cast<int>(c.op));
    Image image = Noise(20, 16);
    ApplyAutoAugment(c.op, c.sign * AutoAugmentMagnitude(c.space, c.op, c.bin, image), &image);
    ExpectPixels(image, 23, c.want, 1);
  }
}

TEST(AutoAugmentTest, MagnitudesAreTorchvisions) {
  const Image image = Noise(20, 16);
  EXPECT_DOUBLE_EQ(AutoAugmentMagnitude(kRand, Op::kShearX, 30, image), 0.3);
  EXPECT_DOUBLE_EQ(AutoAugmentMagnitude(kWide, Op::kShearX, 30, image), 0.99);
  EXPECT_DOUBLE_EQ(AutoAugmentMagnitude(kRand, Op::kTranslateX, 30, image), 150.0 / 331 * 20);
  EXPECT_DOUBLE_EQ(AutoAugmentMagnitude(kRand, Op::kTranslateY, 30, image), 150.0 / 331 * 16);
  EXPECT_DOUBLE_EQ(AutoAugmentMagnitude(kWide, Op::kTranslateX, 15, image), 16);
  EXPECT_DOUBLE_EQ(AutoAugmentMagnitude(kRand, Op::kRotate, 30, image), 30);
  EXPECT_DOUBLE_EQ(AutoAugmentMagnitude(kWide, Op::kRotate, 30, image), 135);
  EXPECT_DOUBLE_EQ(AutoAugmentMagnitude(kRand, Op::kColor, 30, image), 0.9);
  EXPECT_DOUBLE_EQ(AutoAugmentMagnitude(kRand, Op::kPosterize, 0, image), 8);
  EXPECT_DOUBLE_EQ(AutoAugmentMagnitude(kRand, Op::kPosterize, 9, image), 7);
  EXPECT_DOUBLE_EQ(AutoAugmentMagnitude(kRand, Op::kPosterize, 30, image), 4);
  EXPECT_DOUBLE_EQ(AutoAugmentMagnitude(kWide, Op::kPosterize, 30, image), 2);
  EXPECT_DOUBLE_EQ(AutoAugmentMagnitude(kRand, Op::kSolarize, 0, image), 255);
  EXPECT_EQ(AutoAugmentMagnitude(kRand, Op::kSolarize, 2, image), 238);  // whole: values of 238 are inverted
  EXPECT_DOUBLE_EQ(AutoAugmentMagnitude(kRand, Op::kEqualize, 30, image), 0);
}

TEST(AutoAugmentTest, OpsWithoutAMagnitude) {
  Image same = Noise(20, 16), stretched = Noise(20, 16), equalized = Noise(20, 16), want = Noise(20, 16);
  ApplyAutoAugment(Op::kIdentity, 0, &same);
  EXPECT_EQ(same.rgb, want.rgb);
  AdjustContrast(0.3, &stretched);
  Image want_stretched = stretched;
  ApplyAutoAugment(Op::kAutoContrast, 0, &stretched);
  AutoContrast(&want_stretched);
  EXPECT_EQ(stretched.rgb, want_stretched.rgb);
  ApplyAutoAugment(Op::kEqualize, 0, &equalized);
  Equalize(&want);
  EXPECT_EQ(equalized.rgb, want.rgb);
}

// Of magnitude 9, each op but identity and autocontrast (the noise has the whole range) has its own result, and signed
// ones have two: 9 * 2 + posterize + solarize + equalize + unchanged.
TEST(RandAugmentTest, EveryOpAndSignIsDrawn) {
  std::set<std::vector<unsigned char>> results;
  for (unsigned seed = 0; seed < 1000; ++seed) {
    Random random(seed);
    Image image = Noise(40, 36);
    RandAugment(1, 9, &random, &image);
    results.insert(image.rgb);
  }
  EXPECT_EQ(results.size(), 22u);
}

TEST(RandAugmentTest, NoOpsLeaveThePicture) {
  Random random(1);
  Image image = Noise(20, 16);
  RandAugment(0, 30, &random, &image);
  EXPECT_EQ(image.rgb, Noise(20, 16).rgb);
}

TEST(TrivialAugmentWideTest, BinsAreDrawn) {
  std::set<std::vector<unsigned char>> results;
  for (unsigned seed = 0; seed < 1000; ++seed) {
    Random random(seed);
    Image image = Noise(40, 36);
    TrivialAugmentWide(&random, &image);
    results.insert(image.rgb);
  }
  EXPECT_GT(results.size(), 300u);  // of 9 * 60 + 30 + 6 + 2
}

}  // namespace
}  // namespace graft

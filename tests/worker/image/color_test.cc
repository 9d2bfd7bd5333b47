#include "worker/image/color.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/worker/image/augment_golden.h"

namespace graft {
namespace {

struct ColorCase {
  const char* name;
  void (*apply)(Image*);
  std::string want;
};

Image Row(const std::vector<uint8_t>& greys) {
  Image image;
  image.width_px = static_cast<int>(greys.size());
  image.height_px = 1;
  for (const uint8_t grey : greys) image.rgb.insert(image.rgb.end(), 3, grey);
  return image;
}

std::vector<uint8_t> Red(const Image& image) {
  std::vector<uint8_t> red;
  for (size_t i = 0; i < image.rgb.size(); i += 3) red.push_back(image.rgb[i]);
  return red;
}

// Golden: torchvision 0.14.1 over Pillow 9.4, functional.adjust_*, to_grayscale, posterize, solarize, autocontrast and
// equalize of Noise(20, 16): every ninth pixel. Equal on x86-64; 1 level is for compilers that fuse multiply and add.
TEST(ColorTest, EqualsPillow) {
  const std::vector<ColorCase> cases = {
      {"brightness 0.6", [](Image* image) { AdjustBrightness(0.6, image); },
       "00377f80936c7849435e393256935231372f22456a27605a2354445f1c51645870302297461e813a035445787864555046200f090419"
       "2564482d3b3f265667641e60071945887d4d8d664c7d2257845d1609491f490f57943c5c2e3c096c3e4504913842041d6b0b0a141e7d"},
      {"brightness 1.7", [](Image* image) { AdjustBrightness(1.7, image); },
       "009effffffffffcfc0ffa38ef4ffea8d9e8662c3ff6effff64efc1ff4fe7fff9ff8962ffc655ffa40aefc3fffffff3e3c85b2c190d49"
       "69ffcd81a8b46cf4ffff55ff1649c5ffffdbffffd7ff62f6ffff4019d158d12af6ffaaff84ab1bffb0c50dff9fbc0d53ff201c3955ff"},
      {"contrast 0.3", [](Image* image) { AdjustContrast(0.3, image); },
       "56729697a08c927b7885737082a0806f726e68798b6a878468817986647f88828e6f68a279659773588179929388817f7a675e5b5963"
       "69887b6d74766a828a8965865a63799a957d9d897c9568829985625b7b667b5e82a074856e755b8d7679599f737859658c5c5b616595"},
      {"contrast 1.9", [](Image* image) { AdjustContrast(1.9, image); },
       "0041ffffffe6ff7867ba4630a2ff962e4126006ae00bc2af009c69be0092cda7f32a00ff6e00ff48009c6affffcda08f700000000000"
       "06cd76204c590aa2d7cf00c000006cffff85ffd381ff00a3ffb800007a007a00a3ff4eb5245000e8566c00ff43630000e400000000ff"},
      {"saturation 0.25", [](Image* image) { AdjustSaturation(0.25, image); },
       "3b5270e0e8d89e8a887c6c69bcd5ba5659555d6b7b728a886378716c5066a09ba5554f80604f783d2648a0b5b599939152423b0e0c15"
       "718b7f585e606c8087735671222a3cd2cebac5b5aa896379b0a083425d4b513957ae89975258438d7a7d77b18c3c222c5f3736373b63"},
      {"saturation 1.8", [](Image* image) { AdjustSaturation(1.8, image); },
       "0068ffcaff8df46858c0523c60ff564f6147147bea0cb9a70fa372d50bacae8ad24c22ff8b12ff8700d643dcddb58a7a9c29000f0342"
       "07c4713e677410a0d3e00bd1002baff4d444ff9e50ff0eaaff9700009b1ba700ceff3c9d497200df546a00ff2ca50035ff00000a27ff"},
      {"sharpness 0", [](Image* image) { AdjustSharpness(0, image); },
       "005dd4d6f5b4c87a717c7d828bae8f59676a4c71b6688a9e5880828c668a8f7f75513afc795b93664d7e729883a7787f876a3070467a"
       "80916571618e4090ac855e8b3e57a28a9163949a89915982a8aa4f5b656280757fa66e856f7c66b5687467ab8475555bb313112232d1"},
      {"sharpness 1.9", [](Image* image) { AdjustSharpness(1.9, image); },
       "005dd4d6f5b4c87a71ba452a94ff854d54362974ac1db590209863b00086bca5fa513afc710dff5c009a73f3ffa7a38c660706000000"
       "02ba8b2a64494090acc70ab200034affff9cffb876ff1e9eff8f01008e0a7600a1ff5bac305000b5687400ff3b69000bb313112232d1"},
      {"hue 0.2", [](Image* image) { AdjustHue(0.2, image); },
       "a000d4b5f5dfafc872849d548be8f64f5d5c8e3ab14a41a13b478d9f592fbb93a0fc3abed833758d06198373c998a7864a761a2b081d"
       "3e59a7594c6a7040aca84e32690d7481e381adeb7fd1933a44dd260f427b911919f7da65106538b4b5680971f36f580893b312d122bf"},
      {"hue -0.45", [](Image* image) { AdjustHue(-0.45, image); },
       "d4b900e8b5f572a2c8547a9df68bd95d4f5db19c3aa155418d3b3b2f9f699bbb93a8fc3a61d833098d06c98d738693a71a3d76192b08"
       "a73e4b6a5c4cac7d4032a85e73740d8f81e37f9eeb3ad1a8262add7b0f3319912765f7ee44106568a9b5f30950086f67127cb3aad122"},
      {"grey", [](Image* image) { MakeGrey(image); },
       "4f4f4fe4e4e4909090717171cbcbcb5858586969698383837171715b5b5b9e9e9e575757595959313131afafaf9595954646460e0e0e"
       "8282825d5d5d7b7b7b6262622a2a2acdcdcdb9b9b9717171a2a2a25353534444449696965454548080809c9c9c2b2b2b4343433f3f3f"},
      {"posterize 3", [](Image* image) { Posterize(3, image); },
       "0040c0c0e0a0c0606080604080e0804040402060a040a080208060802080a080a04020e06020c060008060c0c0a08080602000000020"
       "20a0604060604080a0a020a0002060e0c080e0a060c02080c08020006020600080e06080406000a0606000e040600020a000002020c0"},
      {"solarize 110.5", [](Image* image) { Solarize(110.5, image); },
       "005d2b290a4b37858e6260546f0975535d4f3a8c4e415e683b728d602f77586c44513a038a32276106728c373658707989361a0f082b"
       "3e58864c636a406f5357325f0d2b8b1c2e7e1455802e3a6e2263260f843484196e0864654e65104a688b080c5e9008314c131122322e"},
      {"equalize", [](Image* image) { Equalize(image); },
       "007affffffd9ff9c8dc7806abaffab757a604f94d85fd0b852b28ec93ea9d5bce07457ff9647ff8409ae93fff3d5b7a6974f1d1d0d35"
       "58d59a6e82855bb8cfdb47c5133792ffffa1ffd9a0ff57b1ffcb2f1da03d9d23b1ff85be708714eb8b920eff748f0d3ae81b153647fc"},
      {"autocontrast of contrast 0.3",
       [](Image* image) {
         AdjustContrast(0.3, image);
         AutoContrast(image);
       },
       "005ad3d7f4b1c6786e9b5d5391f489525a4d3b72ae42a1963b8c729e2b86a590b85239fb732ed660038c73c5c9a58c86773517100628"
       "3ea4784c61684290aba82e9d0d2872e1d07feba77cd03990dd9a241078327a1790f5619a4f640db6687209f15d70062eb2100d242ed0"},
  };
  for (const ColorCase& c : cases) {
    SCOPED_TRACE(c.name);
    Image image = Noise(20, 16);
    c.apply(&image);
    ExpectPixels(image, 9, c.want, 1);
  }
}

TEST(ColorTest, FactorOneLeavesThePicture) {
  for (const auto adjust : {AdjustBrightness, AdjustContrast, AdjustSaturation, AdjustSharpness}) {
    Image image = Noise(20, 16);
    adjust(1.0, &image);
    EXPECT_EQ(image.rgb, Noise(20, 16).rgb);
  }
}

TEST(ColorTest, SharpnessLeavesTheOutermostPixels) {
  Image image = Noise(7, 5);
  const Image before = image;
  AdjustSharpness(0, &image);
  for (size_t y = 0; y < 5; ++y) {
    for (size_t x = 0; x < 7; ++x) {
      const size_t at = 3 * (y * 7 + x);
      const bool inside = x > 0 && x < 6 && y > 0 && y < 4;
      EXPECT_EQ(image.rgb[at] == before.rgb[at], !inside) << x << ", " << y;
    }
  }
}

TEST(ColorTest, PicturesTooSmallForTheFilterStay) {
  for (const int side : {1, 2}) {
    Image image = Noise(side, side);
    AdjustSharpness(0, &image);
    EXPECT_EQ(image.rgb, Noise(side, side).rgb);
  }
}

TEST(ColorTest, HueOfGreyStaysGrey) {
  Image image = Row({0, 17, 200, 255});
  AdjustHue(0.3, &image);
  EXPECT_EQ(image.rgb, Row({0, 17, 200, 255}).rgb);
}

TEST(ColorTest, AThirdOfTheCircleTurnsRedIntoGreen) {
  Image image;
  image.width_px = image.height_px = 1;
  image.rgb = {255, 0, 0};
  AdjustHue(1.0 / 3, &image);
  EXPECT_EQ(image.rgb, (std::vector<uint8_t>{0, 255, 0}));
}

TEST(ColorTest, AutoContrastStretchesToTheWholeRange) {
  Image image = Row({50, 100, 150});
  AutoContrast(&image);
  EXPECT_EQ(Red(image), (std::vector<uint8_t>{0, 127, 255}));
}

TEST(ColorTest, OneColorHasNothingToStretchOrEqualize) {
  Image image = Row(std::vector<uint8_t>(600, 50));
  AutoContrast(&image);
  Equalize(&image);
  EXPECT_EQ(Red(image), std::vector<uint8_t>(600, 50));
}

TEST(ColorTest, PosterizeKeepsTheHighBits) {
  for (const auto& [bits, want] : {std::pair<int, uint8_t>{0, 0}, {1, 128}, {4, 0xF0}, {8, 0xFF}}) {
    Image image = Row({255});
    Posterize(bits, &image);
    EXPECT_EQ(Red(image).front(), want) << bits;
  }
}

TEST(ColorTest, SolarizeInvertsFromTheThresholdOn) {
  Image image = Row({99, 100, 255});
  Solarize(100, &image);
  EXPECT_EQ(Red(image), (std::vector<uint8_t>{99, 155, 0}));
}

}  // namespace
}  // namespace graft

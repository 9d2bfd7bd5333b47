#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "worker/backbone/families.h"
#include "worker/backbone/inverted_residual.h"

namespace graft {
namespace {

struct Group {
  int64_t expand_ratio, kernel, stride, in, out;
  int blocks;
};

// Tan and Le 2019, table 1 (B0); the others multiply widths and depths.
constexpr Group kGroups[] = {{1, 3, 1, 32, 16, 1},  {6, 3, 2, 16, 24, 2},   {6, 5, 2, 24, 40, 2}, {6, 3, 2, 40, 80, 3},
                             {6, 5, 1, 80, 112, 3}, {6, 5, 2, 112, 192, 4}, {6, 3, 1, 192, 320, 1}};

struct Variant {
  const char* name;
  double width, depth, dropout;
  int64_t parameter_count;
  double gflops;
  int resize_px, crop_px;  // of torchvision's weights
};

constexpr Variant kVariants[] = {{"efficientnet_b0", 1.0, 1.0, 0.2, 5'288'548, 0.386, 256, 224},
                                 {"efficientnet_b1", 1.0, 1.1, 0.2, 7'794'184, 0.687, 255, 240},
                                 {"efficientnet_b2", 1.1, 1.2, 0.3, 9'109'994, 1.088, 288, 288},
                                 {"efficientnet_b3", 1.2, 1.4, 0.3, 12'233'232, 1.827, 320, 300}};

int64_t Width(const Variant& variant, int64_t channels) {
  return MakeDivisible(static_cast<double>(channels) * variant.width);
}

int Depth(const Variant& variant, const Group& group) {
  return static_cast<int>(std::ceil(group.blocks * variant.depth));
}

InvertedResidualOptions BlockOf(const BuildOptions& build, const Variant& variant, const Group& group, int index) {
  InvertedResidualOptions options;
  options.in = Width(variant, index == 0 ? group.in : group.out);
  options.expanded = MakeDivisible(static_cast<double>(options.in * group.expand_ratio));
  options.out = Width(variant, group.out);
  options.kernel = group.kernel;
  options.stride = index == 0 ? group.stride : 1;
  options.activation = Activation::kSilu;
  options.squeezed = std::max<int64_t>(1, options.in / 4);
  options.squeeze_activation = Activation::kSilu;
  options.layer = ConvFor(build, 0, 0, Activation::kSilu);
  return options;
}

std::vector<StagePtr> Build(const BuildOptions& build, const Variant& variant) {
  ConvOptions stem = ConvFor(build, 3, Width(variant, 32), Activation::kSilu);
  stem.kernel = {3, 3};
  stem.stride = 2;
  std::vector<StagePtr> stages{ConvNormStage(stem)};
  for (const Group& group : kGroups) {
    std::vector<std::pair<std::string, StagePtr>> blocks;
    for (int i = 0; i < Depth(variant, group); ++i) {
      blocks.emplace_back(absl::StrCat(i), InvertedResidual(BlockOf(build, variant, group, i)));
    }
    stages.push_back(Sequence(blocks));
  }
  const int64_t last = Width(variant, 320);
  stages.push_back(ConvNormStage(ConvFor(build, last, 4 * last, Activation::kSilu)));
  stages.push_back(PoolStage());
  return stages;
}

std::map<std::string, std::string> TimmNames(const Variant& variant) {
  std::map<std::string, std::string> names{{"conv_stem", "features.0.0"},
                                           {"bn1", "features.0.1"},
                                           {"conv_head", "features.8.0"},
                                           {"bn2", "features.8.1"},
                                           {"classifier", "classifier.1"}};
  int number = 0;
  for (const Group& group : kGroups) {
    for (int i = 0; i < Depth(variant, group); ++i) {
      AddTimmNames(BlockOf({}, variant, group, i), absl::StrCat("blocks.", number, ".", i),
                   absl::StrCat("features.", number + 1, ".", i), &names);
    }
    ++number;
  }
  return names;
}

Architecture Make(const Variant& variant) {
  Architecture a;
  a.name = variant.name;
  a.paper = "Tan and Le 2019, EfficientNet: Rethinking Model Scaling (arXiv:1905.11946)";
  a.stages = NumberedStages("features", 9);
  a.feature_width = 4 * Width(variant, 320);
  a.has_same_padding = true;
  SetLinearClassifier("classifier.1", &a);
  a.parameter_count = variant.parameter_count;
  a.gflops = variant.gflops;
  a.dropout = variant.dropout;
  a.preprocessing.resize_px = variant.resize_px;
  a.preprocessing.crop_px = variant.crop_px;
  // torchvision's own later weights of B1 are evaluated bilinear, the ones it took from timm bicubic.
  const bool bilinear = a.name == "efficientnet_b1";
  a.preprocessing.interpolation = bilinear ? Interpolation::kBilinear : Interpolation::kBicubic;
  a.build_stages = [&variant](const BuildOptions& build) { return Build(build, variant); };
  a.aliases = TimmNames(variant);
  return a;
}

}  // namespace

std::vector<Architecture> EfficientNet() {
  return MakeEach(kVariants, Make);
}

}  // namespace graft

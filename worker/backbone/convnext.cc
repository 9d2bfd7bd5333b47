#include <torch/torch.h>

#include "absl/strings/str_cat.h"
#include "worker/backbone/blocks.h"
#include "worker/backbone/families.h"

namespace graft {
namespace {

constexpr int64_t kWidths[] = {96, 192, 384, 768};
constexpr double kEpsilon = 1e-6;
constexpr double kLayerScale = 1e-6;  // at the start of training

struct Variant {
  const char* name;
  std::array<int, 4> blocks;
  int64_t parameter_count;
  double gflops;
  int resize_px;
};

// Liu et al. 2022, section 2; resize_px of torchvision's weights.
constexpr Variant kVariants[] = {{"convnext_tiny", {3, 3, 9, 3}, 28'589'128, 4.456, 236},
                                 {"convnext_small", {3, 3, 27, 3}, 50'223'688, 8.684, 230}};

// Layer norm over the channels of [n, c, h, w]; free of copies for channels-last.
at::Tensor OverChannels(const LayerNorm& norm, const at::Tensor& x) {
  return norm(x.permute({0, 2, 3, 1})).permute({0, 3, 1, 2});
}

ConvOptions Layer(int64_t in, int64_t out, int64_t kernel, int64_t stride) {
  ConvOptions options = ConvFor({}, in, out, Activation::kNone);
  options.kernel = {kernel, kernel};
  options.stride = stride;
  options.padding = {0, 0};
  options.bias = true;
  return options;
}

class Stem : public Stage {
 public:
  Stem() : conv_(this, "0", Layer(3, kWidths[0], 4, 4)), norm_(this, "1", kWidths[0], kEpsilon) {}
  at::Tensor Forward(const at::Tensor& x) override { return OverChannels(norm_, conv_(x)); }

 private:
  Conv conv_;
  LayerNorm norm_;
};

class Downsample : public Stage {
 public:
  Downsample(int64_t in, int64_t out) : norm_(this, "0", in, kEpsilon), conv_(this, "1", Layer(in, out, 2, 2)) {}
  at::Tensor Forward(const at::Tensor& x) override { return conv_(OverChannels(norm_, x)); }

 private:
  LayerNorm norm_;
  Conv conv_;
};

ConvOptions Depthwise(int64_t width) {
  ConvOptions options = Layer(width, width, 7, 1);
  options.padding = {3, 3};
  options.groups = width;
  return options;
}

class Block : public Stage {
 public:
  explicit Block(int64_t width)
      : conv_(this, "block.0", Depthwise(width)),
        norm_(this, "block.2", width, kEpsilon),
        expand_(this, "block.3", width, 4 * width),
        project_(this, "block.5", 4 * width, width),
        scale_(this, "layer_scale", at::full({width, 1, 1}, kLayerScale), project_) {}
  at::Tensor Forward(const at::Tensor& x) override {
    at::Tensor y = norm_(conv_(x).permute({0, 2, 3, 1}));         // [n, h, w, c]
    y = project_(Activate(expand_(y), Activation::kGelu));
    return Add(scale_(y).permute({0, 3, 1, 2}), x);
  }

 private:
  Conv conv_;
  LayerNorm norm_;
  Linear expand_, project_;
  LayerScale scale_;
};

class PoolAndNorm : public Stage {
 public:
  PoolAndNorm() : norm_(this, "0", kWidths[3], kEpsilon) {}
  at::Tensor Forward(const at::Tensor& x) override { return norm_(x.mean({2, 3})); }

 private:
  LayerNorm norm_;
};

std::vector<StagePtr> Build(const Variant& variant) {
  std::vector<StagePtr> stages{std::make_shared<Stem>()};
  for (int s = 0; s < 4; ++s) {
    if (s > 0) stages.push_back(std::make_shared<Downsample>(kWidths[s - 1], kWidths[s]));
    std::vector<std::pair<std::string, StagePtr>> blocks;
    for (int i = 0; i < variant.blocks[s]; ++i) {
      blocks.emplace_back(absl::StrCat(i), std::make_shared<Block>(kWidths[s]));
    }
    stages.push_back(Sequence(blocks));
  }
  stages.push_back(std::make_shared<PoolAndNorm>());
  return stages;
}

std::map<std::string, std::string> TimmNames(const Variant& variant) {
  std::map<std::string, std::string> names{{"stem.0", "features.0.0"},
                                           {"stem.1", "features.0.1"},
                                           {"head.norm", "classifier.0"},
                                           {"head.fc", "classifier.2"}};
  for (int s = 0; s < 4; ++s) {
    if (s > 0) {
      for (const char* part : {".0", ".1"}) {
        names.emplace(absl::StrCat("stages.", s, ".downsample", part), absl::StrCat("features.", 2 * s, part));
      }
    }
    for (int i = 0; i < variant.blocks[s]; ++i) {
      const std::string timm = absl::StrCat("stages.", s, ".blocks.", i);
      const std::string ours = absl::StrCat("features.", 2 * s + 1, ".", i);
      names.emplace(timm + ".conv_dw", ours + ".block.0");
      names.emplace(timm + ".norm", ours + ".block.2");
      names.emplace(timm + ".mlp.fc1", ours + ".block.3");
      names.emplace(timm + ".mlp.fc2", ours + ".block.5");
      names.emplace(timm + ".gamma", ours + ".layer_scale");
    }
  }
  return names;
}

Architecture Make(const Variant& variant) {
  Architecture a;
  a.name = variant.name;
  a.paper = "Liu et al. 2022, A ConvNet for the 2020s (arXiv:2201.03545)";
  a.stages = NumberedStages("features", 8);
  a.stages.back().prefix = "classifier";  // torchvision counts the norm after the pooling to the classifier
  a.norm_epsilon = 0;
  a.feature_width = kWidths[3];
  SetLinearClassifier("classifier.2", &a);
  a.parameter_count = variant.parameter_count;
  a.gflops = variant.gflops;
  a.preprocessing.resize_px = variant.resize_px;
  a.build_stages = [&variant](const BuildOptions&) { return Build(variant); };
  a.aliases = TimmNames(variant);
  return a;
}

}  // namespace

std::vector<Architecture> ConvNeXt() {
  return MakeEach(kVariants, Make);
}

}  // namespace graft

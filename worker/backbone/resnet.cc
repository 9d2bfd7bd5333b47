#include <torch/torch.h>

#include <optional>

#include "absl/strings/str_cat.h"
#include "worker/backbone/blocks.h"
#include "worker/backbone/families.h"

namespace graft {
namespace {

struct Variant {
  const char* name;
  std::array<int, 4> blocks;  // of each layer
  bool bottleneck;
  int64_t parameter_count;
  double gflops;
  int resize_px;
};

// He et al. 2015, table 1. resize_px: torchvision's IMAGENET1K_V2 weights where it has them.
constexpr Variant kVariants[] = {{"resnet18", {2, 2, 2, 2}, false, 11'689'512, 1.814, 256},
                                 {"resnet34", {3, 4, 6, 3}, false, 21'797'672, 3.664, 256},
                                 {"resnet50", {3, 4, 6, 3}, true, 25'557'032, 4.089, 232},
                                 {"resnet101", {3, 4, 23, 3}, true, 44'549'160, 7.801, 232},
                                 {"resnet152", {3, 8, 36, 3}, true, 60'192'808, 11.514, 232}};

ConvOptions Layer(const BuildOptions& build, int64_t in, int64_t out, int64_t kernel, int64_t stride,
                  Activation activation) {
  ConvOptions options = ConvFor(build, in, out, activation);
  options.kernel = {kernel, kernel};
  options.stride = stride;
  return options;
}

class Stem : public Stage {
 public:
  explicit Stem(const BuildOptions& build)
      : conv_(this, "conv1", "bn1", Layer(build, 3, 64, 7, 2, Activation::kRelu)) {}
  at::Tensor Forward(const at::Tensor& x) override { return at::max_pool2d(conv_(x), 3, 2, 1); }

 private:
  Conv conv_;
};

// Two 3x3 convolutions, or 1x1, 3x3, 1x1 with a quarter of the width inside; the stride is the (first) 3x3's, as
// torchvision has it ("ResNet V1.5").
class Block : public Stage {
 public:
  Block(const BuildOptions& build, bool bottleneck, int64_t in, int64_t out, int64_t stride) {
    const int64_t inner = bottleneck ? out / 4 : out;
    if (bottleneck) {
      AddLayer("conv1", "bn1", Layer(build, in, inner, 1, 1, Activation::kRelu));
      AddLayer("conv2", "bn2", Layer(build, inner, inner, 3, stride, Activation::kRelu));
      AddLayer("conv3", "bn3", Layer(build, inner, out, 1, 1, Activation::kNone));
    } else {
      AddLayer("conv1", "bn1", Layer(build, in, inner, 3, stride, Activation::kRelu));
      AddLayer("conv2", "bn2", Layer(build, inner, out, 3, 1, Activation::kNone));
    }
    if (stride != 1 || in != out) {
      downsample_.emplace(this, "downsample.0", "downsample.1", Layer(build, in, out, 1, stride, Activation::kNone));
    }
  }
  at::Tensor Forward(const at::Tensor& x) override {
    at::Tensor y = x;
    for (const Conv& conv : convs_) y = conv(y);
    return Activate(graft::Add(y, downsample_ ? (*downsample_)(x) : x), Activation::kRelu);
  }

 private:
  void AddLayer(const std::string& conv, const std::string& norm, const ConvOptions& options) {
    convs_.emplace_back(this, conv, norm, options);
  }

  std::vector<Conv> convs_;
  std::optional<Conv> downsample_;
};

std::vector<StagePtr> Build(const BuildOptions& build, const Variant& variant) {
  std::vector<StagePtr> stages{std::make_shared<Stem>(build)};
  int64_t in = 64;
  for (int layer = 0; layer < 4; ++layer) {
    const int64_t out = (int64_t{64} << layer) * (variant.bottleneck ? 4 : 1);
    std::vector<std::pair<std::string, StagePtr>> blocks;
    for (int i = 0; i < variant.blocks[layer]; ++i) {
      const int64_t stride = i == 0 && layer > 0 ? 2 : 1;
      blocks.emplace_back(absl::StrCat(i), std::make_shared<Block>(build, variant.bottleneck, in, out, stride));
      in = out;
    }
    stages.push_back(Sequence(blocks));
  }
  stages.push_back(PoolStage());
  return stages;
}

Architecture Make(const Variant& variant) {
  Architecture a;
  a.name = variant.name;
  a.paper = "He et al. 2015, Deep Residual Learning for Image Recognition (arXiv:1512.03385)";
  a.stages = {{"stem", ""}};
  for (int i = 1; i <= 4; ++i) a.stages.push_back({absl::StrCat("layer", i), absl::StrCat("layer", i)});
  a.stages.push_back({"avgpool", "avgpool"});
  a.feature_width = variant.bottleneck ? 2048 : 512;
  SetLinearClassifier("fc", &a);
  a.parameter_count = variant.parameter_count;
  a.gflops = variant.gflops;
  a.preprocessing.resize_px = variant.resize_px;
  a.build_stages = [&variant](const BuildOptions& build) { return Build(build, variant); };
  return a;
}

}  // namespace

std::vector<Architecture> ResNet() {
  return MakeEach(kVariants, Make);
}

}  // namespace graft

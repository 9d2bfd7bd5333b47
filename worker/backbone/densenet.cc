#include <torch/torch.h>

#include <optional>

#include "absl/strings/str_cat.h"
#include "worker/backbone/blocks.h"
#include "worker/backbone/families.h"

namespace graft {
namespace {

// Huang et al. 2016, table 1, DenseNet-121.
constexpr int kLayers[] = {6, 12, 24, 16};
constexpr int64_t kGrowth = 32, kBottleneck = 4 * kGrowth, kFirst = 64;

ConvOptions Layer(const BuildOptions& build, int64_t in, int64_t out, int64_t kernel) {
  ConvOptions options = ConvFor(build, in, out, Activation::kRelu);
  options.kernel = {kernel, kernel};
  return options;
}

ConvOptions Plain(const BuildOptions& build, int64_t in, int64_t out, int64_t kernel) {
  ConvOptions options = Layer(build, in, out, kernel);
  options.activation = Activation::kNone;
  return options;
}

class Stem : public Stage {
 public:
  explicit Stem(const BuildOptions& build) : conv_(this, "conv0", "norm0", Options(build)) {}
  at::Tensor Forward(const at::Tensor& x) override { return at::max_pool2d(conv_(x), 3, 2, 1); }

 private:
  static ConvOptions Options(const BuildOptions& build) {
    ConvOptions options = Layer(build, 3, kFirst, 7);
    options.stride = 2;
    return options;
  }
  Conv conv_;
};

// Pre-activation bottleneck: what it adds to the block's channels.
class DenseLayer : public Stage {
 public:
  DenseLayer(const BuildOptions& build, int64_t in)
      : norm_(this, "norm1", in, Activation::kRelu, build.norm_epsilon),
        bottleneck_(this, "conv1", "norm2", Layer(build, in, kBottleneck, 1)),
        conv_(this, "conv2", Plain(build, kBottleneck, kGrowth, 3)) {}
  at::Tensor Forward(const at::Tensor& x) override { return conv_(bottleneck_(norm_(x))); }

 private:
  Norm norm_;
  Conv bottleneck_, conv_;
};

// A dense block, and the transition to the next one; after the last the network's final norm instead.
class DenseBlock : public Stage {
 public:
  DenseBlock(const BuildOptions& build, int block, int64_t in) {
    int64_t channels = in;
    for (int i = 1; i <= kLayers[block]; ++i) {
      layers_.push_back(std::make_shared<DenseLayer>(build, channels));
      RegisterAt(absl::StrCat("denseblock", block + 1, ".denselayer", i), layers_.back());
      channels += kGrowth;
    }
    const bool last = block == 3;
    const std::string path = last ? "" : absl::StrCat("transition", block + 1, ".");
    norm_.emplace(this, last ? "norm5" : path + "norm", channels, Activation::kRelu, build.norm_epsilon);
    if (!last) conv_.emplace(this, path + "conv", Plain(build, channels, channels / 2, 1));
  }
  at::Tensor Forward(const at::Tensor& x) override {
    at::Tensor y = x;
    for (const StagePtr& layer : layers_) y = at::cat({y, layer->Forward(y)}, 1);
    y = (*norm_)(y);
    return conv_ ? at::avg_pool2d((*conv_)(y), 2, 2) : y;
  }

 private:
  std::vector<StagePtr> layers_;
  std::optional<Norm> norm_;
  std::optional<Conv> conv_;
};

std::vector<StagePtr> Build(const BuildOptions& build) {
  std::vector<StagePtr> stages{std::make_shared<Stem>(build)};
  int64_t in = kFirst;
  for (int block = 0; block < 4; ++block) {
    stages.push_back(std::make_shared<DenseBlock>(build, block, in));
    in = (in + kLayers[block] * kGrowth) / 2;
  }
  stages.push_back(PoolStage());
  return stages;
}

// Official files of torchvision before 0.3 say "norm.1" for "norm1".
std::map<std::string, std::string> OldNames() {
  std::map<std::string, std::string> names;
  for (int block = 0; block < 4; ++block) {
    for (int i = 1; i <= kLayers[block]; ++i) {
      const std::string layer = absl::StrCat("features.denseblock", block + 1, ".denselayer", i, ".");
      for (const char* part : {"norm", "conv"}) {
        for (int n = 1; n <= 2; ++n) names.emplace(absl::StrCat(layer, part, ".", n), absl::StrCat(layer, part, n));
      }
    }
  }
  return names;
}

}  // namespace

std::vector<Architecture> DenseNet() {
  Architecture a;
  a.name = "densenet121";
  a.paper = "Huang et al. 2016, Densely Connected Convolutional Networks (arXiv:1608.06993)";
  a.stages = {{"stem", "features"}};
  for (int i = 1; i <= 4; ++i) a.stages.push_back({absl::StrCat("denseblock", i), "features"});
  a.stages.push_back({"avgpool", "avgpool"});
  a.feature_width = 1024;
  SetLinearClassifier("classifier", &a);
  a.parameter_count = 7'978'856;
  a.gflops = 2.834;
  a.build_stages = Build;
  a.aliases = OldNames();
  return {a};
}

}  // namespace graft

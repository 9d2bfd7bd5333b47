#include "worker/backbone/mobilenet_v3.h"

#include <torch/torch.h>

#include <optional>

#include "absl/strings/str_cat.h"
#include "worker/backbone/blocks.h"

namespace graft {
namespace {

struct BlockOptions {
  int64_t in, kernel, expanded, out;
  bool squeeze_excitation;
  Activation activation;
  int64_t stride;
};

// Howard et al. 2019, table 2.
constexpr BlockOptions kSmallBlocks[] = {
    {16, 3, 16, 16, true, Activation::kRelu, 2},      {16, 3, 72, 24, false, Activation::kRelu, 2},
    {24, 3, 88, 24, false, Activation::kRelu, 1},     {24, 5, 96, 40, true, Activation::kHardswish, 2},
    {40, 5, 240, 40, true, Activation::kHardswish, 1}, {40, 5, 240, 40, true, Activation::kHardswish, 1},
    {40, 5, 120, 48, true, Activation::kHardswish, 1}, {48, 5, 144, 48, true, Activation::kHardswish, 1},
    {48, 5, 288, 96, true, Activation::kHardswish, 2}, {96, 5, 576, 96, true, Activation::kHardswish, 1},
    {96, 5, 576, 96, true, Activation::kHardswish, 1}};

// To the nearest multiple of 8, never more than 10 % below (torchvision _make_divisible).
int64_t MakeDivisible(double value) {
  const int64_t rounded = std::max<int64_t>(8, static_cast<int64_t>(value + 4) / 8 * 8);
  return rounded < 0.9 * value ? rounded + 8 : rounded;
}

ConvNormOptions Layer(const BuildOptions& build, int64_t in, int64_t out, Activation activation) {
  ConvNormOptions options;
  options.in = in;
  options.out = out;
  options.activation = activation;
  options.epsilon = 1e-3;  // torchvision mobilenet_v3: partial(BatchNorm2d, eps=0.001, momentum=0.01)
  options.momentum = 0.01;
  options.same_padding = build.tensorflow_same_padding;
  return options;
}

// Hu et al. 2018 (arXiv:1709.01507), with hard sigmoid.
class SqueezeExcitation {
 public:
  SqueezeExcitation(torch::nn::Module* parent, const std::string& path, int64_t channels)
      : fc1_(torch::nn::Conv2dOptions(channels, MakeDivisible(channels / 4), 1)),
        fc2_(torch::nn::Conv2dOptions(MakeDivisible(channels / 4), channels, 1)) {
    RegisterAt(parent, path + ".fc1", fc1_.ptr());
    RegisterAt(parent, path + ".fc2", fc2_.ptr());
  }
  at::Tensor operator()(const at::Tensor& x) {
    const at::Tensor pooled = x.mean({2, 3}, /*keepdim=*/true);  // [n, c, 1, 1]
    const at::Tensor scale = at::hardsigmoid(fc2_->forward(at::relu(fc1_->forward(pooled))));
    return x * scale;
  }

 private:
  torch::nn::Conv2d fc1_, fc2_;
};

class InvertedResidual : public Stage {
 public:
  InvertedResidual(const BuildOptions& build, const BlockOptions& block)
      : residual_(block.stride == 1 && block.in == block.out) {
    int next = 0;
    const auto add = [&](const ConvNormOptions& options) {
      const std::string path = absl::StrCat("block.", next++);
      return ConvNorm(this, path + ".0", path + ".1", options);
    };
    if (block.expanded != block.in) expand_.emplace(add(Layer(build, block.in, block.expanded, block.activation)));
    ConvNormOptions depthwise = Layer(build, block.expanded, block.expanded, block.activation);
    depthwise.kernel = block.kernel;
    depthwise.stride = block.stride;
    depthwise.groups = block.expanded;
    depthwise_.emplace(add(depthwise));
    if (block.squeeze_excitation) excite_.emplace(this, absl::StrCat("block.", next++), block.expanded);
    project_.emplace(add(Layer(build, block.expanded, block.out, Activation::kNone)));
  }

  at::Tensor Forward(const at::Tensor& x) override {
    at::Tensor y = expand_ ? (*expand_)(x) : x;
    y = (*depthwise_)(y);
    if (excite_) y = (*excite_)(y);
    y = (*project_)(y);
    return residual_ ? y + x : y;
  }

  void Fold() override {
    if (expand_) expand_->Fold();
    depthwise_->Fold();
    project_->Fold();
  }

 private:
  const bool residual_;
  std::optional<ConvNorm> expand_, depthwise_, project_;
  std::optional<SqueezeExcitation> excite_;
};

std::vector<std::shared_ptr<Stage>> BuildSmall(const BuildOptions& build) {
  std::vector<std::shared_ptr<Stage>> stages;
  ConvNormOptions stem = Layer(build, 3, 16, Activation::kHardswish);
  stem.kernel = 3;
  stem.stride = 2;
  stages.push_back(ConvNormStage(stem));
  for (const BlockOptions& block : kSmallBlocks) stages.push_back(std::make_shared<InvertedResidual>(build, block));
  stages.push_back(ConvNormStage(Layer(build, 96, 576, Activation::kHardswish)));
  stages.push_back(PoolStage());
  return stages;
}

class Classifier : public Stage {
 public:
  explicit Classifier(int64_t classes) : hidden_(576, 1024), output_(1024, classes) {
    RegisterAt(this, "0", hidden_.ptr());
    RegisterAt(this, "3", output_.ptr());
  }
  at::Tensor Forward(const at::Tensor& x) override { return output_->forward(at::hardswish(hidden_->forward(x))); }
  void Fold() override {}

 private:
  torch::nn::Linear hidden_, output_;
};

}  // namespace

Architecture MobileNetV3Small() {
  Architecture a;
  a.name = "mobilenet_v3_small";
  a.paper = "Howard et al. 2019, Searching for MobileNetV3 (arXiv:1905.02244)";
  for (int i = 0; i <= 12; ++i) a.stage_names.push_back(absl::StrCat("features.", i));
  a.stage_names.push_back("avgpool");
  a.feature_width = 576;
  a.build_stages = BuildSmall;
  a.build_classifier = [](int64_t classes) { return std::make_shared<Classifier>(classes); };
  return a;
}

}  // namespace graft

#include "worker/backbone/mobilenet_v2.h"

#include <torch/torch.h>

#include <optional>

#include "absl/strings/str_cat.h"
#include "worker/backbone/blocks.h"

namespace graft {
namespace {

struct Group {
  int64_t expand_ratio, out, blocks, stride;
};

// Sandler et al. 2018, table 2.
constexpr Group kGroups[] = {{1, 16, 1, 1}, {6, 24, 2, 2}, {6, 32, 3, 2}, {6, 64, 4, 2},
                             {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};

ConvNormOptions Layer(const BuildOptions& build, int64_t in, int64_t out, Activation activation) {
  ConvNormOptions options;
  options.in = in;
  options.out = out;
  options.activation = activation;
  options.same_padding = build.tensorflow_same_padding;
  return options;
}

class InvertedResidual : public Stage {
 public:
  InvertedResidual(const BuildOptions& build, int64_t in, int64_t out, int64_t stride, int64_t expand_ratio)
      : residual_(stride == 1 && in == out) {
    const int64_t expanded = in * expand_ratio;
    int next = 0;
    if (expand_ratio != 1) {
      expand_.emplace(this, "conv.0.0", "conv.0.1", Layer(build, in, expanded, Activation::kRelu6));
      ++next;
    }
    ConvNormOptions depthwise = Layer(build, expanded, expanded, Activation::kRelu6);
    depthwise.kernel = 3;
    depthwise.stride = stride;
    depthwise.groups = expanded;
    depthwise_.emplace(this, absl::StrCat("conv.", next, ".0"), absl::StrCat("conv.", next, ".1"), depthwise);
    project_.emplace(this, absl::StrCat("conv.", next + 1), absl::StrCat("conv.", next + 2),
                     Layer(build, expanded, out, Activation::kNone));
  }

  at::Tensor Forward(const at::Tensor& x) override {
    const at::Tensor y = (*project_)((*depthwise_)(expand_ ? (*expand_)(x) : x));
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
};

std::vector<std::shared_ptr<Stage>> Build(const BuildOptions& build) {
  std::vector<std::shared_ptr<Stage>> stages;
  ConvNormOptions stem = Layer(build, 3, 32, Activation::kRelu6);
  stem.kernel = 3;
  stem.stride = 2;
  stages.push_back(ConvNormStage(stem));
  int64_t in = 32;
  for (const Group& group : kGroups) {
    for (int64_t i = 0; i < group.blocks; ++i) {
      const int64_t stride = i == 0 ? group.stride : 1;
      stages.push_back(std::make_shared<InvertedResidual>(build, in, group.out, stride, group.expand_ratio));
      in = group.out;
    }
  }
  stages.push_back(ConvNormStage(Layer(build, in, 1280, Activation::kRelu6)));
  stages.push_back(PoolStage());
  return stages;
}

class Classifier : public Stage {
 public:
  explicit Classifier(int64_t classes) : output_(1280, classes) { RegisterAt(this, "1", output_.ptr()); }
  at::Tensor Forward(const at::Tensor& x) override { return output_->forward(x); }
  void Fold() override {}

 private:
  torch::nn::Linear output_;
};

}  // namespace

Architecture MobileNetV2() {
  Architecture a;
  a.name = "mobilenet_v2";
  a.paper = "Sandler et al. 2018, MobileNetV2: Inverted Residuals and Linear Bottlenecks (arXiv:1801.04381)";
  for (int i = 0; i <= 18; ++i) a.stage_names.push_back(absl::StrCat("features.", i));
  a.stage_names.push_back("avgpool");
  a.feature_width = 1280;
  a.build_stages = Build;
  a.build_classifier = [](int64_t classes) { return std::make_shared<Classifier>(classes); };
  return a;
}

}  // namespace graft

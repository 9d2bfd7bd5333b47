#include "absl/strings/str_cat.h"
#include "worker/backbone/blocks.h"
#include "worker/backbone/families.h"

namespace graft {
namespace {

struct Row {
  int64_t in, out, stride;
  const char* timm;
};

// Howard et al. 2017, table 1: each a depthwise and a pointwise convolution.
constexpr Row kRows[] = {
    {32, 64, 1, "blocks.0.0"},   {64, 128, 2, "blocks.1.0"},  {128, 128, 1, "blocks.1.1"},
    {128, 256, 2, "blocks.2.0"}, {256, 256, 1, "blocks.2.1"}, {256, 512, 2, "blocks.3.0"},
    {512, 512, 1, "blocks.3.1"}, {512, 512, 1, "blocks.3.2"}, {512, 512, 1, "blocks.3.3"},
    {512, 512, 1, "blocks.3.4"}, {512, 512, 1, "blocks.3.5"}, {512, 1024, 2, "blocks.4.0"},
    {1024, 1024, 1, "blocks.4.1"}};

ConvOptions Layer(const BuildOptions& build, int64_t in, int64_t out, int64_t kernel) {
  ConvOptions options = ConvFor(build, in, out, Activation::kRelu6);
  options.kernel = {kernel, kernel};
  return options;
}

class SeparableBlock : public Stage {
 public:
  SeparableBlock(const BuildOptions& build, const Row& row)
      : depthwise_(this, "0.0", "0.1", Depthwise(build, row)),
        pointwise_(this, "1.0", "1.1", Layer(build, row.in, row.out, 1)) {}
  at::Tensor Forward(const at::Tensor& x) override { return pointwise_(depthwise_(x)); }

 private:
  static ConvOptions Depthwise(const BuildOptions& build, const Row& row) {
    ConvOptions options = Layer(build, row.in, row.in, 3);
    options.groups = row.in;
    options.stride = row.stride;
    return options;
  }

  Conv depthwise_, pointwise_;
};

std::vector<StagePtr> Build(const BuildOptions& build) {
  ConvOptions stem = Layer(build, 3, 32, 3);
  stem.stride = 2;
  std::vector<StagePtr> stages{ConvNormStage(stem)};
  for (const Row& row : kRows) stages.push_back(std::make_shared<SeparableBlock>(build, row));
  stages.push_back(PoolStage());
  return stages;
}

std::map<std::string, std::string> TimmNames() {
  std::map<std::string, std::string> names{{"conv_stem", "features.0.0"}, {"bn1", "features.0.1"}};
  int index = 1;
  for (const Row& row : kRows) {
    const std::string timm = row.timm, ours = absl::StrCat("features.", index++);
    names.emplace(timm + ".conv_dw", ours + ".0.0");
    names.emplace(timm + ".bn1", ours + ".0.1");
    names.emplace(timm + ".conv_pw", ours + ".1.0");
    names.emplace(timm + ".bn2", ours + ".1.1");
  }
  return names;
}

}  // namespace

std::vector<Architecture> MobileNetV1() {
  Architecture a;
  a.name = "mobilenet_v1";
  a.paper = "Howard et al. 2017, MobileNets: Efficient Convolutional Neural Networks (arXiv:1704.04861)";
  a.stages = NumberedStages("features", 14);
  a.feature_width = 1024;
  a.has_same_padding = true;
  SetLinearClassifier("classifier", &a);
  a.parameter_count = 4'231'976;
  a.gflops = 0.569;
  a.dropout = 0.2;
  // timm mobilenetv1_100.ra4_e3600_r224_in1k: the only weights with a permissive licence in PyTorch's layout.
  a.preprocessing.mean = a.preprocessing.std = {0.5f, 0.5f, 0.5f};
  a.preprocessing.interpolation = Interpolation::kBicubic;
  a.build_stages = Build;
  a.aliases = TimmNames();
  a.norm_epsilon = 1e-3;  // TensorFlow-Slim, mobilenet_v1.py
  a.alias_norm_epsilon = 1e-5;
  return {a};
}

}  // namespace graft

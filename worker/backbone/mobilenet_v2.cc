#include "absl/strings/str_cat.h"
#include "worker/backbone/families.h"
#include "worker/backbone/inverted_residual.h"

namespace graft {
namespace {

struct Group {
  int64_t expand_ratio, out, blocks, stride;
};

// Sandler et al. 2018, table 2.
constexpr Group kGroups[] = {{1, 16, 1, 1}, {6, 24, 2, 2}, {6, 32, 3, 2}, {6, 64, 4, 2},
                             {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};

InvertedResidualOptions BlockOf(const BuildOptions& build, const Group& group, int64_t in, int64_t index) {
  InvertedResidualOptions options;
  options.in = in;
  options.expanded = in * group.expand_ratio;
  options.out = group.out;
  options.stride = index == 0 ? group.stride : 1;
  options.activation = Activation::kRelu6;
  options.layer = ConvFor(build, 0, 0, Activation::kRelu6);
  options.path = "conv";
  options.flat_projection = true;
  return options;
}

std::vector<StagePtr> Build(const BuildOptions& build) {
  ConvOptions stem = ConvFor(build, 3, 32, Activation::kRelu6);
  stem.kernel = {3, 3};
  stem.stride = 2;
  std::vector<StagePtr> stages{ConvNormStage(stem)};
  int64_t in = 32;
  for (const Group& group : kGroups) {
    for (int64_t i = 0; i < group.blocks; ++i) {
      stages.push_back(InvertedResidual(BlockOf(build, group, in, i)));
      in = group.out;
    }
  }
  stages.push_back(ConvNormStage(ConvFor(build, in, 1280, Activation::kRelu6)));
  stages.push_back(PoolStage());
  return stages;
}

std::map<std::string, std::string> TimmNames() {
  std::map<std::string, std::string> names{{"conv_stem", "features.0.0"},  {"bn1", "features.0.1"},
                                           {"conv_head", "features.18.0"}, {"bn2", "features.18.1"},
                                           {"classifier", "classifier.1"}};
  int64_t in = 32, index = 1, number = 0;
  for (const Group& group : kGroups) {
    for (int64_t i = 0; i < group.blocks; ++i) {
      AddTimmNames(BlockOf({}, group, in, i), absl::StrCat("blocks.", number, ".", i),
                   absl::StrCat("features.", index++), &names);
      in = group.out;
    }
    ++number;
  }
  return names;
}

}  // namespace

std::vector<Architecture> MobileNetV2() {
  Architecture a;
  a.name = "mobilenet_v2";
  a.paper = "Sandler et al. 2018, MobileNetV2: Inverted Residuals and Linear Bottlenecks (arXiv:1801.04381)";
  a.stages = NumberedStages("features", 19);
  a.feature_width = 1280;
  a.has_same_padding = true;
  SetLinearClassifier("classifier.1", &a);
  a.parameter_count = 3'504'872;
  a.gflops = 0.301;
  a.dropout = 0.2;
  a.build_stages = Build;
  a.aliases = TimmNames();
  return {a};
}

}  // namespace graft

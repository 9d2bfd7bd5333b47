#include "absl/strings/str_cat.h"
#include "worker/backbone/families.h"
#include "worker/backbone/inverted_residual.h"

namespace graft {
namespace {

struct Row {
  int64_t in, kernel, expanded, out;
  bool squeeze_excitation;
  Activation activation;
  int64_t stride;
  int timm_stage;
};

constexpr Activation kRe = Activation::kRelu, kHs = Activation::kHardswish;

// Howard et al. 2019, table 2.
const std::vector<Row>& SmallRows() {
  static const auto* const rows = new std::vector<Row>{
      {16, 3, 16, 16, true, kRe, 2, 0},   {16, 3, 72, 24, false, kRe, 2, 1},  {24, 3, 88, 24, false, kRe, 1, 1},
      {24, 5, 96, 40, true, kHs, 2, 2},   {40, 5, 240, 40, true, kHs, 1, 2},  {40, 5, 240, 40, true, kHs, 1, 2},
      {40, 5, 120, 48, true, kHs, 1, 3},  {48, 5, 144, 48, true, kHs, 1, 3},  {48, 5, 288, 96, true, kHs, 2, 4},
      {96, 5, 576, 96, true, kHs, 1, 4},  {96, 5, 576, 96, true, kHs, 1, 4}};
  return *rows;
}

// Howard et al. 2019, table 1.
const std::vector<Row>& LargeRows() {
  static const auto* const rows = new std::vector<Row>{
      {16, 3, 16, 16, false, kRe, 1, 0},   {16, 3, 64, 24, false, kRe, 2, 1},   {24, 3, 72, 24, false, kRe, 1, 1},
      {24, 5, 72, 40, true, kRe, 2, 2},    {40, 5, 120, 40, true, kRe, 1, 2},   {40, 5, 120, 40, true, kRe, 1, 2},
      {40, 3, 240, 80, false, kHs, 2, 3},  {80, 3, 200, 80, false, kHs, 1, 3},  {80, 3, 184, 80, false, kHs, 1, 3},
      {80, 3, 184, 80, false, kHs, 1, 3},  {80, 3, 480, 112, true, kHs, 1, 4},  {112, 3, 672, 112, true, kHs, 1, 4},
      {112, 5, 672, 160, true, kHs, 2, 5}, {160, 5, 960, 160, true, kHs, 1, 5}, {160, 5, 960, 160, true, kHs, 1, 5}};
  return *rows;
}

ConvOptions Layer(const BuildOptions& build, int64_t in, int64_t out) {
  ConvOptions options = ConvFor(build, in, out, Activation::kHardswish);
  options.momentum = 0.01;  // torchvision: partial(BatchNorm2d, eps=0.001, momentum=0.01)
  return options;
}

InvertedResidualOptions BlockOf(const BuildOptions& build, const Row& row) {
  InvertedResidualOptions options;
  options.in = row.in;
  options.expanded = row.expanded;
  options.out = row.out;
  options.kernel = row.kernel;
  options.stride = row.stride;
  options.activation = row.activation;
  options.squeezed = row.squeeze_excitation ? MakeDivisible(static_cast<double>(row.expanded / 4)) : 0;
  options.gate = Gate::kHardsigmoid;
  options.layer = Layer(build, 0, 0);
  return options;
}

std::vector<StagePtr> Build(const BuildOptions& build, const std::vector<Row>& rows) {
  ConvOptions stem = Layer(build, 3, 16);
  stem.kernel = {3, 3};
  stem.stride = 2;
  std::vector<StagePtr> stages{ConvNormStage(stem)};
  for (const Row& row : rows) stages.push_back(InvertedResidual(BlockOf(build, row)));
  stages.push_back(ConvNormStage(Layer(build, rows.back().out, rows.back().out * 6)));
  stages.push_back(PoolStage());
  return stages;
}

// Features, a hidden layer, classes.
class Classifier : public Stage {
 public:
  Classifier(int64_t features, int64_t hidden, int64_t classes)
      : hidden_(this, "classifier.0", features, hidden), output_(this, "classifier.3", hidden, classes) {}
  at::Tensor Forward(const at::Tensor& x) override { return output_(Activate(hidden_(x), Activation::kHardswish)); }

 private:
  Linear hidden_, output_;
};

std::map<std::string, std::string> TimmNames(const std::vector<Row>& rows) {
  const std::string last = absl::StrCat("features.", rows.size() + 1);
  const std::string timm_last = absl::StrCat("blocks.", rows.back().timm_stage + 1, ".0");
  std::map<std::string, std::string> names{{"conv_stem", "features.0.0"},     {"bn1", "features.0.1"},
                                           {timm_last + ".conv", last + ".0"}, {timm_last + ".bn1", last + ".1"},
                                           {"conv_head", "classifier.0"},     {"classifier", "classifier.3"}};
  for (size_t i = 0, first = 0; i < rows.size(); ++i) {
    if (rows[i].timm_stage != rows[first].timm_stage) first = i;
    AddTimmNames(BlockOf({}, rows[i]), absl::StrCat("blocks.", rows[i].timm_stage, ".", i - first),
                 absl::StrCat("features.", i + 1), &names);
  }
  return names;
}

Architecture Make(const std::string& name, const std::vector<Row>& rows, int64_t hidden) {
  Architecture a;
  a.name = name;
  a.paper = "Howard et al. 2019, Searching for MobileNetV3 (arXiv:1905.02244)";
  a.stages = NumberedStages("features", static_cast<int>(rows.size()) + 2);
  a.feature_width = rows.back().out * 6;
  a.has_same_padding = true;
  a.output_layer = "classifier.3";
  a.dropout = 0.2;
  a.build_stages = [&rows](const BuildOptions& build) { return Build(build, rows); };
  a.build_classifier = [features = a.feature_width, hidden](int64_t classes) {
    return std::make_shared<Classifier>(features, hidden, classes);
  };
  a.aliases = TimmNames(rows);
  a.norm_epsilon = 1e-3;  // as the momentum
  a.alias_norm_epsilon = 1e-5;  // timm builds both with PyTorch's default
  return a;
}

}  // namespace

std::vector<Architecture> MobileNetV3() {
  Architecture small = Make("mobilenet_v3_small", SmallRows(), 1024);
  small.parameter_count = 2'542'856;
  small.gflops = 0.057;
  Architecture large = Make("mobilenet_v3_large", LargeRows(), 1280);
  large.parameter_count = 5'483'032;
  large.gflops = 0.217;
  large.preprocessing.resize_px = 232;  // torchvision's IMAGENET1K_V2 weights
  return {small, large};
}

}  // namespace graft

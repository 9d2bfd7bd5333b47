#include <torch/torch.h>

#include <optional>

#include "worker/backbone/blocks.h"
#include "worker/backbone/families.h"

namespace graft {
namespace {

enum class Pooling { kAverage, kMax };

// One convolution: its name, output channels, kernel, and whether it strides over (2, unpadded).
struct Row {
  const char* name;
  int64_t out;
  std::array<int64_t, 2> kernel;
  bool reduces = false;
};
using Branch = std::vector<Row>;

// Convolution chains side by side, concatenated. A branch that forks at its end has its last two rows in `forks`.
struct MixedOptions {
  std::vector<Branch> branches;
  std::vector<Branch> forks;      // of the branch with the same index: each of its rows takes the branch's output
  Pooling pooling = Pooling::kAverage;
  int64_t pool_out = 0;           // 1x1 convolution "branch_pool" after the pooling; 0: none
};

ConvOptions Layer(const BuildOptions& build, int64_t in, const Row& row, bool padded) {
  ConvOptions options = ConvFor(build, in, row.out, Activation::kRelu);
  options.kernel = row.kernel;
  if (row.reduces) options.stride = 2;
  if (row.reduces || !padded) options.padding = {0, 0};
  return options;
}

Conv MakeConv(Stage* owner, const BuildOptions& build, int64_t in, const Row& row, bool padded = true) {
  const std::string path = row.name;
  return Conv(owner, path + ".conv", path + ".bn", Layer(build, in, row, padded));
}

class Stem : public Stage {
 public:
  explicit Stem(const BuildOptions& build)
      : conv_1a_(MakeConv(this, build, 3, {"Conv2d_1a_3x3", 32, {3, 3}, true})),
        conv_2a_(MakeConv(this, build, 32, {"Conv2d_2a_3x3", 32, {3, 3}}, /*padded=*/false)),
        conv_2b_(MakeConv(this, build, 32, {"Conv2d_2b_3x3", 64, {3, 3}})),
        conv_3b_(MakeConv(this, build, 64, {"Conv2d_3b_1x1", 80, {1, 1}})),
        conv_4a_(MakeConv(this, build, 80, {"Conv2d_4a_3x3", 192, {3, 3}}, /*padded=*/false)) {}
  at::Tensor Forward(const at::Tensor& x) override {
    const at::Tensor y = at::max_pool2d(conv_2b_(conv_2a_(conv_1a_(x))), 3, 2);
    return at::max_pool2d(conv_4a_(conv_3b_(y)), 3, 2);
  }

 private:
  Conv conv_1a_, conv_2a_, conv_2b_, conv_3b_, conv_4a_;
};

class Mixed : public Stage {
 public:
  Mixed(const BuildOptions& build, int64_t in, const MixedOptions& options) : pooling_(options.pooling) {
    for (size_t b = 0; b < options.branches.size(); ++b) {
      int64_t channels = in;
      branches_.emplace_back();
      for (const Row& row : options.branches[b]) {
        branches_.back().push_back(MakeConv(this, build, channels, row));
        channels = row.out;
      }
      forks_.emplace_back();
      if (b >= options.forks.size()) continue;
      for (const Row& row : options.forks[b]) forks_.back().push_back(MakeConv(this, build, channels, row));
    }
    if (options.pool_out > 0) {
      pool_conv_.emplace(MakeConv(this, build, in, {"branch_pool", options.pool_out, {1, 1}}));
    }
  }

  at::Tensor Forward(const at::Tensor& x) override {
    std::vector<at::Tensor> outputs;
    for (size_t b = 0; b < branches_.size(); ++b) {
      at::Tensor y = x;
      for (const Conv& conv : branches_[b]) y = conv(y);
      for (const Conv& conv : forks_[b]) outputs.push_back(conv(y));
      if (forks_[b].empty()) outputs.push_back(y);
    }
    at::Tensor pooled = pooling_ == Pooling::kMax ? at::max_pool2d(x, 3, 2) : at::avg_pool2d(x, 3, 1, 1);
    if (pool_conv_) pooled = (*pool_conv_)(pooled);
    outputs.push_back(pooled);
    return at::cat(outputs, 1);
  }

 private:
  const Pooling pooling_;
  std::vector<std::vector<Conv>> branches_, forks_;
  std::optional<Conv> pool_conv_;
};

// Szegedy et al. 2015, figures 5 to 7 and 10, with torchvision's names.
MixedOptions A(int64_t pool_out) {
  return {{{{"branch1x1", 64, {1, 1}}},
           {{"branch5x5_1", 48, {1, 1}}, {"branch5x5_2", 64, {5, 5}}},
           {{"branch3x3dbl_1", 64, {1, 1}}, {"branch3x3dbl_2", 96, {3, 3}}, {"branch3x3dbl_3", 96, {3, 3}}}},
          {}, Pooling::kAverage, pool_out};
}
MixedOptions B() {
  return {{{{"branch3x3", 384, {3, 3}, true}},
           {{"branch3x3dbl_1", 64, {1, 1}}, {"branch3x3dbl_2", 96, {3, 3}}, {"branch3x3dbl_3", 96, {3, 3}, true}}},
          {}, Pooling::kMax, 0};
}
MixedOptions C(int64_t inner) {
  return {{{{"branch1x1", 192, {1, 1}}},
           {{"branch7x7_1", inner, {1, 1}}, {"branch7x7_2", inner, {1, 7}}, {"branch7x7_3", 192, {7, 1}}},
           {{"branch7x7dbl_1", inner, {1, 1}}, {"branch7x7dbl_2", inner, {7, 1}}, {"branch7x7dbl_3", inner, {1, 7}},
            {"branch7x7dbl_4", inner, {7, 1}}, {"branch7x7dbl_5", 192, {1, 7}}}},
          {}, Pooling::kAverage, 192};
}
MixedOptions D() {
  return {{{{"branch3x3_1", 192, {1, 1}}, {"branch3x3_2", 320, {3, 3}, true}},
           {{"branch7x7x3_1", 192, {1, 1}}, {"branch7x7x3_2", 192, {1, 7}}, {"branch7x7x3_3", 192, {7, 1}},
            {"branch7x7x3_4", 192, {3, 3}, true}}},
          {}, Pooling::kMax, 0};
}
MixedOptions E() {
  return {{{{"branch1x1", 320, {1, 1}}},
           {{"branch3x3_1", 384, {1, 1}}},
           {{"branch3x3dbl_1", 448, {1, 1}}, {"branch3x3dbl_2", 384, {3, 3}}}},
          {{},
           {{"branch3x3_2a", 384, {1, 3}}, {"branch3x3_2b", 384, {3, 1}}},
           {{"branch3x3dbl_3a", 384, {1, 3}}, {"branch3x3dbl_3b", 384, {3, 1}}}},
          Pooling::kAverage, 192};
}

std::vector<StagePtr> Build(const BuildOptions& build) {
  std::vector<StagePtr> stages{std::make_shared<Stem>(build)};
  const std::pair<int64_t, MixedOptions> blocks[] = {
      {192, A(32)},  {256, A(64)},  {288, A(64)},  {288, B()}, {768, C(128)}, {768, C(160)},
      {768, C(160)}, {768, C(192)}, {768, D()},    {1280, E()}, {2048, E()}};
  for (const auto& [in, options] : blocks) stages.push_back(std::make_shared<Mixed>(build, in, options));
  stages.push_back(PoolStage());
  return stages;
}

}  // namespace

std::vector<Architecture> InceptionV3() {
  Architecture a;
  a.name = "inception_v3";
  a.paper = "Szegedy et al. 2015, Rethinking the Inception Architecture (arXiv:1512.00567)";
  a.stages = {{"stem", ""}};
  for (const char* block : {"5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c"}) {
    const std::string name = std::string("Mixed_") + block;
    a.stages.push_back({name, name});
  }
  a.stages.push_back({"avgpool", "avgpool"});
  a.feature_width = 2048;
  SetLinearClassifier("fc", &a);
  a.parameter_count = 23'834'568;  // without the auxiliary classifier, which only training used
  a.gflops = 5.713;
  a.dropout = 0.5;
  a.norm_epsilon = 1e-3;  // torchvision BasicConv2d
  // torchvision's transform_input turns ImageNet's mean and std into these.
  a.preprocessing.resize_px = 342;
  a.preprocessing.crop_px = 299;
  a.preprocessing.mean = a.preprocessing.std = {0.5f, 0.5f, 0.5f};
  a.input.min_px = 75;
  a.build_stages = Build;
  a.ignored = {"AuxLogits."};
  return {a};
}

}  // namespace graft

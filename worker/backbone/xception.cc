#include <torch/torch.h>

#include <optional>

#include "absl/strings/str_cat.h"
#include "worker/backbone/blocks.h"
#include "worker/backbone/families.h"

namespace graft {
namespace {

ConvOptions Layer(const BuildOptions& build, int64_t in, int64_t out, int64_t kernel) {
  ConvOptions options = ConvFor(build, in, out, Activation::kNone);
  options.kernel = {kernel, kernel};
  return options;
}

// Depthwise 3x3, pointwise, batch norm.
class Separable {
 public:
  Separable(Stage* owner, const BuildOptions& build, const std::string& path, const std::string& norm, int64_t in,
            int64_t out)
      : depthwise_(owner, path + ".conv1", Depthwise(build, in)),
        pointwise_(owner, path + ".pointwise", norm, Layer(build, in, out, 1)) {}
  at::Tensor operator()(const at::Tensor& x) const { return pointwise_(depthwise_(x)); }

 private:
  static ConvOptions Depthwise(const BuildOptions& build, int64_t channels) {
    ConvOptions options = Layer(build, channels, channels, 3);
    options.groups = channels;
    return options;
  }
  Conv depthwise_, pointwise_;
};

class Stem : public Stage {
 public:
  explicit Stem(const BuildOptions& build)
      : conv1_(this, "conv1", "bn1", Unpadded(build, 3, 32, 2)),
        conv2_(this, "conv2", "bn2", Unpadded(build, 32, 64, 1)) {}
  at::Tensor Forward(const at::Tensor& x) override { return conv2_(conv1_(x)); }

 private:
  static ConvOptions Unpadded(const BuildOptions& build, int64_t in, int64_t out, int64_t stride) {
    ConvOptions options = Layer(build, in, out, 3);
    options.padding = {0, 0};
    options.stride = stride;
    options.activation = Activation::kRelu;
    return options;
  }
  Conv conv1_, conv2_;
};

struct BlockOptions {
  int64_t in, out;
  int separables;
  int64_t stride;
  bool starts_with_relu;
  bool grows_first;  // the first separable convolution changes the width, else the last one
};

// Chollet 2016, figure 5.
constexpr BlockOptions kBlocks[] = {
    {64, 128, 2, 2, false, true}, {128, 256, 2, 2, true, true},  {256, 728, 2, 2, true, true},
    {728, 728, 3, 1, true, true}, {728, 728, 3, 1, true, true},  {728, 728, 3, 1, true, true},
    {728, 728, 3, 1, true, true}, {728, 728, 3, 1, true, true},  {728, 728, 3, 1, true, true},
    {728, 728, 3, 1, true, true}, {728, 728, 3, 1, true, true},  {728, 1024, 2, 2, true, false}};

// (ReLU, separable convolution) several times, max pooling where it strides; added to its input.
class Block : public Stage {
 public:
  Block(const BuildOptions& build, const BlockOptions& options)
      : stride_(options.stride), starts_with_relu_(options.starts_with_relu) {
    int layer = options.starts_with_relu ? 1 : 0;  // in Cadene's nn.Sequential "rep", where ReLUs count
    int64_t in = options.in;
    for (int i = 0; i < options.separables; ++i, layer += 3) {
      const bool grows = options.grows_first ? i == 0 : i == options.separables - 1;
      const int64_t out = grows ? options.out : in;
      separables_.emplace_back(this, build, absl::StrCat("rep.", layer), absl::StrCat("rep.", layer + 1), in, out);
      in = out;
    }
    if (options.in != options.out || options.stride != 1) {
      ConvOptions skip = Layer(build, options.in, options.out, 1);
      skip.stride = options.stride;
      skip_.emplace(this, "skip", "skipbn", skip);
    }
  }
  at::Tensor Forward(const at::Tensor& x) override {
    at::Tensor y = starts_with_relu_ ? at::relu(x) : x;  // never in place: the sum below needs x
    for (size_t i = 0; i < separables_.size(); ++i) y = separables_[i](i == 0 ? y : Activate(y, Activation::kRelu));
    if (stride_ != 1) y = at::max_pool2d(y, 3, stride_, 1);
    return Add(y, skip_ ? (*skip_)(x) : x);
  }

 private:
  const int64_t stride_;
  const bool starts_with_relu_;
  std::vector<Separable> separables_;
  std::optional<Conv> skip_;
};

class Exit : public Stage {
 public:
  explicit Exit(const BuildOptions& build)
      : conv3_(this, build, "conv3", "bn3", 1024, 1536), conv4_(this, build, "conv4", "bn4", 1536, 2048) {}
  at::Tensor Forward(const at::Tensor& x) override {
    return Activate(conv4_(Activate(conv3_(x), Activation::kRelu)), Activation::kRelu);
  }

 private:
  Separable conv3_, conv4_;
};

std::vector<StagePtr> Build(const BuildOptions& build) {
  std::vector<StagePtr> stages{std::make_shared<Stem>(build)};
  for (const BlockOptions& block : kBlocks) stages.push_back(std::make_shared<Block>(build, block));
  stages.push_back(std::make_shared<Exit>(build));
  stages.push_back(PoolStage());
  return stages;
}

}  // namespace

// torchvision has no Xception: names are those of R. Cadene's pretrained-models.pytorch, which timm kept.
std::vector<Architecture> Xception() {
  Architecture a;
  a.name = "xception";
  a.paper = "Chollet 2016, Xception: Deep Learning with Depthwise Separable Convolutions (arXiv:1610.02357)";
  a.stages = {{"stem", ""}};
  for (int i = 1; i <= 12; ++i) a.stages.push_back({absl::StrCat("block", i), absl::StrCat("block", i)});
  a.stages.push_back({"exit", ""});
  a.stages.push_back({"avgpool", "avgpool"});
  a.feature_width = 2048;
  SetLinearClassifier("fc", &a);
  a.parameter_count = 22'855'952;
  a.gflops = 8.356;
  a.dropout = 0.5;  // the paper, section 4.3
  a.preprocessing.resize_px = 333;  // timm legacy_xception.tf_in1k: crop ratio 0.897
  a.preprocessing.crop_px = 299;
  a.preprocessing.mean = a.preprocessing.std = {0.5f, 0.5f, 0.5f};
  a.preprocessing.interpolation = Interpolation::kBicubic;
  a.input.min_px = 71;
  a.build_stages = Build;
  return {a};
}

}  // namespace graft

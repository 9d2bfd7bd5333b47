#include <torch/torch.h>

#include "worker/backbone/blocks.h"
#include "worker/backbone/families.h"

namespace graft {
namespace {

constexpr int64_t kChannels[] = {3, 32, 32, 64};
constexpr int kInputPx = 150;
constexpr int64_t kPooled = 17;  // px, of a side after the three blocks
constexpr int64_t kHidden = 64;

class Block : public Stage {
 public:
  explicit Block(int index) : conv_(this, "conv", Options(index)) {}
  at::Tensor Forward(const at::Tensor& x) override { return at::max_pool2d(conv_(x), 2, 2); }

 private:
  static ConvOptions Options(int index) {
    ConvOptions options = ConvFor({}, kChannels[index], kChannels[index + 1], Activation::kRelu);
    options.kernel = {3, 3};
    options.padding = {0, 0};
    options.bias = true;
    return options;
  }
  Conv conv_;
};

class Dense : public Stage {
 public:
  Dense() : layer_(this, "dense", kChannels[3] * kPooled * kPooled, kHidden) {}
  at::Tensor Forward(const at::Tensor& x) override {
    return Activate(layer_(x.contiguous().flatten(1)), Activation::kRelu);
  }

 private:
  Linear layer_;
};

std::vector<StagePtr> Build(const BuildOptions&) {
  return {std::make_shared<Block>(0), std::make_shared<Block>(1), std::make_shared<Block>(2),
          std::make_shared<Dense>()};
}

}  // namespace

std::vector<Architecture> SmallConvnet() {
  Architecture a;
  a.name = "small_convnet";
  a.paper = "Chollet 2016, Building powerful image classification models using very little data (blog.keras.io)";
  a.stages = {{"block1", "block1"}, {"block2", "block2"}, {"block3", "block3"}, {"dense", ""}};
  a.norm_epsilon = 0;
  a.feature_width = kHidden;
  a.parameter_count = 1'212'448;
  a.gflops = 0.089;
  a.dropout = 0.5;
  a.preprocessing.resize_px = a.preprocessing.crop_px = kInputPx;
  a.preprocessing.mean = {0, 0, 0};  // values in [0, 1], as the paper's rescale=1/255
  a.preprocessing.std = {1, 1, 1};
  a.input = {kInputPx, 1, kInputPx};
  a.build_stages = Build;
  a.has_pretrained_weights = false;
  return {a};
}

}  // namespace graft

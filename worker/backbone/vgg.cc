#include <torch/torch.h>

#include "absl/strings/str_cat.h"
#include "worker/backbone/blocks.h"
#include "worker/backbone/families.h"

namespace graft {
namespace {

struct Variant {
  const char* name;
  std::array<int, 5> convolutions;  // of each block
  bool batch_norm;
  int64_t parameter_count;
  double gflops;
};

// Simonyan and Zisserman 2014, table 1: columns D and E.
constexpr Variant kVariants[] = {{"vgg16", {2, 2, 3, 3, 3}, false, 138'357'544, 15.470},
                                 {"vgg16_bn", {2, 2, 3, 3, 3}, true, 138'365'992, 15.470},
                                 {"vgg19", {2, 2, 4, 4, 4}, false, 143'667'240, 19.632},
                                 {"vgg19_bn", {2, 2, 4, 4, 4}, true, 143'678'248, 19.632}};
constexpr int64_t kChannels[] = {64, 128, 256, 512, 512};
constexpr int64_t kPooled = 7;  // px, of each side before the fully connected layers
constexpr int64_t kHidden = 4096;

// Convolutions, then max pooling. Layers are counted through all blocks, as torchvision's nn.Sequential does.
class Block : public Stage {
 public:
  Block(const BuildOptions& build, const Variant& variant, int block, int* layer) {
    for (int i = 0; i < variant.convolutions[block]; ++i) {
      const int64_t in = i > 0 ? kChannels[block] : block > 0 ? kChannels[block - 1] : 3;
      ConvOptions options = ConvFor(build, in, kChannels[block], Activation::kRelu);
      options.kernel = {3, 3};
      options.bias = true;
      const std::string conv = absl::StrCat(*layer);
      if (variant.batch_norm) {
        convs_.emplace_back(this, conv, absl::StrCat(*layer + 1), options);
      } else {
        convs_.emplace_back(this, conv, options);
      }
      *layer += variant.batch_norm ? 3 : 2;  // the activation counts too
    }
    ++*layer;  // and the pooling
  }
  at::Tensor Forward(const at::Tensor& x) override {
    at::Tensor y = x;
    for (const Conv& conv : convs_) y = conv(y);
    return at::max_pool2d(y, 2, 2);
  }

 private:
  std::vector<Conv> convs_;
};

class Flatten : public Stage {
 public:
  at::Tensor Forward(const at::Tensor& x) override {
    return at::adaptive_avg_pool2d(x, {kPooled, kPooled}).contiguous().flatten(1);  // [n, 25088], NCHW order
  }
};

class Hidden : public Stage {
 public:
  Hidden(const std::string& path, int64_t in) : layer_(this, path, in, kHidden) {}
  at::Tensor Forward(const at::Tensor& x) override { return Activate(layer_(x), Activation::kRelu); }

 private:
  Linear layer_;
};

std::vector<StagePtr> Build(const BuildOptions& build, const Variant& variant) {
  std::vector<StagePtr> stages;
  int layer = 0;
  for (int i = 0; i < 5; ++i) stages.push_back(std::make_shared<Block>(build, variant, i, &layer));
  stages.push_back(std::make_shared<Flatten>());
  stages.push_back(std::make_shared<Hidden>("0", kChannels[4] * kPooled * kPooled));
  stages.push_back(std::make_shared<Hidden>("3", kHidden));
  return stages;
}

Architecture Make(const Variant& variant) {
  Architecture a;
  a.name = variant.name;
  a.paper = "Simonyan and Zisserman 2014, Very Deep Convolutional Networks (arXiv:1409.1556)";
  for (int i = 1; i <= 5; ++i) a.stages.push_back({absl::StrCat("block", i), "features"});
  a.stages.push_back({"avgpool", "avgpool"});
  a.stages.push_back({"fc6", "classifier"});
  a.stages.push_back({"fc7", "classifier"});
  if (!variant.batch_norm) a.norm_epsilon = 0;
  a.feature_width = kHidden;
  SetLinearClassifier("classifier.6", &a);
  a.parameter_count = variant.parameter_count;
  a.gflops = variant.gflops;
  a.dropout = 0.5;
  a.build_stages = [&variant](const BuildOptions& build) { return Build(build, variant); };
  a.aliases = {{"pre_logits.fc1", "classifier.0"}, {"pre_logits.fc2", "classifier.3"}, {"head.fc", "classifier.6"}};
  return a;
}

}  // namespace

std::vector<Architecture> Vgg() {
  return MakeEach(kVariants, Make);
}

}  // namespace graft

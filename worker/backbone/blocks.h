#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "worker/backbone/architecture.h"
#include "worker/backbone/stage.h"

namespace graft {

enum class Activation { kNone, kRelu, kRelu6, kHardswish, kSilu, kGelu };

// Into x's memory when no gradients are recorded: `x` is the caller's own.
at::Tensor Activate(at::Tensor x, Activation activation);

constexpr int64_t kCentred = -1;

struct ConvOptions {
  int64_t in = 0, out = 0;
  std::array<int64_t, 2> kernel{1, 1};            // height, width
  int64_t stride = 1, groups = 1;
  std::array<int64_t, 2> padding{kCentred, kCentred};  // on each side; kCentred: (kernel - 1) / 2
  bool bias = false;
  bool same_padding = false;                      // TensorFlow's SAME instead of `padding`
  Activation activation = Activation::kNone;      // after the norm, when there is one
  double epsilon = 1e-5, momentum = 0.1;          // of the batch norm: torch's defaults
};

// A 1x1 convolution with the padding and the batch norm's epsilon that the weights were trained with; the caller sets what
// else is different.
ConvOptions ConvFor(const BuildOptions& build, int64_t in, int64_t out, Activation activation);

// A convolution, its batch norm if it has one, and an activation. Registers the layers in `owner` under their paths;
// once the owner is folded, the three are one call.
//
// A handle: copies share the layers.
class Conv {
 public:
  // Without batch norm.
  Conv(Stage* owner, const std::string& conv_path, const ConvOptions& options);
  Conv(Stage* owner, const std::string& conv_path, const std::string& norm_path, const ConvOptions& options);
  at::Tensor operator()(const at::Tensor& x) const;

 private:
  struct Layers;
  std::shared_ptr<Layers> layers_;
};

class BatchNorm;

// A batch norm that no convolution precedes (DenseNet's pre-activation), and an activation.
class Norm {
 public:
  Norm(Stage* owner, const std::string& path, int64_t channels, Activation activation, double epsilon = 1e-5);
  at::Tensor operator()(const at::Tensor& x) const;

 private:
  std::shared_ptr<BatchNorm> norm_;
  Activation activation_;
};

// x W' + b over the last dimension; any leading ones.
//
// A handle: copies share the layer.
class Linear {
 public:
  // Tensors "<path>.weight" and "<path>.bias".
  Linear(Stage* owner, const std::string& path, int64_t in, int64_t out);
  Linear(Stage* owner, const std::string& weight_path, const std::string& bias_path, int64_t in, int64_t out);
  at::Tensor operator()(const at::Tensor& x) const;
  // Multiplies the outputs by `factors`, [out], for good.
  void ScaleOutputs(const at::Tensor& factors);

 private:
  struct Layer;
  std::shared_ptr<Layer> layer_;
};

// Normalises the last dimension. Source: Ba et al. 2016 (arXiv:1607.06450).
class LayerNorm {
 public:
  LayerNorm(Stage* owner, const std::string& path, int64_t width, double epsilon);
  at::Tensor operator()(const at::Tensor& x) const;

 private:
  at::Tensor weight_, bias_;
  double epsilon_;
};

// Scales the last dimension by a learned factor for each channel: what the linear layer `before` gave. Once the owner
// is folded, that layer does it. Source: Touvron et al. 2021 (arXiv:2103.17239).
class LayerScale {
 public:
  // `initial`: of any shape with as many values as channels.
  LayerScale(Stage* owner, const std::string& path, const at::Tensor& initial, const Linear& before);
  at::Tensor operator()(const at::Tensor& x) const;

 private:
  struct Factors;
  std::shared_ptr<Factors> factors_;
};

enum class Gate { kSigmoid, kHardsigmoid };

// Scales channels by what a small network says of their means; `inner` is its activation. 1x1 convolutions "fc1", "fc2"
// under `path`. Source: Hu et al. 2018 (arXiv:1709.01507).
class SqueezeExcitation {
 public:
  SqueezeExcitation(Stage* owner, const std::string& path, int64_t channels, int64_t squeezed, Activation inner,
                    Gate gate);
  at::Tensor operator()(const at::Tensor& x) const;

 private:
  Conv fc1_, fc2_;
  Gate gate_;
};

// y + x, into y's memory when no gradients are recorded: `y` is the caller's own.
at::Tensor Add(const at::Tensor& y, const at::Tensor& x);

// Parts that run one after the other, each registered under its path.
StagePtr Sequence(const std::vector<std::pair<std::string, StagePtr>>& parts);

// The stage made of one Conv with batch norm at paths "0" and "1" (torchvision's Conv2dNormActivation).
StagePtr ConvNormStage(const ConvOptions& options);

// Global average pooling and flattening: [n, c, h, w] -> [n, c].
StagePtr PoolStage();

// Gives a network, whose feature width is known, a classifier of one linear layer.
void SetLinearClassifier(const std::string& layer, Architecture* architecture);

// One Architecture for each variant.
template <typename Variants, typename Make>
std::vector<Architecture> MakeEach(const Variants& variants, const Make& make) {
  std::vector<Architecture> all;
  for (const auto& variant : variants) all.push_back(make(variant));
  return all;
}

// To the nearest multiple of 8, never more than 10 % below (torchvision _make_divisible).
int64_t MakeDivisible(double value);

// Stages whose tensor prefix is their name ("features.0" ... "features.<count - 1>"), then "avgpool".
std::vector<StageInfo> NumberedStages(const std::string& prefix, int count);

}  // namespace graft

#pragma once

#include <memory>
#include <string>

#include <torch/nn/module.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>

#include "worker/backbone/architecture.h"
#include "worker/backbone/stage.h"

namespace graft {

enum class Activation { kNone, kRelu, kRelu6, kHardswish };

struct ConvNormOptions {
  int64_t in = 0, out = 0;
  int64_t kernel = 1, stride = 1, groups = 1;
  Activation activation = Activation::kNone;
  double epsilon = 1e-5, momentum = 0.1;  // of the batch norm: torch's defaults
  bool same_padding = false;              // TensorFlow's SAME instead of (kernel - 1) / 2
};

// Convolution without bias, batch norm, activation. Registers its two layers in `parent` under the given names, which
// may be paths ("block.0.0"): missing containers on the way are made, so that tensors get torchvision's names.
class ConvNorm {
 public:
  ConvNorm(torch::nn::Module* parent, const std::string& conv_name, const std::string& norm_name,
           const ConvNormOptions& options);
  at::Tensor operator()(const at::Tensor& x);
  void Fold();

 private:
  at::Tensor Convolve(const at::Tensor& x);

  ConvNormOptions options_;
  torch::nn::Conv2d conv_;
  torch::nn::BatchNorm2d norm_;
  bool folded_ = false;
};

// The stage made of one ConvNorm with torchvision's Conv2dNormActivation names ("0", "1").
std::shared_ptr<Stage> ConvNormStage(const ConvNormOptions& options);

// Global average pooling and flattening: [n, c, h, w] -> [n, c].
std::shared_ptr<Stage> PoolStage();

// Registers `child` in `parent` under a path.
void RegisterAt(torch::nn::Module* parent, const std::string& path, std::shared_ptr<torch::nn::Module> child);

at::Tensor Activate(const at::Tensor& x, Activation activation);

}  // namespace graft

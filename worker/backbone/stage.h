#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <torch/nn/module.h>

namespace graft {

// One piece of a network that can be frozen or trained: [n, c, h, w] (or [n, f]) to the next stage's input.
//
// Threads: Forward() of a stage in eval mode is safe from several threads; all else is for one at a time.
class Stage : public torch::nn::Module {
 public:
  virtual at::Tensor Forward(const at::Tensor& x) = 0;
  // Folds each batch norm (its running statistics) into the convolution before it. The stage can then only predict.
  virtual void Fold() = 0;
};

// Named tensors of a stage that a checkpoint keeps: parameters and running statistics, without num_batches_tracked.
std::vector<std::pair<std::string, at::Tensor>> StateOf(const Stage& stage);

// Gives convolution weights the channels-last layout (1.2 to 1.3 times faster on CPU, forward and backward).
void ToChannelsLast(Stage* stage);

// Eval mode, folded, channels-last, without gradients.
void PrepareToPredict(Stage* stage);

}  // namespace graft

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <torch/nn/module.h>

namespace graft {

// A piece of a network, from a whole stage that can be frozen or trained down to one block of it. Its tensors have the
// names that the field gives them: they are registered under paths ("block.0.0"), whatever object holds them.
//
// Threads: Forward() of a stage in eval mode is safe from several threads; all else is for one at a time.
class Stage : public torch::nn::Module {
 public:
  virtual at::Tensor Forward(const at::Tensor& x) = 0;

  // Folds what can be (batch norms into the convolutions before them), here and in all parts. It can then only predict.
  void Fold();

  // For blocks, while their owner is constructed: registers a module or a parameter under a path (missing containers on
  // the way are made), and what Fold() does for it.
  void RegisterAt(const std::string& path, std::shared_ptr<torch::nn::Module> child);
  at::Tensor RegisterTensorAt(const std::string& path, const at::Tensor& initial);
  void OnFold(std::function<void()> fold) { folds_.push_back(std::move(fold)); }

 private:
  torch::nn::Module* ContainerOf(const std::vector<std::string>& path);

  std::vector<std::function<void()>> folds_;
};

using StagePtr = std::shared_ptr<Stage>;

// Named tensors of a stage that a checkpoint keeps: parameters and running statistics, without num_batches_tracked.
std::vector<std::pair<std::string, at::Tensor>> StateOf(const Stage& stage);

// Gives convolution weights the channels-last layout (1.2 to 1.3 times faster on CPU, forward and backward).
void ToChannelsLast(Stage* stage);

// Eval mode, folded, channels-last, without gradients.
void PrepareToPredict(Stage* stage);

}  // namespace graft

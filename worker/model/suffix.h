#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "absl/status/status.h"
#include "worker/backbone/backbone.h"
#include "worker/model/head.h"

namespace graft {

// The trained part of a model: the backbone's stages from a split point on, and a head.
//
// Threads: one at a time, but Forward() in eval mode, without gradients, is safe from several.
class Suffix {
 public:
  // Stages copied from the backbone; a head with weights from `seed`.
  Suffix(const Backbone& backbone, int split_point, const HeadOptions& head, int64_t num_classes, uint64_t seed);
  ~Suffix();

  // Activations [n, ...] of stage split_point - 1, on any device, to logits, float32 [n, classes] on the backbone's.
  // `head_mask`: DropoutMask() of [n, head().last_width()], or undefined.
  at::Tensor Forward(const at::Tensor& activations, const at::Tensor& head_mask = {});

  // Forward(), and adds to the parameters' gradients those of a loss, whose derivative by the logits `derivative` gives.
  void Backpropagate(const at::Tensor& activations, const at::Tensor& head_mask,
                     const std::function<at::Tensor(const at::Tensor& logits)>& derivative);

  // A second suffix over the same weight memory with gradients of its own, for another thread.
  std::unique_ptr<Suffix> Replicate() const;

  // Train mode of the batch norms, all else does not differ.
  void SetBatchNormTraining(bool training);
  // Folded, channels-last, without gradients: for good.
  void PrepareToPredict();

  struct Parameter {
    std::string name;
    at::Tensor value;
    int stage = 0;         // of the backbone; its number of stages for the head
    bool in_head = false;
    bool decays = false;  // weight decay applies: matrices and convolutions, not norms and biases
  };
  std::vector<Parameter> Parameters() const;
  int64_t num_classes() const { return num_classes_; }
  Head& head();

  // All weights and running statistics by name ("features.9.block.0.0.weight", "head.weight").
  std::map<std::string, at::Tensor> State() const;
  // Copies what is in `state`; names this suffix has not are ignored. Returns how many of its own names were absent.
  //   DataLoss  a misshapen tensor
  absl::StatusOr<int> LoadState(const std::map<std::string, at::Tensor>& state);

 private:
  struct Parts;
  Suffix(const Backbone* backbone, int split_point, const HeadOptions& head, int64_t num_classes);
  const Backbone* const backbone_;
  const int split_point_;
  const HeadOptions head_options_;
  const int64_t num_classes_;
  std::unique_ptr<Parts> parts_;
};

}  // namespace graft

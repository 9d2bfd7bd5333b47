#pragma once

#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/backbone/backbone.h"
#include "worker/image/preprocess.h"

namespace graft {

// One immutable snapshot of a network, ready to predict: a suffix that was trained, or the classifier of the backbone's
// own weights, on a backbone that other predictors share.
//
// Threads:  safe for concurrent calls; nothing changes after Load() and OfBackbone().
// Lifetime: held by shared_ptr<const>; a replaced snapshot dies with its last request.
class Predictor {
 public:
  // `checkpoint` is the bytes of a checkpoint file (worker/model/checkpoint.h).
  //   DataLoss            the bytes are damaged, or the golden inputs' logits are not reproduced
  //   FailedPrecondition  it was trained on another backbone (digests differ)
  static absl::StatusOr<std::shared_ptr<const Predictor>> Load(absl::string_view checkpoint,
                                                               std::shared_ptr<const Backbone> backbone);
  // The backbone itself, with the classifier of its own weights.
  //   FailedPrecondition  its weights have none
  static absl::StatusOr<std::shared_ptr<const Predictor>> OfBackbone(std::shared_ptr<const Backbone> backbone);
  ~Predictor();

  const Backbone& backbone() const { return *backbone_; }
  int split_point() const { return split_point_; }
  const std::vector<std::string>& class_names() const { return class_names_; }
  // Each class has a probability of its own: a picture may have any number of them.
  bool multi_label() const { return multi_label_; }
  const PreprocessSpec& preprocessing() const { return preprocessing_; }
  // Predictors with equal keys can share one prefix pass over a mixed batch.
  const std::string& prefix_key() const { return prefix_key_; }
  int64_t bytes() const { return bytes_; }  // memory of its own weights: the suffix's, or the classifier's

  // Both record no gradients and may throw c10::Error: call them inside TryTorch().
  at::Tensor Prefix(const at::Tensor& images) const;          // float32 [n, 3, h, w] -> activations [n, ...]
  // -> float32 [n, classes] on the CPU; rows sum to 1, but with multi_label()
  at::Tensor Probabilities(const at::Tensor& activations) const;

 private:
  struct Suffix;
  Predictor();
  std::shared_ptr<const Backbone> backbone_;
  std::unique_ptr<Suffix> suffix_;  // null: the backbone's own classifier
  int split_point_ = 0;
  std::vector<std::string> class_names_;
  bool multi_label_ = false;
  PreprocessSpec preprocessing_;
  std::string prefix_key_;
  int64_t bytes_ = 0;
};

}  // namespace graft

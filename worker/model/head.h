#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include <ATen/core/Tensor.h>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace graft {

enum class HeadType {
  kLinear,
  kMlp,        // one hidden layer, ReLU, then linear (Chollet 2016: Dense 256, dropout 0.5)
  kLinearSvm,  // linear; trained one-vs-rest with the squared hinge loss (Tang 2013, arXiv:1306.0239)
  kCosine,     // scale * cosine of features and class weights (Gidaris and Komodakis 2018, arXiv:1804.09458)
};

// What turns a backbone's features into logits.
struct HeadOptions {
  HeadType type = HeadType::kLinear;
  int hidden_width = 0;  // of kMlp, 1 to 8192; 0 for the others
  double dropout = 0;    // chance to drop an input of the last layer while training, 0 <= dropout < 1
  // Features are centred and scaled by their mean and deviation over the training pictures, which the head keeps.
  bool standardize = false;

  //   InvalidArgument  every violation, one a line: "head.dropout: got 1, want 0 <= dropout < 1"
  absl::Status Validate() const;
  bool operator==(const HeadOptions& other) const;
};

// Trainable numbers of such a head.
int64_t ParameterCount(const HeadOptions& options, int64_t feature_width, int64_t num_classes);

absl::string_view HeadTypeName(HeadType type);  // "linear", "mlp", "linear-svm", "cosine"
//   InvalidArgument  "head.type: got \"x\", want ..."
absl::StatusOr<HeadType> ParseHeadType(absl::string_view name);

class Stage;

// Tensors "weight" and "bias" of the last layer ("scale" instead of the bias with kCosine), "hidden.weight" and
// "hidden.bias", "center" and "scale_in" of the features' statistics. Initial values are drawn from `seed`: uniform
// within +-1/sqrt(inputs), torch.nn.Linear's rule.
//
// Threads: one at a time, but Forward() without gradients is safe from several.
class Head {
 public:
  Head(const HeadOptions& options, int64_t feature_width, int64_t num_classes);
  ~Head();
  void Initialise(uint64_t seed);
  // Of the features, [feature_width] each, float32; the head must standardize. A deviation of 0 counts as 1.
  void SetStatistics(const at::Tensor& mean, const at::Tensor& deviation);

  // Features [n, feature_width] to logits [n, classes]. `mask`: what the last layer's inputs are multiplied by, float32
  // [n, last_width()]; undefined: nothing.
  at::Tensor Forward(const at::Tensor& features, const at::Tensor& mask) const;
  int64_t last_width() const;  // inputs of the last layer

  // Forward() in two halves: what the last layer is given [n, last_width()], and what it makes of that [n, classes].
  at::Tensor LastInputs(const at::Tensor& features, const at::Tensor& mask) const;
  at::Tensor Last(const at::Tensor& inputs) const;
  // Whether a last layer is all that the head trains, and linear.
  bool is_one_linear_layer() const;
  // Of such a head: adds its parameters' gradients for the derivative of a loss by its logits, [n, classes], without
  // autograd, whose dispatch takes several times the arithmetic's time.
  void AddGradients(const at::Tensor& inputs, const at::Tensor& logits_gradient);

  const std::shared_ptr<Stage>& stage() const { return stage_; }

 private:
  class Network;
  std::shared_ptr<Network> network_;
  std::shared_ptr<Stage> stage_;  // the same object
};

// Dropout (Srivastava et al. 2014): 0 with chance `dropout`, else 1 / (1 - dropout). float32 [n, width] on the CPU, the
// same for the same key; undefined when `dropout` is 0.
at::Tensor DropoutMask(double dropout, int64_t n, int64_t width, uint64_t key);

}  // namespace graft

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace graft {

enum class OptimizerKind {
  kSgd,      // momentum, optionally Nesterov's (Sutskever et al. 2013); weight decay is L2, added to the gradient
  kAdamW,    // Adam (arXiv:1412.6980) with decoupled weight decay, Loshchilov & Hutter (arXiv:1711.05101)
  kRmsProp,  // Hinton, Coursera lecture 6e; not centered, with momentum; weight decay is L2, added to the gradient
  kLbfgs,    // Lbfgs (lbfgs.h); weight decay is part of the objective: loss + weight_decay / 2 * |values|^2
};

std::string OptimizerName(OptimizerKind kind);  // "sgd", "adamw", "rmsprop", "lbfgs"

// Defaults are those of torch.optim, but momentum (torchvision references/classification/train.py: 0.9 for both) and
// history (torch keeps 100; Nocedal & Wright 2006, section 7.2: 3 to 20 do).
struct OptimizerOptions {
  OptimizerKind kind = OptimizerKind::kSgd;
  double momentum = 0.9;              // SGD, RMSprop
  bool nesterov = false;              // SGD
  double beta1 = 0.9, beta2 = 0.999;  // AdamW: of the averages of the gradient and of its square
  double smoothing = 0.99;            // RMSprop: of the average of the gradient's square
  double epsilon = 1e-8;              // AdamW, RMSprop: added to the square root that divides
  int history = 10;                   // L-BFGS: pairs kept, each as large as two copies of the values

  //   InvalidArgument  every violation, one a line: "momentum: got 1.5, want 0 <= momentum < 1"
  absl::Status Validate() const;
};

// Updates parameters from their gradients, step for step torch.optim's arithmetic. Not torch::optim itself: its state
// is keyed differently in LibTorch 1.13 and 2.6, and a resumable job must store it.
//
// Threads:  one at a time.
// Lifetime: the values are updated in place, never allocated anew: memory they share with other tensors stays shared.
class Optimizer {
 public:
  struct Parameter {
    std::string name;
    at::Tensor value;
    double learning_rate = 0;  // scaled by Step()'s factor; L-BFGS takes the first parameter's for all
    double weight_decay = 0;
  };
  // Computes the loss and sets the gradients (value.grad()) at the current values; they are fresh, not accumulated
  // onto old ones. It runs with gradients enabled. A parameter that gets none is skipped.
  using Closure = std::function<absl::StatusOr<double>()>;

  // `options` must be valid, names unique, and parameters not empty.
  static std::unique_ptr<Optimizer> Create(const OptimizerOptions& options, std::vector<Parameter> parameters);

  virtual ~Optimizer();
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  // One update with every learning rate times `factor`, and the gradients cleared. First-order optimizers call
  // `closure` once; L-BFGS up to 27 times, for its line search. Returns what the first call returned (without weight
  // decay), the loss before the update. After an error of `closure` the values are those from before, and the step can
  // be repeated.
  //   closure's own errors
  //   ResourceExhausted  out of memory
  //   Internal  LibTorch fails otherwise
  virtual absl::StatusOr<double> Step(double factor, const Closure& closure) = 0;

  // Everything beyond the values that the next step depends on, by name: "momentum.<parameter>" and the like, empty
  // before the first step. The tensors share memory with the optimizer: store them before the next Step().
  virtual std::map<std::string, at::Tensor> State() const = 0;

  // Replaces the state by copies, so that going on is bit for bit what it would have been. On an error it stays.
  //   DataLoss  a tensor of another shape or dtype, an unknown name, or a missing one
  virtual absl::Status LoadState(const std::map<std::string, at::Tensor>& state) = 0;

  const std::vector<Parameter>& parameters() const { return parameters_; }

 protected:
  explicit Optimizer(std::vector<Parameter> parameters) : parameters_(std::move(parameters)) {}

  std::vector<Parameter> parameters_;
};

}  // namespace graft

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace graft {

// Limited-memory BFGS with a line search for the strong Wolfe conditions. For small problems whose closure sees all the
// data (a linear head on cached activations): it converges in tens of steps, with no learning rate to choose.
//
// Threads:  one at a time.
// Lifetime: the values are updated in place, never allocated anew.
// Source:   Nocedal & Wright 2006, Numerical Optimization, algorithms 7.4 (two-loop recursion), 3.5 (bracketing) and
//           3.6 (zoom); step for step torch.optim.LBFGS(max_iter=1, line_search_fn="strong_wolfe").
class Lbfgs {
 public:
  // Computes the loss and sets the gradients of the values, as Optimizer::Closure does.
  using Closure = std::function<absl::StatusOr<double>()>;

  // `values` are at least one, of one floating dtype and one device; `history` >= 1 is how many pairs are kept.
  Lbfgs(std::vector<at::Tensor> values, int history);

  // One iteration: a direction, and a line search along it that tries `learning_rate` first (1 is natural; the very
  // first step, without history, tries min(1, 1 / |gradient|_1) of it). Returns the loss before it; clears the
  // gradients. Nothing moves at the optimum (no gradient above 1e-7, or a slope above -1e-9: torch's tolerances) nor
  // when the loss is not finite. A value without a gradient counts as having one of zeros. After an error everything is
  // as before.
  //   closure's own errors
  //   ResourceExhausted  out of memory
  //   Internal  LibTorch fails otherwise
  absl::StatusOr<double> Step(double learning_rate, const Closure& closure);

  // What the next step depends on, with all n numbers of the values in one row: "step" int64 [1], "step_length" and
  // "h_diag" float64 [1], "direction" and "previous_gradient" [n], and with history "s" and "y" [k, n] and "ro"
  // float64 [k]. Empty before the first step.
  std::map<std::string, at::Tensor> State() const;
  //   DataLoss  a tensor of another shape or dtype, an unknown name, or a missing one; the state stays
  absl::Status LoadState(const std::map<std::string, at::Tensor>& state);

 private:
  struct Pair {
    at::Tensor s, y;  // [n], changes of the values and of the gradient
    double ro = 0;    // 1 / s.y
  };
  struct Memory {
    int64_t step = 0;
    double step_length = 0;
    double h_diag = 1;  // the inverse Hessian before the pairs is this times the identity
    at::Tensor direction, previous_gradient;  // [n]
    std::vector<Pair> pairs;                  // oldest first
  };

  absl::StatusOr<double> Evaluate(const Closure& closure, at::Tensor* gradient);
  Memory NextMemory(const at::Tensor& gradient) const;
  static at::Tensor Direction(const at::Tensor& gradient, const Memory& memory);
  absl::StatusOr<double> Search(const Closure& closure, const Memory& memory, double loss, double slope, double step);
  void MoveTo(const std::vector<at::Tensor>& start, const at::Tensor& direction, double step);
  absl::StatusOr<Memory> ParseMemory(const std::map<std::string, at::Tensor>& state) const;

  std::vector<at::Tensor> values_;
  const int history_;
  Memory memory_;  // its tensors are never written to, so that copies are cheap and independent
};

// Whether a stored tensor can take the place of `want`, whose name in the state is `name`.
//   DataLoss  another shape or dtype
absl::Status CheckStateTensor(const std::string& name, const at::Tensor& got, const at::Tensor& want);

}  // namespace graft

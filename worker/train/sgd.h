#pragma once

#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

namespace graft {

// Stochastic gradient descent with momentum and L2 weight decay, step for step torch.optim.SGD's arithmetic. Not
// torch::optim::SGD: its state is keyed differently in LibTorch 1.13 and 2.6, and a resumable job must store it.
//
// Threads: one at a time.
class Sgd {
 public:
  struct Parameter {
    std::string name;
    at::Tensor value;          // updated in place from its grad(), which Step() clears
    double learning_rate = 0;  // scaled by Step()'s factor
    double weight_decay = 0;
    at::Tensor momentum;       // undefined before the first step
  };

  Sgd(std::vector<Parameter> parameters, double momentum) : parameters_(std::move(parameters)), momentum_(momentum) {}

  // One update with every learning rate times `factor`.
  void Step(double factor);

  std::vector<Parameter>& parameters() { return parameters_; }

 private:
  std::vector<Parameter> parameters_;
  const double momentum_;
};

}  // namespace graft

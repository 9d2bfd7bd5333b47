#include "worker/train/sgd.h"

#include <torch/torch.h>

namespace graft {

void Sgd::Step(double factor) {
  torch::NoGradGuard no_grad;
  for (Parameter& p : parameters_) {
    at::Tensor gradient = p.value.grad();
    if (!gradient.defined()) continue;
    if (p.weight_decay != 0) gradient = gradient.add(p.value, p.weight_decay);
    if (p.momentum.defined()) {
      p.momentum.mul_(momentum_).add_(gradient);
    } else {
      p.momentum = gradient.clone();
    }
    p.value.add_(p.momentum, -p.learning_rate * factor);
    p.value.mutable_grad().reset();
  }
}

}  // namespace graft

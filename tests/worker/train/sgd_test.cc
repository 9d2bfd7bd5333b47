#include "worker/train/sgd.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

namespace graft {
namespace {

at::Tensor Values(uint64_t seed) { return at::randn({3, 5}, at::detail::createCPUGenerator(seed)); }

// Ours and torch::optim::SGD, side by side on the same gradients.
void ExpectSameSteps(double momentum, double weight_decay) {
  at::Tensor ours = Values(1).requires_grad_(true), theirs = Values(1).requires_grad_(true);
  Sgd sgd({{"x", ours, 0.1, weight_decay, at::Tensor()}}, momentum);
  torch::optim::SGD reference({theirs}, torch::optim::SGDOptions(0.1).momentum(momentum).weight_decay(weight_decay));
  for (uint64_t step = 0; step < 20; ++step) {
    const at::Tensor gradient = Values(100 + step);
    ours.mutable_grad() = gradient.clone();
    theirs.mutable_grad() = gradient.clone();
    sgd.Step(1);
    reference.step();
    ASSERT_LT((ours - theirs).abs().max().item<double>(), 1e-7) << "step " << step;
  }
}

TEST(SgdTest, EqualsTorchsStepByStep) {
  for (const double momentum : {0.0, 0.9}) {
    for (const double weight_decay : {0.0, 0.01}) ExpectSameSteps(momentum, weight_decay);
  }
}

TEST(SgdTest, FactorScalesTheLearningRate) {
  at::Tensor x = at::ones({2}).requires_grad_(true);
  Sgd sgd({{"x", x, 0.5, 0, at::Tensor()}}, 0.9);
  x.mutable_grad() = at::ones({2});
  sgd.Step(0.1);
  EXPECT_TRUE(at::allclose(x, at::full({2}, 0.95f)));
}

TEST(SgdTest, StepClearsGradientsAndSkipsWhatHasNone) {
  at::Tensor x = at::ones({2}).requires_grad_(true), y = at::ones({2}).requires_grad_(true);
  Sgd sgd({{"x", x, 0.5, 0, at::Tensor()}, {"y", y, 0.5, 0, at::Tensor()}}, 0.9);
  x.mutable_grad() = at::ones({2});
  sgd.Step(1);
  EXPECT_FALSE(x.grad().defined());
  EXPECT_TRUE(at::equal(y, at::ones({2})));
  EXPECT_FALSE(sgd.parameters()[1].momentum.defined());
}

}  // namespace
}  // namespace graft

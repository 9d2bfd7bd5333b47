#include "worker/train/lbfgs.h"

#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

namespace graft {
namespace {

using Loss = std::function<at::Tensor(const std::vector<at::Tensor>& values)>;

at::Tensor Normal(uint64_t seed, at::IntArrayRef shape) {
  return at::randn(shape, at::detail::createCPUGenerator(seed), at::kDouble);
}

// Softmax regression of 60 examples, 5 features, 3 classes that are not separable; values: weight [3, 5], bias [3].
Loss LogisticRegression() {
  const at::Tensor x = Normal(1, {60, 5});
  const at::Tensor labels = (x.matmul(Normal(2, {5, 3})) + Normal(3, {60, 3})).argmax(1);
  return [x, labels](const std::vector<at::Tensor>& v) {
    return at::cross_entropy_loss(at::linear(x, v[0], v[1]), labels);
  };
}

std::vector<at::Tensor> Start() {
  return {Normal(4, {3, 5}).requires_grad_(true), Normal(5, {3}).requires_grad_(true)};
}

// Rosenbrock's function, from its usual start: its curved valley makes the line search bracket, extrapolate and zoom.
at::Tensor Rosenbrock(const std::vector<at::Tensor>& v) {
  const at::Tensor x = v[0][0], y = v[0][1];
  return (1 - x).square() + 100 * (y - x.square()).square();
}

std::vector<at::Tensor> RosenbrockStart() {
  return {at::tensor({-1.2, 1.0}, at::kDouble).requires_grad_(true)};
}

Lbfgs::Closure ClosureOf(const Loss& loss, const std::vector<at::Tensor>& values) {
  return [loss, values]() -> absl::StatusOr<double> {
    const at::Tensor value = loss(values);
    value.backward();
    return value.item<double>();
  };
}

// Ours and torch::optim::LBFGS side by side, from the same start.
void ExpectTorchsSteps(const Loss& loss, const std::vector<at::Tensor>& start, double learning_rate, int history,
                       int steps) {
  std::vector<at::Tensor> ours, theirs;
  for (const at::Tensor& value : start) {
    ours.push_back(value.detach().clone().requires_grad_(true));
    theirs.push_back(value.detach().clone().requires_grad_(true));
  }
  Lbfgs lbfgs(ours, history);
  torch::optim::LBFGS reference(theirs, torch::optim::LBFGSOptions(learning_rate)
                                            .max_iter(1)
                                            .history_size(history)
                                            .line_search_fn("strong_wolfe"));
  for (int step = 0; step < steps; ++step) {
    const absl::StatusOr<double> got = lbfgs.Step(learning_rate, ClosureOf(loss, ours));
    ASSERT_TRUE(got.ok()) << got.status();
    const double want = reference
                            .step([&] {
                              reference.zero_grad();
                              at::Tensor value = loss(theirs);
                              value.backward();
                              return value;
                            })
                            .item<double>();
    ASSERT_NEAR(*got, want, 1e-6 * std::abs(want) + 1e-12) << "step " << step;
    for (size_t i = 0; i < ours.size(); ++i) {
      ASSERT_TRUE(at::allclose(ours[i], theirs[i], 1e-6, 1e-9)) << "step " << step << "\n" << ours[i] << theirs[i];
    }
  }
}

TEST(LbfgsTest, EqualsTorchsStepByStepOnLogisticRegression) {
  ExpectTorchsSteps(LogisticRegression(), Start(), 1, 10, 30);
}

TEST(LbfgsTest, EqualsTorchsWhenTheHistoryIsFull) { ExpectTorchsSteps(LogisticRegression(), Start(), 1, 2, 30); }

TEST(LbfgsTest, EqualsTorchsWithOtherLearningRates) {
  for (const double rate : {0.01, 0.3, 30.0}) ExpectTorchsSteps(LogisticRegression(), Start(), rate, 10, 15);
}

TEST(LbfgsTest, EqualsTorchsOnRosenbrocksFunction) {
  for (const double rate : {1e-4, 0.1, 1.0, 50.0}) ExpectTorchsSteps(Rosenbrock, RosenbrockStart(), rate, 10, 45);
}

TEST(LbfgsTest, EqualsTorchsOnAFunctionWithManyMinima) {
  const Loss waves = [](const std::vector<at::Tensor>& v) {
    return (0.05 * v[0].square() + (3 * v[0] + v[0].roll(1)).sin()).sum();
  };
  for (uint64_t seed = 20; seed < 30; ++seed) {
    for (const double rate : {0.1, 1.0, 20.0}) {
      ExpectTorchsSteps(waves, {(4 * Normal(seed, {3})).requires_grad_(true)}, rate, 5, 15);
    }
  }
}

// No step satisfies the conditions: the search gives up after the 25 tries that torch's takes.
TEST(LbfgsTest, EqualsTorchsOnAFunctionWithoutMinimum) {
  const Loss slope = [](const std::vector<at::Tensor>& v) { return -v[0].sum(); };
  const std::vector<at::Tensor> values = {at::zeros({2}, at::kDouble).requires_grad_(true)};
  ExpectTorchsSteps(slope, values, 1, 5, 1);
  int calls = 0;
  const Lbfgs::Closure closure = ClosureOf(slope, values);
  ASSERT_TRUE(Lbfgs(values, 5).Step(1, [&] { return ++calls, closure(); }).ok());
  EXPECT_EQ(calls, 27);
}

// It stops when the slope along its direction is above -1e-9, as torch's does: some 1e-9 above the smallest loss, and
// at the square root of that in values and gradients, times what the curvature makes of it.
constexpr double kOptimum = 1e-5;

TEST(LbfgsTest, ReachesTheMinimumOfAConvexFunction) {
  const at::Tensor root = Normal(6, {12, 12}), want = Normal(7, {12});
  const Loss quadratic = [&](const std::vector<at::Tensor>& v) {
    const at::Tensor off = v[0] - want;
    return root.mv(off).square().sum() + 0.1 * off.square().sum();  // smallest at `want` alone
  };
  const std::vector<at::Tensor> values = {at::zeros({12}, at::kDouble).requires_grad_(true)};
  Lbfgs lbfgs(values, 10);
  for (int i = 0; i < 60; ++i) ASSERT_TRUE(lbfgs.Step(1, ClosureOf(quadratic, values)).ok());
  EXPECT_TRUE(at::allclose(values[0], want, 0, kOptimum)) << values[0] - want;
}

TEST(LbfgsTest, ReachesTheOptimumOfLogisticRegression) {
  const Loss loss = LogisticRegression();
  const std::vector<at::Tensor> values = Start();
  Lbfgs lbfgs(values, 10);
  for (int i = 0; i < 60; ++i) ASSERT_TRUE(lbfgs.Step(1, ClosureOf(loss, values)).ok());
  loss(values).backward();
  EXPECT_LT(values[0].grad().abs().max().item<double>(), kOptimum);
  EXPECT_LT(values[1].grad().abs().max().item<double>(), kOptimum);
}

TEST(LbfgsTest, StateGoesOnBitForBit) {
  const Loss loss = LogisticRegression();
  for (const int steps : {0, 1, 2, 8}) {
    std::vector<at::Tensor> ours = Start(), copies;
    Lbfgs lbfgs(ours, 4);
    for (int i = 0; i < steps; ++i) ASSERT_TRUE(lbfgs.Step(1, ClosureOf(loss, ours)).ok());
    for (const at::Tensor& value : ours) copies.push_back(value.detach().clone().requires_grad_(true));
    Lbfgs restored(copies, 4);
    ASSERT_TRUE(restored.LoadState(lbfgs.State()).ok());
    for (int i = 0; i < 6; ++i) {
      ASSERT_TRUE(lbfgs.Step(1, ClosureOf(loss, ours)).ok());
      ASSERT_TRUE(restored.Step(1, ClosureOf(loss, copies)).ok());
    }
    EXPECT_TRUE(at::equal(ours[0], copies[0])) << "after " << steps;
    EXPECT_TRUE(at::equal(ours[1], copies[1])) << "after " << steps;
  }
}

TEST(LbfgsTest, AnErrorInTheLineSearchLeavesEverythingAsItWas) {
  const Loss loss = LogisticRegression();
  std::vector<at::Tensor> ours = Start(), straight = Start();
  Lbfgs lbfgs(ours, 4), uninterrupted(straight, 4);
  const Lbfgs::Closure closure = ClosureOf(loss, ours);
  for (int i = 0; i < 3; ++i) {
    const std::vector<at::Tensor> before = {ours[0].detach().clone(), ours[1].detach().clone()};
    int calls = 0;
    const absl::StatusOr<double> got = lbfgs.Step(1, [&]() -> absl::StatusOr<double> {
      absl::StatusOr<double> value = closure();
      return ++calls == 2 ? absl::CancelledError("enough") : value;
    });
    EXPECT_EQ(got.status(), absl::CancelledError("enough"));
    EXPECT_TRUE(at::equal(ours[0], before[0]) && at::equal(ours[1], before[1]));
    EXPECT_FALSE(ours[0].grad().defined());
    ASSERT_TRUE(lbfgs.Step(1, closure).ok());
    ASSERT_TRUE(uninterrupted.Step(1, ClosureOf(loss, straight)).ok());
    EXPECT_TRUE(at::equal(ours[0], straight[0])) << "step " << i;
  }
}

TEST(LbfgsTest, AnInfiniteLossShortensTheStep) {
  // Beyond 2 there is no loss; torch's first step from 0 is 1, and 40 times that is well beyond.
  for (const double beyond : {std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
    const std::vector<at::Tensor> values = {at::zeros({1}, at::kDouble).requires_grad_(true)};
    Lbfgs lbfgs(values, 4);
    const Loss loss = [&](const std::vector<at::Tensor>& v) {
      return v[0].item<double>() > 2 ? v[0].sum() * beyond : (v[0] - 1).square().sum();
    };
    for (int i = 0; i < 10; ++i) ASSERT_TRUE(lbfgs.Step(40, ClosureOf(loss, values)).ok());
    EXPECT_NEAR(values[0].item<double>(), 1, 1e-6);
  }
}

TEST(LbfgsTest, NothingMovesFromALossThatIsNotFinite) {
  const std::vector<at::Tensor> values = {at::ones({1}, at::kDouble).requires_grad_(true)};
  Lbfgs lbfgs(values, 4);
  const absl::StatusOr<double> loss =
      lbfgs.Step(1, ClosureOf([](const std::vector<at::Tensor>& v) { return (v[0] / 0).sum(); }, values));
  ASSERT_TRUE(loss.ok());
  EXPECT_TRUE(std::isinf(*loss));
  EXPECT_EQ(values[0].item<double>(), 1);
  EXPECT_TRUE(lbfgs.State().empty());
}

TEST(LbfgsTest, NothingMovesAtTheOptimumOrWithoutALearningRate) {
  const std::vector<at::Tensor> values = {at::ones({1}, at::kDouble).requires_grad_(true)};
  Lbfgs lbfgs(values, 4);
  const auto square_to = [](double target) {
    return [target](const std::vector<at::Tensor>& v) { return (v[0] - target).square().sum(); };
  };
  ASSERT_TRUE(lbfgs.Step(1, ClosureOf(square_to(1), values)).ok());
  EXPECT_EQ(values[0].item<double>(), 1);
  ASSERT_TRUE(lbfgs.Step(0, ClosureOf(square_to(2), values)).ok());
  EXPECT_EQ(values[0].item<double>(), 1);
  ASSERT_TRUE(lbfgs.Step(1, ClosureOf(square_to(2), values)).ok());
  EXPECT_NE(values[0].item<double>(), 1);
}

TEST(LbfgsTest, ALayoutChangesNoStep) {
  // A weight's gradient may be channels-last as well: flattening it must follow the indices, not the memory.
  const at::Tensor target = Normal(8, {4, 3, 2, 2});
  const at::Tensor scale = Normal(9, {4, 3, 2, 2}).square() + 0.5;
  const Loss loss = [&](const std::vector<at::Tensor>& v) { return (scale * (v[0] - target).square()).sum(); };
  const at::Tensor start = Normal(10, {4, 3, 2, 2});
  const std::vector<at::Tensor> plain = {start.clone().requires_grad_(true)};
  const std::vector<at::Tensor> last = {start.contiguous(at::MemoryFormat::ChannelsLast).requires_grad_(true)};
  Lbfgs a(plain, 3), b(last, 3);
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(a.Step(1, ClosureOf(loss, plain)).ok());
    ASSERT_TRUE(b.Step(1, ClosureOf(loss, last)).ok());
    ASSERT_TRUE(at::allclose(plain[0], last[0], 1e-9)) << "step " << i;
  }
  EXPECT_TRUE(last[0].is_contiguous(at::MemoryFormat::ChannelsLast));
}

TEST(LbfgsTest, ADamagedStateIsDataLossAndChangesNothing) {
  const Loss loss = LogisticRegression();
  const std::vector<at::Tensor> values = Start();
  Lbfgs lbfgs(values, 4);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(lbfgs.Step(1, ClosureOf(loss, values)).ok());
  const auto good = lbfgs.State();
  ASSERT_EQ(good.count("s"), 1u);

  std::vector<std::map<std::string, at::Tensor>> damaged;
  for (const auto& entry : good) {
    damaged.push_back(good);
    damaged.back()[entry.first] = at::zeros({3, 7}, entry.second.options());
    damaged.push_back(good);
    damaged.back()[entry.first] = entry.second.to(at::kFloat);
    damaged.push_back(good);
    damaged.back().erase(entry.first);
  }
  damaged.push_back(good);
  damaged.back()["momentum"] = at::zeros({1});
  for (const auto& state : damaged) EXPECT_EQ(lbfgs.LoadState(state).code(), absl::StatusCode::kDataLoss);
  for (const auto& [name, tensor] : lbfgs.State()) EXPECT_TRUE(at::equal(tensor, good.at(name))) << name;
}

TEST(LbfgsTest, AStateWithMoreHistoryThanAskedForIsDataLoss) {
  const Loss loss = LogisticRegression();
  const std::vector<at::Tensor> values = Start();
  Lbfgs lbfgs(values, 4);
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(lbfgs.Step(1, ClosureOf(loss, values)).ok());
  EXPECT_EQ(Lbfgs(values, 3).LoadState(lbfgs.State()).code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace graft

#include "worker/train/optimizer.h"

#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

namespace graft {
namespace {

constexpr OptimizerKind kKinds[] = {OptimizerKind::kSgd, OptimizerKind::kAdamW, OptimizerKind::kRmsProp,
                                    OptimizerKind::kLbfgs};

at::Tensor Values(uint64_t seed) { return at::randn({3, 5}, at::detail::createCPUGenerator(seed)); }

OptimizerOptions Of(OptimizerKind kind) {
  OptimizerOptions options;
  options.kind = kind;
  return options;
}

// A closure that only sets `gradient` on `value`.
Optimizer::Closure Gives(const at::Tensor& value, const at::Tensor& gradient) {
  return [value, gradient]() -> absl::StatusOr<double> {
    value.mutable_grad() = gradient.clone();
    return 7;
  };
}

// A closure of a convex function of all the values; not quadratic, so that L-BFGS has several steps to take.
Optimizer::Closure Convex(const std::vector<at::Tensor>& values) {
  return [values]() -> absl::StatusOr<double> {
    at::Tensor loss = at::zeros({});
    for (const at::Tensor& v : values) {
      const at::Tensor off = v - at::arange(v.numel()).view(v.sizes()) / 10;
      loss = loss + off.square().sum() + off.exp().sum() + 0.1 * off.sum().square();
    }
    loss.backward();
    return loss.item<double>();
  };
}

using Reference = std::function<std::unique_ptr<torch::optim::Optimizer>(const at::Tensor& value)>;

// Ours and torch's, side by side on the same gradients.
void ExpectTorchsSteps(const OptimizerOptions& options, double rate, double weight_decay, const Reference& reference) {
  const at::Tensor ours = Values(1).requires_grad_(true), theirs = Values(1).requires_grad_(true);
  const auto optimizer = Optimizer::Create(options, {{"x", ours, rate, weight_decay}});
  const auto torchs = reference(theirs);
  for (uint64_t step = 0; step < 20; ++step) {
    const at::Tensor gradient = Values(100 + step);
    theirs.mutable_grad() = gradient.clone();
    torchs->step();
    ASSERT_TRUE(optimizer->Step(1, Gives(ours, gradient)).ok());
    ASSERT_LT((ours - theirs).abs().max().item<double>(), 1e-7) << "step " << step;
  }
}

TEST(OptimizerTest, SgdEqualsTorchsStepByStep) {
  for (const double momentum : {0.0, 0.9}) {
    for (const double decay : {0.0, 0.01}) {
      for (const bool nesterov : {false, true}) {
        OptimizerOptions options = Of(OptimizerKind::kSgd);
        options.momentum = momentum;
        options.nesterov = nesterov;
        if (!options.Validate().ok()) continue;
        ExpectTorchsSteps(options, 0.1, decay, [&](const at::Tensor& value) {
          return std::make_unique<torch::optim::SGD>(
              std::vector<at::Tensor>{value},
              torch::optim::SGDOptions(0.1).momentum(momentum).weight_decay(decay).nesterov(nesterov));
        });
      }
    }
  }
}

TEST(OptimizerTest, AdamWEqualsTorchsStepByStep) {
  for (const double decay : {0.0, 0.1}) {
    OptimizerOptions options = Of(OptimizerKind::kAdamW);
    options.beta1 = 0.8;
    options.beta2 = 0.95;
    options.epsilon = 1e-3;
    ExpectTorchsSteps(options, 0.05, decay, [&](const at::Tensor& value) {
      return std::make_unique<torch::optim::AdamW>(
          std::vector<at::Tensor>{value},
          torch::optim::AdamWOptions(0.05).betas({0.8, 0.95}).eps(1e-3).weight_decay(decay));
    });
  }
}

TEST(OptimizerTest, RmsPropEqualsTorchsStepByStep) {
  for (const double momentum : {0.0, 0.9}) {
    for (const double decay : {0.0, 0.01}) {
      OptimizerOptions options = Of(OptimizerKind::kRmsProp);
      options.momentum = momentum;
      options.smoothing = 0.95;
      options.epsilon = 1e-3;
      ExpectTorchsSteps(options, 0.01, decay, [&](const at::Tensor& value) {
        return std::make_unique<torch::optim::RMSprop>(
            std::vector<at::Tensor>{value},
            torch::optim::RMSpropOptions(0.01).alpha(0.95).eps(1e-3).momentum(momentum).weight_decay(decay));
      });
    }
  }
}

TEST(OptimizerTest, LbfgsDecayIsPartOfTheObjective) {
  constexpr double kDecay = 0.2;
  const at::Tensor ours = Values(1).to(at::kDouble).requires_grad_(true);
  const at::Tensor theirs = Values(1).to(at::kDouble).requires_grad_(true);
  const auto optimizer = Optimizer::Create(Of(OptimizerKind::kLbfgs), {{"x", ours, 0.5, kDecay}});
  torch::optim::LBFGS reference(
      {theirs}, torch::optim::LBFGSOptions(0.5).max_iter(1).history_size(10).line_search_fn("strong_wolfe"));
  for (int step = 0; step < 10; ++step) {
    double plain = 0;
    bool first = true;
    reference.step([&] {
      reference.zero_grad();
      const double loss = *Convex({theirs})();
      if (first) plain = loss;
      first = false;
      at::Tensor decay = 0.5 * kDecay * theirs.square().sum();
      decay.backward();
      return decay.detach() + loss;
    });
    const absl::StatusOr<double> loss = optimizer->Step(1, Convex({ours}));
    ASSERT_TRUE(loss.ok()) << loss.status();
    ASSERT_NEAR(*loss, plain, 1e-6 * plain) << "the loss is the closure's own";
    ASSERT_TRUE(at::allclose(ours, theirs, 1e-6, 1e-9)) << "step " << step;
  }
}

TEST(OptimizerTest, FactorScalesEachLearningRate) {
  const at::Tensor x = at::ones({2}).requires_grad_(true), y = at::ones({2}).requires_grad_(true);
  const auto sgd = Optimizer::Create(Of(OptimizerKind::kSgd), {{"x", x, 0.5, 0}, {"y", y, 2, 0}});
  const absl::StatusOr<double> loss = sgd->Step(0.1, [&]() -> absl::StatusOr<double> {
    x.mutable_grad() = at::ones({2});
    y.mutable_grad() = at::ones({2});
    return 7;
  });
  ASSERT_TRUE(loss.ok());
  EXPECT_EQ(*loss, 7);
  EXPECT_TRUE(at::allclose(x, at::full({2}, 0.95f)));
  EXPECT_TRUE(at::allclose(y, at::full({2}, 0.8f)));
}

TEST(OptimizerTest, LbfgsScalesItsFirstTrialByFactorAndLearningRate) {
  // f = x^2 from 1: the first trial is min(1, 1 / |gradient|_1) * rate * factor times -gradient.
  const at::Tensor x = at::ones({1}, at::kDouble).requires_grad_(true);
  const auto lbfgs = Optimizer::Create(Of(OptimizerKind::kLbfgs), {{"x", x, 0.5, 0}});
  std::vector<double> tried;
  ASSERT_TRUE(lbfgs->Step(0.25, [&]() -> absl::StatusOr<double> {
    tried.push_back(x.item<double>());
    const at::Tensor loss = x.square().sum();
    loss.backward();
    return loss.item<double>();
  }).ok());
  ASSERT_GE(tried.size(), 2u);
  EXPECT_DOUBLE_EQ(tried[0], 1);
  EXPECT_DOUBLE_EQ(tried[1], 1 - 0.5 * 0.5 * 0.25 * 2);
}

TEST(OptimizerTest, StepClearsGradientsAndSkipsWhatHasNone) {
  for (const OptimizerKind kind : kKinds) {
    const at::Tensor x = Values(1).requires_grad_(true), y = Values(2).requires_grad_(true);
    const auto optimizer = Optimizer::Create(Of(kind), {{"x", x, 0.1, 0.1}, {"y", y, 0.1, 0.1}});
    ASSERT_TRUE(optimizer->Step(1, Convex({x})).ok());
    EXPECT_FALSE(x.grad().defined());
    EXPECT_FALSE(at::equal(x, Values(1)));
    EXPECT_TRUE(at::equal(y, Values(2))) << "kind " << static_cast<int>(kind);
    for (const auto& entry : optimizer->State()) EXPECT_EQ(entry.first.find(".y"), std::string::npos) << entry.first;
  }
}

TEST(OptimizerTest, ValuesKeepTheirMemory) {
  for (const OptimizerKind kind : kKinds) {
    const at::Tensor memory = Values(1), x = memory.detach().requires_grad_(true);
    const auto optimizer = Optimizer::Create(Of(kind), {{"x", x, 0.1, 0.1}});
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(optimizer->Step(1, Convex({x})).ok());
    EXPECT_EQ(x.data_ptr(), memory.data_ptr());
    EXPECT_TRUE(at::equal(memory, x));
    EXPECT_FALSE(at::equal(memory, Values(1)));
  }
}

TEST(OptimizerTest, AnErrorOfTheClosureChangesNothing) {
  for (const OptimizerKind kind : kKinds) {
    const at::Tensor x = Values(1).requires_grad_(true);
    const auto optimizer = Optimizer::Create(Of(kind), {{"x", x, 0.1, 0.1}});
    const absl::StatusOr<double> loss = optimizer->Step(1, [&]() -> absl::StatusOr<double> {
      x.mutable_grad() = at::ones_like(x);
      return absl::CancelledError("enough");
    });
    EXPECT_EQ(loss.status(), absl::CancelledError("enough"));
    EXPECT_TRUE(at::equal(x, Values(1)));
    EXPECT_FALSE(x.grad().defined());
    EXPECT_TRUE(optimizer->State().empty());
  }
}

TEST(OptimizerTest, WhatLibTorchThrowsBecomesAStatus) {
  for (const OptimizerKind kind : kKinds) {
    const at::Tensor x = Values(1).requires_grad_(true);
    const auto optimizer = Optimizer::Create(Of(kind), {{"x", x, 0.1, 0}});
    const auto no_memory = []() -> absl::StatusOr<double> { throw std::bad_alloc(); };
    EXPECT_EQ(optimizer->Step(1, no_memory).status().code(), absl::StatusCode::kResourceExhausted);
    const auto bad_shapes = [&]() -> absl::StatusOr<double> { return x.matmul(x).sum().item<double>(); };
    EXPECT_EQ(optimizer->Step(1, bad_shapes).status().code(), absl::StatusCode::kInternal);
  }
}

// An optimizer with two parameters to train, one of them channels-last.
struct Training {
  explicit Training(const OptimizerOptions& options) : Training(options, Values(1), ChannelsLast()) {}
  Training(const OptimizerOptions& options, const at::Tensor& x_start, const at::Tensor& y_start)
      : x(x_start.detach().clone().requires_grad_(true)), y(y_start.detach().clone().requires_grad_(true)) {
    optimizer = Optimizer::Create(options, {{"x", x, 0.01, 0}, {"y", y, 0.02, 0.1}});
  }
  static at::Tensor ChannelsLast() {
    return at::randn({4, 3, 2, 2}, at::detail::createCPUGenerator(2)).contiguous(at::MemoryFormat::ChannelsLast);
  }
  void Steps(int n) {
    for (int i = 0; i < n; ++i) {
      const absl::StatusOr<double> loss = optimizer->Step(0.5, Convex({x, y}));
      ASSERT_TRUE(loss.ok()) << loss.status();
    }
  }

  at::Tensor x, y;
  std::unique_ptr<Optimizer> optimizer;
};

// What a file does to the state: contiguous copies.
std::map<std::string, at::Tensor> Stored(const std::map<std::string, at::Tensor>& state) {
  std::map<std::string, at::Tensor> stored;
  for (const auto& [name, tensor] : state) {
    EXPECT_TRUE(tensor.defined() && tensor.dim() >= 1 && !tensor.requires_grad()) << name;
    stored.emplace(name, tensor.contiguous().clone());
  }
  return stored;
}

std::vector<OptimizerOptions> EveryKind() {
  std::vector<OptimizerOptions> all;
  for (const OptimizerKind kind : kKinds) all.push_back(Of(kind));
  all.push_back(Of(OptimizerKind::kSgd));
  all.back().nesterov = true;
  for (const OptimizerKind kind : {OptimizerKind::kSgd, OptimizerKind::kRmsProp}) {
    all.push_back(Of(kind));
    all.back().momentum = 0;
  }
  return all;
}

TEST(OptimizerTest, StateGoesOnBitForBit) {
  for (const OptimizerOptions& options : EveryKind()) {
    Training run(options);
    run.Steps(3);
    Training restored(options, run.x, run.y);
    const absl::Status loaded = restored.optimizer->LoadState(Stored(run.optimizer->State()));
    ASSERT_TRUE(loaded.ok()) << loaded;
    run.Steps(5);
    restored.Steps(5);
    EXPECT_TRUE(at::equal(run.x, restored.x)) << "kind " << static_cast<int>(options.kind);
    EXPECT_TRUE(at::equal(run.y, restored.y)) << "kind " << static_cast<int>(options.kind);
  }
}

TEST(OptimizerTest, StateHasTheParametersLayoutBeforeAndAfterLoading) {
  for (const OptimizerKind kind : {OptimizerKind::kSgd, OptimizerKind::kAdamW, OptimizerKind::kRmsProp}) {
    Training run(Of(kind)), restored(Of(kind));
    run.Steps(2);
    ASSERT_TRUE(restored.optimizer->LoadState(Stored(run.optimizer->State())).ok());
    for (const Training* r : {&run, &restored}) {
      for (const auto& [name, tensor] : r->optimizer->State()) {
        EXPECT_TRUE(tensor.dim() != 4 || tensor.is_contiguous(at::MemoryFormat::ChannelsLast)) << name;
      }
    }
  }
}

TEST(OptimizerTest, LoadingAnEmptyStateStartsAnew) {
  for (const OptimizerOptions& options : EveryKind()) {
    Training run(options);
    run.Steps(2);
    ASSERT_TRUE(run.optimizer->LoadState({}).ok());
    EXPECT_TRUE(run.optimizer->State().empty());
  }
}

TEST(OptimizerTest, StateIsNamedAfterTheParameters) {
  const auto names = [](const OptimizerOptions& options) {
    Training run(options);
    run.Steps(2);
    std::vector<std::string> names;
    for (const auto& entry : run.optimizer->State()) names.push_back(entry.first);
    return names;
  };
  using ::testing::ElementsAre;
  EXPECT_THAT(names(Of(OptimizerKind::kSgd)), ElementsAre("momentum.x", "momentum.y"));
  EXPECT_THAT(names(Of(OptimizerKind::kAdamW)), ElementsAre("average.x", "average.y", "square_average.x",
                                                            "square_average.y", "step.x", "step.y"));
  EXPECT_THAT(names(Of(OptimizerKind::kRmsProp)),
              ElementsAre("momentum.x", "momentum.y", "square_average.x", "square_average.y"));
  EXPECT_THAT(names(Of(OptimizerKind::kLbfgs)),
              ElementsAre("direction", "h_diag", "previous_gradient", "ro", "s", "step", "step_length", "y"));
}

TEST(OptimizerTest, ADamagedStateIsDataLossAndChangesNothing) {
  for (const OptimizerKind kind : kKinds) {
    Training run(Of(kind));
    run.Steps(2);
    const auto good = Stored(run.optimizer->State());
    std::vector<std::map<std::string, at::Tensor>> damaged(4, good);
    damaged[0].rbegin()->second = at::zeros({3, 7});
    damaged[1].begin()->second = damaged[1].begin()->second.to(at::kHalf);
    damaged[2]["velocity.x"] = at::zeros({3, 5});
    damaged[3].erase(damaged[3].begin());
    for (size_t i = 0; i < damaged.size(); ++i) {
      if (i == 3 && kind == OptimizerKind::kSgd) continue;  // its only tensor: a parameter that never stepped
      EXPECT_EQ(run.optimizer->LoadState(damaged[i]).code(), absl::StatusCode::kDataLoss) << static_cast<int>(kind);
    }
    for (const auto& [name, tensor] : run.optimizer->State()) EXPECT_TRUE(at::equal(tensor, good.at(name))) << name;
  }
}

TEST(OptimizerTest, ATensorOfAnotherShapeIsNamed) {
  Training run(Of(OptimizerKind::kSgd));
  EXPECT_EQ(run.optimizer->LoadState({{"momentum.x", at::zeros({4})}}),
            absl::DataLossError("momentum.x: got Float [4], want Float [3, 5]"));
}

TEST(OptimizerOptionsTest, DefaultsAreValid) {
  for (const OptimizerKind kind : kKinds) EXPECT_TRUE(Of(kind).Validate().ok());
}

TEST(OptimizerOptionsTest, EveryViolationIsALine) {
  OptimizerOptions options;
  options.momentum = 1.5;
  options.beta1 = -0.1;
  options.beta2 = 1;
  options.smoothing = std::numeric_limits<double>::quiet_NaN();
  options.epsilon = 0;
  options.history = 0;
  const absl::Status status = options.Validate();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(),
            "momentum: got 1.5, want 0 <= momentum < 1\n"
            "beta1: got -0.1, want 0 <= beta1 < 1\n"
            "beta2: got 1, want 0 <= beta2 < 1\n"
            "smoothing: got nan, want 0 <= smoothing < 1\n"
            "epsilon: got 0, want > 0 and finite\n"
            "history: got 0, want 1 to 100");
}

TEST(OptimizerOptionsTest, NesterovWantsMomentum) {
  OptimizerOptions options;
  options.nesterov = true;
  EXPECT_TRUE(options.Validate().ok());
  options.momentum = 0;
  EXPECT_EQ(options.Validate(), absl::InvalidArgumentError("nesterov: got true, want false without momentum"));
}

}  // namespace
}  // namespace graft

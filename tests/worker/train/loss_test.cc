#include "worker/train/loss.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace graft {
namespace {

namespace F = torch::nn::functional;

constexpr int64_t kRows = 7, kClasses = 4;

LossOptions Options(LossKind kind, double label_smoothing = 0, std::vector<double> class_weights = {}) {
  return {kind, label_smoothing, std::move(class_weights)};
}

at::Tensor Logits(at::ScalarType dtype) {
  return (at::randn({kRows, kClasses}, at::detail::createCPUGenerator(3)) * 2).to(dtype).requires_grad_(true);
}

at::Tensor Labels() { return at::tensor(std::vector<int64_t>{0, 3, 1, 1, 2, 0, 3}); }

at::Tensor OneHot(at::ScalarType dtype) { return at::one_hot(Labels(), kClasses).to(dtype); }

// Rows that sum to 1 and have no zeros.
at::Tensor SoftTargets() {
  return at::softmax(at::randn({kRows, kClasses}, at::detail::createCPUGenerator(4)).to(at::kDouble), 1);
}

// LossAndGradient() as a differentiable scalar.
class LossFunction : public torch::autograd::Function<LossFunction> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& logits,
                            const at::Tensor& targets, const LossOptions& options) {
    at::Tensor gradient;
    const double loss = LossAndGradient(logits, targets, options, 1, &gradient);
    context->save_for_backward({gradient});
    return at::scalar_tensor(loss, at::kDouble);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list output) {
    return {context->get_saved_variables()[0] * output[0], at::Tensor(), at::Tensor()};
  }
};

at::Tensor LossSum(const at::Tensor& logits, const at::Tensor& targets, const LossOptions& options) {
  return LossFunction::apply(logits, targets, options);
}

// The batch's mean loss as a training step computes it.
at::Tensor MeanLoss(const at::Tensor& logits, const at::Tensor& targets, const LossOptions& options) {
  return LossSum(logits, targets, options) / LossWeight(targets, options);
}

at::Tensor Gradient(const at::Tensor& loss, const at::Tensor& logits) {
  return torch::autograd::grad({loss}, {logits})[0];
}

std::vector<LossOptions> ManyOptions() {
  return {Options(LossKind::kCrossEntropy), Options(LossKind::kCrossEntropy, 0.1),
          Options(LossKind::kCrossEntropy, 0, {1, 2.5, 0, 0.25}),
          Options(LossKind::kCrossEntropy, 0.3, {1, 2.5, 0, 0.25}), Options(LossKind::kSquaredHinge),
          Options(LossKind::kSquaredHinge, 0, {1, 2.5, 0, 0.25})};
}

void ExpectAsTorch(const LossOptions& options, at::ScalarType dtype, double tolerance) {
  const at::Tensor logits = Logits(dtype);
  auto torch_options = F::CrossEntropyFuncOptions().label_smoothing(options.label_smoothing);
  if (!options.class_weights.empty()) torch_options.weight(at::tensor(options.class_weights, dtype));
  const at::Tensor want = F::cross_entropy(logits, Labels(), torch_options);
  const at::Tensor got = MeanLoss(logits, OneHot(dtype), options);
  EXPECT_NEAR(got.item<double>(), want.item<double>(), tolerance);
  EXPECT_LT((Gradient(got, logits) - Gradient(want, logits)).abs().max().item<double>(), tolerance);
}

TEST(LossTest, TheFactorScalesTheGradientOnly) {
  const at::Tensor logits = Logits(at::kFloat).detach(), targets = OneHot(at::kFloat);
  for (const LossOptions& options : ManyOptions()) {
    at::Tensor once, often;
    EXPECT_EQ(LossAndGradient(logits, targets, options, 1, &once),
              LossAndGradient(logits, targets, options, 0.125, &often));
    EXPECT_TRUE(at::equal(once * 0.125, often));
  }
}

TEST(LossTest, CrossEntropyEqualsTorchs) {
  const std::vector<std::vector<double>> some_weights = {{}, {1, 2.5, 0, 0.25}};
  for (const double smoothing : {0.0, 0.1, 0.9}) {
    for (const std::vector<double>& weights : some_weights) {
      const LossOptions options = Options(LossKind::kCrossEntropy, smoothing, weights);
      ExpectAsTorch(options, at::kFloat, 1e-6);
      ExpectAsTorch(options, at::kDouble, 1e-13);
    }
  }
}

// Torch divides by the rows with soft targets, whatever the class weights: the sums are compared.
TEST(LossTest, CrossEntropyOfSoftTargetsEqualsTorchs) {
  const at::Tensor logits = Logits(at::kDouble);
  const LossOptions options = Options(LossKind::kCrossEntropy, 0.2, {1, 2.5, 0, 0.25});
  const at::Tensor want = F::cross_entropy(logits, SoftTargets(),
                                           F::CrossEntropyFuncOptions()
                                               .label_smoothing(0.2)
                                               .weight(at::tensor(options.class_weights, at::kDouble))
                                               .reduction(torch::kSum));
  EXPECT_NEAR(LossSum(logits, SoftTargets(), options).item<double>(), want.item<double>(), 1e-12);
}

// softmax(ln 3, 0) = (3/4, 1/4); targets (0.6, 0.4), smoothed by a half: (0.55, 0.45).
TEST(LossTest, CrossEntropyByHand) {
  const at::Tensor logits = at::tensor({std::log(3.0), 0.0}, at::kDouble).view({1, 2});
  const at::Tensor targets = at::tensor({0.6, 0.4}, at::kDouble).view({1, 2});
  const double p = std::log(0.75), q = std::log(0.25);
  EXPECT_NEAR(LossSum(logits, targets, Options(LossKind::kCrossEntropy)).item<double>(), -0.6 * p - 0.4 * q, 1e-15);
  EXPECT_NEAR(LossSum(logits, targets, Options(LossKind::kCrossEntropy, 0.5, {2, 3})).item<double>(),
              -2 * 0.55 * p - 3 * 0.45 * q, 1e-15);
  EXPECT_NEAR(LossWeight(targets, Options(LossKind::kCrossEntropy, 0.5, {2, 3})), 2 * 0.6 + 3 * 0.4, 1e-15);
}

// Logits (2, -0.5, 0.25). Label 0: 0 + 0.5^2 + 1.25^2 = 1.8125. Label 1: 3^2 + 1.5^2 + 1.25^2 = 12.8125.
TEST(LossTest, SquaredHingeByHand) {
  const at::Tensor logits = at::tensor({2.0, -0.5, 0.25}, at::kDouble).view({1, 3});
  const auto loss = [&](std::vector<double> target, std::vector<double> weights) {
    return LossSum(logits, at::tensor(target, at::kDouble).view({1, 3}),
                   Options(LossKind::kSquaredHinge, 0, std::move(weights)))
        .item<double>();
  };
  EXPECT_DOUBLE_EQ(loss({1, 0, 0}, {}), 1.8125);
  EXPECT_DOUBLE_EQ(loss({0, 1, 0}, {}), 12.8125);
  EXPECT_DOUBLE_EQ(loss({0.75, 0.25, 0}, {}), 0.75 * 1.8125 + 0.25 * 12.8125);
  EXPECT_DOUBLE_EQ(loss({0.75, 0.25, 0}, {2, 4, 8}), 2 * 0.75 * 1.8125 + 4 * 0.25 * 12.8125);
}

// Two pictures of one feature, x = 0 of class 0 and x = d of class 1, of weights u and s. Class 1's problem is
//   min s max(0, 1 - (w d + b))^2 + u max(0, 1 + b)^2 + r/2 w^2,   r > 0, b not regularised.
// With p = 1 - (w d + b) and q = 1 + b, both > 0 at the optimum: d/db gives s p = u q, d/dw gives 2 s d p = r w.
// So p = r w / (2 s d), q = r w / (2 u d), and w d = 2 - p - q gives
//   w = 2 / (d + r (1/s + 1/u) / (2 d)),   b = r w / (2 u d) - 1.
// Class 0's is the mirror image, -w and -b: the two columns share their rows' weights.
TEST(LossTest, SquaredHingesOptimumIsTheSupportVectorMachines) {
  const double d = 1.5, r = 0.8, u = 1, s = 3;
  const double w = 2 / (d + r * (1 / s + 1 / u) / (2 * d)), b = r * w / (2 * u * d) - 1;
  const at::Tensor x = at::tensor({0.0, d}, at::kDouble).view({2, 1});
  const at::Tensor targets = at::eye(2, at::kDouble);
  const LossOptions options = Options(LossKind::kSquaredHinge, 0, {u, s});
  at::Tensor weight = at::zeros({1, 2}, at::kDouble).requires_grad_(true);
  at::Tensor bias = at::zeros({2}, at::kDouble).requires_grad_(true);
  for (int step = 0; step < 1000; ++step) {
    const at::Tensor loss = LossSum(x.matmul(weight) + bias, targets, options) + r / 2 * weight.square().sum();
    const auto gradients = torch::autograd::grad({loss}, {weight, bias});
    torch::NoGradGuard no_grad;
    weight.sub_(gradients[0], 0.03);
    bias.sub_(gradients[1], 0.03);
  }
  EXPECT_TRUE(at::allclose(weight, at::tensor({-w, w}, at::kDouble).view({1, 2}), 0, 1e-9)) << weight;
  EXPECT_TRUE(at::allclose(bias, at::tensor({-b, b}, at::kDouble), 0, 1e-9)) << bias;
}

TEST(LossTest, WeightTwoIsTheRowTwice) {
  const at::Tensor logits = Logits(at::kDouble), targets = OneHot(at::kDouble);
  const at::Tensor again = Labels().eq(1).nonzero().view({-1});
  for (const LossKind kind : {LossKind::kCrossEntropy, LossKind::kSquaredHinge}) {
    const at::Tensor want = MeanLoss(at::cat({logits, logits.index_select(0, again)}),
                                     at::cat({targets, targets.index_select(0, again)}), Options(kind));
    EXPECT_NEAR(MeanLoss(logits, targets, Options(kind, 0, {1, 2, 1, 1})).item<double>(), want.item<double>(), 1e-13);
  }
}

TEST(LossTest, SoftTargetsAreTheExpectationOverLabels) {
  const at::Tensor logits = Logits(at::kDouble), soft = SoftTargets();
  for (const LossOptions& options : ManyOptions()) {
    double loss = 0, weight = 0;
    for (int64_t row = 0; row < kRows; ++row) {
      for (int64_t label = 0; label < kClasses; ++label) {
        const at::Tensor target = at::one_hot(at::tensor(std::vector<int64_t>{label}), kClasses).to(at::kDouble);
        const double share = soft[row][label].item<double>();
        loss += share * LossSum(logits.narrow(0, row, 1), target, options).item<double>();
        weight += share * LossWeight(target, options);
      }
    }
    EXPECT_NEAR(LossSum(logits, soft, options).item<double>(), loss, 1e-12);
    EXPECT_NEAR(LossWeight(soft, options), weight, 1e-12);
  }
}

// Central differences; a squared hinge's second derivative jumps, its first does not.
TEST(LossTest, GradientIsTheDerivative) {
  constexpr double kStep = 1e-5;
  const at::Tensor logits = Logits(at::kDouble), targets = SoftTargets();
  for (const LossOptions& options : ManyOptions()) {
    const at::Tensor gradient = Gradient(LossSum(logits, targets, options), logits);
    torch::NoGradGuard no_grad;
    for (int64_t i = 0; i < kRows * kClasses; ++i) {
      at::Tensor moved = logits.detach().clone();
      moved.view({-1})[i] += kStep;
      const double up = LossSum(moved, targets, options).item<double>();
      moved.view({-1})[i] -= 2 * kStep;
      const double down = LossSum(moved, targets, options).item<double>();
      EXPECT_NEAR(gradient.view({-1})[i].item<double>(), (up - down) / (2 * kStep), 1e-8) << i;
    }
  }
}

TEST(LossTest, ShardsAddUpToTheBatch) {
  const at::Tensor logits = Logits(at::kFloat), targets = SoftTargets().to(at::kFloat);
  for (const LossOptions& options : ManyOptions()) {
    const double weight = LossWeight(targets, options);
    const at::Tensor whole = LossSum(logits, targets, options);
    const at::Tensor whole_gradient = Gradient(whole / weight, logits);
    for (int64_t shards = 2; shards <= kRows; ++shards) {
      double loss_of_shards = 0, weight_of_shards = 0;
      std::vector<at::Tensor> gradients;
      for (int64_t shard = 0; shard < shards; ++shard) {
        const int64_t begin = kRows * shard / shards, n = kRows * (shard + 1) / shards - begin;
        const at::Tensor loss = LossSum(logits.narrow(0, begin, n), targets.narrow(0, begin, n), options);
        loss_of_shards += loss.item<double>();
        weight_of_shards += LossWeight(targets.narrow(0, begin, n), options);
        gradients.push_back(Gradient(loss / weight, logits).narrow(0, begin, n));
      }
      EXPECT_NEAR(loss_of_shards, whole.item<double>(), 1e-12) << shards;
      EXPECT_NEAR(weight_of_shards, weight, 1e-12) << shards;
      // A float32's rounding: exp() may round differently in a vector's tail.
      EXPECT_TRUE(at::allclose(at::cat(gradients), whole_gradient, 1e-6, 1e-8)) << shards;
    }
  }
}

TEST(LossTest, WeightIsTheRowsOrTheSumOfTheirWeights) {
  EXPECT_EQ(LossWeight(OneHot(at::kFloat), Options(LossKind::kCrossEntropy, 0.1)), 7);
  EXPECT_EQ(LossWeight(OneHot(at::kFloat), Options(LossKind::kSquaredHinge, 0, {1, 2.5, 0, 0.25})), 2 + 5 + 0 + 0.5);
  EXPECT_EQ(LossWeight(OneHot(at::kFloat).narrow(0, 4, 1), Options(LossKind::kSquaredHinge, 0, {1, 1, 0, 1})), 0);
}

std::string Violations(const LossOptions& options, int classes) {
  const absl::Status status = options.Validate(classes);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  return std::string(status.message());
}

TEST(LossOptionsTest, GoodOnesAreOk) {
  for (const LossOptions& options : ManyOptions()) EXPECT_TRUE(options.Validate(kClasses).ok());
}

TEST(LossOptionsTest, LabelSmoothingIsAShareAndOfCrossEntropyOnly) {
  EXPECT_EQ(Violations(Options(LossKind::kCrossEntropy, 1), 4), "label_smoothing: got 1, want >= 0 and < 1");
  EXPECT_EQ(Violations(Options(LossKind::kCrossEntropy, -0.1), 4), "label_smoothing: got -0.1, want >= 0 and < 1");
  EXPECT_EQ(Violations(Options(LossKind::kCrossEntropy, std::nan("")), 4),
            "label_smoothing: got nan, want >= 0 and < 1");
  EXPECT_EQ(Violations(Options(LossKind::kSquaredHinge, 0.1), 4), "label_smoothing: only with the cross-entropy loss");
}

TEST(LossOptionsTest, AllViolationsComeTogether) {
  EXPECT_EQ(Violations(Options(LossKind::kCrossEntropy, 2, {1, -1, std::numeric_limits<double>::infinity()}), 2),
            "label_smoothing: got 2, want >= 0 and < 1\n"
            "class_weights: got 3, want one for each of 2 classes\n"
            "class_weights[1]: got -1, want >= 0 and finite\n"
            "class_weights[2]: got inf, want >= 0 and finite");
  EXPECT_EQ(Violations(Options(LossKind::kCrossEntropy, 0, {0, 0}), 2),
            "class_weights: got only 0, want one or more > 0");
}

LossOptions MultiLabel(LossKind kind, double label_smoothing = 0, std::vector<double> class_weights = {}) {
  LossOptions options = Options(kind, label_smoothing, std::move(class_weights));
  options.multi_label = true;
  return options;
}

// Rows with no class, one, some and all.
at::Tensor MultiHot(at::ScalarType dtype) {
  return at::tensor(std::vector<int64_t>{0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 1, 1, 1, 1, 1, 0, 0, 1, 0, 1, 0, 1, 1, 0, 1,
                                         0, 0})
      .view({kRows, kClasses})
      .to(dtype);
}

// Torch takes smoothed targets.
TEST(LossTest, BinaryCrossEntropyEqualsTorchs) {
  const std::vector<std::vector<double>> some_weights = {{}, {1, 2.5, 0.5, 0.25}};
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    for (const std::vector<double>& weights : some_weights) {
      for (const double smoothing : {0.0, 0.1}) {
        const LossOptions options = MultiLabel(LossKind::kBinaryCrossEntropy, smoothing, weights);
        ASSERT_TRUE(options.Validate(kClasses).ok());
        const at::Tensor logits = Logits(dtype), targets = MultiHot(dtype);
        F::BinaryCrossEntropyWithLogitsFuncOptions torchs;
        if (!weights.empty()) torchs.pos_weight(at::tensor(weights, dtype));
        const at::Tensor want =
            F::binary_cross_entropy_with_logits(logits, targets * (1 - smoothing) + smoothing / 2, torchs);
        const at::Tensor got = MeanLoss(logits, targets, options) / kClasses;  // torch's mean is over classes too
        EXPECT_NEAR(got.item<double>(), want.item<double>(), 1e-6);
        EXPECT_LT((Gradient(got, logits) - Gradient(want, logits)).abs().max().item<double>(), 1e-6);
      }
    }
  }
}

// Logits (ln 3, -ln 3): probabilities 3/4 and 1/4.
TEST(LossTest, BinaryCrossEntropyByHand) {
  const at::Tensor logits = at::tensor({std::log(3.0), -std::log(3.0)}, at::kDouble).view({1, 2});
  const auto loss = [&](std::vector<double> target, const LossOptions& options) {
    return LossSum(logits, at::tensor(target, at::kDouble).view({1, 2}), options).item<double>();
  };
  const double p = std::log(0.75), q = std::log(0.25);
  EXPECT_NEAR(loss({1, 0}, MultiLabel(LossKind::kBinaryCrossEntropy)), -2 * p, 1e-14);
  EXPECT_NEAR(loss({0, 0}, MultiLabel(LossKind::kBinaryCrossEntropy)), -q - p, 1e-14);
  EXPECT_NEAR(loss({1, 1}, MultiLabel(LossKind::kBinaryCrossEntropy, 0, {2, 5})), -2 * p - 5 * q, 1e-14);
  // Smoothed by a half: (3/4, 1/4).
  EXPECT_NEAR(loss({1, 0}, MultiLabel(LossKind::kBinaryCrossEntropy, 0.5)), 2 * (-0.75 * p - 0.25 * q), 1e-14);
}

TEST(LossTest, BinaryCrossEntropyOfHugeLogitsIsFinite) {
  const at::Tensor logits = at::tensor({1e4, -1e4}, at::kDouble).view({1, 2}).requires_grad_(true);
  const at::Tensor loss = LossSum(logits, at::tensor({0.0, 0.0}, at::kDouble).view({1, 2}),
                                  MultiLabel(LossKind::kBinaryCrossEntropy));
  EXPECT_DOUBLE_EQ(loss.item<double>(), 1e4);
  EXPECT_TRUE(at::allclose(Gradient(loss, logits), at::tensor({1.0, 0.0}, at::kDouble).view({1, 2})));
}

// Logits (2, -0.5, 0.25): as a label 0, 2.25, 0.5625; as none 9, 0.25, 1.5625.
TEST(LossTest, SquaredHingeOfAnyNumberOfClassesByHand) {
  const at::Tensor logits = at::tensor({2.0, -0.5, 0.25}, at::kDouble).view({1, 3});
  const auto loss = [&](std::vector<double> target, std::vector<double> weights) {
    return LossSum(logits, at::tensor(target, at::kDouble).view({1, 3}),
                   MultiLabel(LossKind::kSquaredHinge, 0, std::move(weights)))
        .item<double>();
  };
  EXPECT_DOUBLE_EQ(loss({0, 0, 0}, {}), 9 + 0.25 + 1.5625);
  EXPECT_DOUBLE_EQ(loss({1, 1, 0}, {}), 0 + 2.25 + 1.5625);
  EXPECT_DOUBLE_EQ(loss({1, 1, 1}, {1, 4, 2}), 0 + 4 * 2.25 + 2 * 0.5625);
  EXPECT_DOUBLE_EQ(loss({0, 0.5, 0}, {}), 9 + 0.5 * (2.25 + 0.25) + 1.5625);
}

TEST(LossTest, OfAnyNumberOfClassesTheWeightIsTheRows) {
  EXPECT_EQ(LossWeight(MultiHot(at::kFloat), MultiLabel(LossKind::kBinaryCrossEntropy, 0, {1, 2, 3, 4})), 7);
  EXPECT_EQ(LossWeight(MultiHot(at::kFloat), MultiLabel(LossKind::kSquaredHinge)), 7);
}

TEST(LossOptionsTest, TheLossSuitsTheLabels) {
  EXPECT_EQ(Violations(MultiLabel(LossKind::kCrossEntropy), 4),
            "multi_label: got true, want false with cross-entropy");
  EXPECT_EQ(Violations(Options(LossKind::kBinaryCrossEntropy), 4),
            "multi_label: got false, want true with binary cross-entropy");
  EXPECT_TRUE(MultiLabel(LossKind::kSquaredHinge).Validate(4).ok());
}

}  // namespace
}  // namespace graft

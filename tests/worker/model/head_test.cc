#include "worker/model/head.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "worker/backbone/stage.h"

namespace graft {
namespace {

HeadOptions Of(HeadType type, int hidden_width = 0) { return {type, hidden_width, 0}; }

const std::vector<HeadOptions>& AllKinds() {
  static const std::vector<HeadOptions> all{Of(HeadType::kLinear), Of(HeadType::kMlp, 4), Of(HeadType::kLinearSvm),
                                            Of(HeadType::kCosine)};
  return all;
}

std::map<std::string, at::Tensor> TensorsOf(const Head& head) {
  std::map<std::string, at::Tensor> tensors;
  for (const auto& item : head.stage()->named_parameters()) tensors.emplace(item.key(), item.value());
  return tensors;
}

void Set(const Head& head, const std::string& name, const at::Tensor& value) {
  torch::NoGradGuard no_grad;
  TensorsOf(head).at(name).copy_(value);
}

// Rows of two.
at::Tensor Rows(std::vector<float> values) {
  const auto n = static_cast<int64_t>(values.size()) / 2;
  return torch::tensor(values).view({n, 2});
}

void ExpectNear(const at::Tensor& got, const at::Tensor& want) {
  ASSERT_EQ(got.sizes(), want.sizes());
  EXPECT_TRUE(at::allclose(got, want, 1e-6, 1e-6)) << got << want;
}

TEST(HeadOptionsTest, EachViolationIsNamed) {
  EXPECT_TRUE(HeadOptions().Validate().ok());
  EXPECT_TRUE((HeadOptions{HeadType::kMlp, 8192, 0.99}).Validate().ok());
  EXPECT_EQ((HeadOptions{HeadType::kMlp, 0, 0}).Validate(),
            absl::InvalidArgumentError("head.hidden_width: got 0, want 1 to 8192"));
  EXPECT_EQ((HeadOptions{HeadType::kMlp, 8193, 0}).Validate(),
            absl::InvalidArgumentError("head.hidden_width: got 8193, want 1 to 8192"));
  EXPECT_EQ((HeadOptions{HeadType::kCosine, 5, -0.5}).Validate(),
            absl::InvalidArgumentError("head.hidden_width: got 5, want it only with the mlp head\n"
                                       "head.dropout: got -0.5, want 0 <= dropout < 1"));
  for (const double dropout : {1.0, std::nan("")}) {
    EXPECT_EQ((HeadOptions{HeadType::kLinear, 0, dropout}).Validate().code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST(HeadOptionsTest, EqualityComparesEveryField) {
  const HeadOptions options{HeadType::kMlp, 8, 0.5};
  EXPECT_TRUE((options == HeadOptions{HeadType::kMlp, 8, 0.5}));
  EXPECT_FALSE((options == HeadOptions{HeadType::kLinear, 8, 0.5}));
  EXPECT_FALSE((options == HeadOptions{HeadType::kMlp, 9, 0.5}));
  EXPECT_FALSE((options == HeadOptions{HeadType::kMlp, 8, 0.4}));
}

TEST(HeadTypeTest, NamesAreReadBack) {
  EXPECT_EQ(HeadTypeName(HeadType::kLinear), "linear");
  EXPECT_EQ(HeadTypeName(HeadType::kMlp), "mlp");
  EXPECT_EQ(HeadTypeName(HeadType::kLinearSvm), "linear-svm");
  EXPECT_EQ(HeadTypeName(HeadType::kCosine), "cosine");
  for (const HeadOptions& kind : AllKinds()) EXPECT_EQ(*ParseHeadType(HeadTypeName(kind.type)), kind.type);
  EXPECT_EQ(ParseHeadType("x").status(),
            absl::InvalidArgumentError("head.type: got \"x\", want one of linear, mlp, linear-svm, cosine"));
}

TEST(HeadTest, TensorsHaveTheirShapes) {
  using Shapes = std::map<std::string, std::vector<int64_t>>;
  const auto shapes = [](const HeadOptions& options) {
    Shapes shapes;
    for (const auto& [name, tensor] : TensorsOf(Head(options, 6, 3))) shapes[name] = tensor.sizes().vec();
    return shapes;
  };
  const Shapes linear{{"weight", {3, 6}}, {"bias", {3}}};
  EXPECT_EQ(shapes(Of(HeadType::kLinear)), linear);
  EXPECT_EQ(shapes(Of(HeadType::kLinearSvm)), linear);
  EXPECT_EQ(shapes(Of(HeadType::kMlp, 4)),
            (Shapes{{"hidden.weight", {4, 6}}, {"hidden.bias", {4}}, {"weight", {3, 4}}, {"bias", {3}}}));
  EXPECT_EQ(shapes(Of(HeadType::kCosine)), (Shapes{{"weight", {3, 6}}, {"scale", {1}}}));
}

TEST(HeadTest, ParameterCountIsThatOfTheTensors) {
  for (const HeadOptions& kind : AllKinds()) {
    int64_t count = 0;
    for (const auto& [name, tensor] : TensorsOf(Head(kind, 6, 3))) {
      EXPECT_TRUE(tensor.requires_grad()) << name;
      count += tensor.numel();
    }
    EXPECT_EQ(ParameterCount(kind, 6, 3), count) << HeadTypeName(kind.type);
  }
  EXPECT_EQ(ParameterCount(Of(HeadType::kMlp, 8192), 4096, 1000), 8192ll * 4097 + 8193ll * 1000);
}

TEST(HeadTest, LastWidthIsThatOfTheLastLayersInputs) {
  for (const HeadOptions& kind : AllKinds()) {
    EXPECT_EQ(Head(kind, 6, 3).last_width(), kind.type == HeadType::kMlp ? 4 : 6);
  }
}

// Standard deviation of a uniform distribution: its bound / sqrt(3).
void ExpectUniform(const at::Tensor& values, double bound) {
  EXPECT_LE(values.abs().max().item<double>(), bound);
  EXPECT_GT(values.abs().max().item<double>(), 0.95 * bound);
  EXPECT_NEAR(values.mean().item<double>(), 0, 0.1 * bound);
  EXPECT_NEAR(values.std().item<double>(), bound / std::sqrt(3.0), 0.1 * bound);
}

TEST(HeadTest, InitialWeightsAreUniformWithinTheirBounds) {
  Head mlp(Of(HeadType::kMlp, 400), 900, 500);
  mlp.Initialise(1);
  const auto tensors = TensorsOf(mlp);
  ExpectUniform(tensors.at("hidden.weight"), 1.0 / 30);
  ExpectUniform(tensors.at("hidden.bias"), 1.0 / 30);
  ExpectUniform(tensors.at("weight"), 1.0 / 20);
  ExpectUniform(tensors.at("bias"), 1.0 / 20);
  Head cosine(Of(HeadType::kCosine), 900, 500);
  cosine.Initialise(1);
  ExpectUniform(TensorsOf(cosine).at("weight"), 1.0 / 30);
  EXPECT_EQ(TensorsOf(cosine).at("scale").item<float>(), 10) << "Gidaris and Komodakis 2018";
}

TEST(HeadTest, InitialWeightsDependOnTheSeedAlone) {
  for (const HeadOptions& kind : AllKinds()) {
    Head first(kind, 6, 3), again(kind, 6, 3), other(kind, 6, 3);
    first.Initialise(1);
    torch::manual_seed(5);
    again.Initialise(7);
    again.Initialise(1);
    other.Initialise(2);
    for (const auto& [name, tensor] : TensorsOf(first)) {
      EXPECT_TRUE(at::equal(TensorsOf(again).at(name), tensor)) << name;
      EXPECT_EQ(at::equal(TensorsOf(other).at(name), tensor), name == "scale") << name;
    }
  }
}

TEST(HeadTest, LinearEqualsTheHandComputed) {
  for (const HeadType type : {HeadType::kLinear, HeadType::kLinearSvm}) {
    const Head head(Of(type), 2, 2);
    Set(head, "weight", Rows({1, 2, 3, 4}));
    Set(head, "bias", torch::tensor({0.5f, -0.5f}));
    ExpectNear(head.Forward(Rows({2, 3, -1, 0}), {}), Rows({8.5f, 17.5f, -0.5f, -3.5f}));
    ExpectNear(head.Forward(Rows({2, 3, -1, 0}), Rows({2, 0, 0, 2})), Rows({4.5f, 11.5f, 0.5f, -0.5f}));
  }
}

TEST(HeadTest, MlpEqualsTheHandComputed) {
  const Head head(Of(HeadType::kMlp, 2), 2, 2);
  Set(head, "hidden.weight", Rows({1, 0, 0, -1}));
  Set(head, "hidden.bias", torch::tensor({0.f, 1.f}));
  Set(head, "weight", Rows({1, 2, 3, 4}));
  Set(head, "bias", torch::tensor({0.5f, -0.5f}));
  const at::Tensor features = Rows({2, 3, -1, -1});  // hidden: 2 and relu(-2), relu(-1) and 2
  ExpectNear(head.Forward(features, {}), Rows({2.5f, 5.5f, 4.5f, 7.5f}));
  ExpectNear(head.Forward(features, Rows({2, 0, 1, 2})), Rows({4.5f, 11.5f, 8.5f, 15.5f}));
}

TEST(HeadTest, CosineEqualsTheHandComputed) {
  const Head head(Of(HeadType::kCosine), 2, 2);
  Set(head, "weight", Rows({2, 0, 0, 0.1f}));
  ExpectNear(head.Forward(Rows({3, 4, -7, 0}), {}), Rows({6, 8, -10, 0}));
  Set(head, "scale", torch::tensor({2.f}));
  ExpectNear(head.Forward(Rows({3, 4, -7, 0}), {}), Rows({1.2f, 1.6f, -2, 0}));
  ExpectNear(head.Forward(Rows({3, 4, -7, 0}), Rows({0, 2, 2, 2})), Rows({0, 2, -2, 0}));
}

TEST(HeadTest, CosineOfNoFeaturesIsZeroWithFiniteGradients) {
  Head head(Of(HeadType::kCosine), 2, 2);
  head.Initialise(1);
  at::AutoGradMode enable_grad(true);
  const at::Tensor features = Rows({0, 0, 1, 2}).requires_grad_(true);
  const at::Tensor logits = head.Forward(features, {});
  EXPECT_TRUE(at::equal(logits[0], at::zeros(2)));
  logits.sum().backward();
  EXPECT_TRUE(features.grad().isfinite().all().item<bool>());
  for (const auto& [name, tensor] : TensorsOf(head)) {
    EXPECT_TRUE(tensor.grad().isfinite().all().item<bool>()) << name;
    EXPECT_TRUE(tensor.grad().ne(0).any().item<bool>()) << name;
  }
}

TEST(DropoutMaskTest, DropsItsShareAndScalesTheRest) {
  const double dropout = 0.3;
  const at::Tensor mask = DropoutMask(dropout, 1000, 200, 7);
  EXPECT_EQ(mask.sizes(), (std::vector<int64_t>{1000, 200}));
  EXPECT_EQ(mask.scalar_type(), at::kFloat);
  const at::Tensor dropped = mask.eq(0);
  EXPECT_TRUE(at::allclose(mask, dropped.logical_not().to(at::kFloat) / 0.7, 1e-6, 0));
  // Bounds of five standard errors: sqrt(0.3 * 0.7 / n).
  EXPECT_NEAR(dropped.to(at::kDouble).mean().item<double>(), dropout, 0.0052);
  EXPECT_LT((dropped.to(at::kDouble).mean(0) - dropout).abs().max().item<double>(), 0.073) << "columns";
  EXPECT_LT((dropped.to(at::kDouble).mean(1) - dropout).abs().max().item<double>(), 0.163) << "rows";
}

TEST(DropoutMaskTest, IsOfItsKeyAlone) {
  const at::Tensor mask = DropoutMask(0.5, 8, 16, 7);
  torch::manual_seed(5);
  EXPECT_TRUE(at::equal(DropoutMask(0.5, 8, 16, 7), mask));
  EXPECT_FALSE(at::equal(DropoutMask(0.5, 8, 16, 8), mask));
}

TEST(DropoutMaskTest, IsUndefinedWithoutDropout) { EXPECT_FALSE(DropoutMask(0, 8, 16, 7).defined()); }

TEST(HeadTest, StandardizesFeaturesByTheStatisticsItIsGiven) {
  HeadOptions options;
  options.standardize = true;
  Head head(options, 3, 2), plain({}, 3, 2);
  head.Initialise(5);
  plain.Initialise(5);
  torch::NoGradGuard no_grad;
  const at::Tensor x = at::tensor({1.0f, 2.0f, 7.0f, 3.0f, -2.0f, 7.0f}).view({2, 3});
  EXPECT_TRUE(at::equal(head.Forward(x, {}), plain.Forward(x, {}))) << "before: centre 0, scale 1";
  head.SetStatistics(at::tensor({2.0f, 0.0f, 7.0f}), at::tensor({1.0f, 2.0f, 0.0f}));
  // A deviation of 0 counts as 1.
  const at::Tensor standardized = at::tensor({-1.0f, 1.0f, 0.0f, 1.0f, -1.0f, 0.0f}).view({2, 3});
  EXPECT_TRUE(at::allclose(head.Forward(x, {}), plain.Forward(standardized, {})));
}

}  // namespace
}  // namespace graft

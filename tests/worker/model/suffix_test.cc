#include "worker/model/suffix.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>

#include "tests/support/tiny_backbone.h"
#include "worker/backbone/stage.h"
#include "worker/model/checkpoint.h"

namespace graft {
namespace {

constexpr int kSplit = 11;  // features.11, features.12 and the pooling are trained

double RelativeDifference(const at::Tensor& got, const at::Tensor& want) {
  return (got - want).abs().max().item<double>() / want.abs().max().item<double>();
}

at::Tensor Prefix() {
  static const at::Tensor activations = TinyBackbone()->Forward(GoldenInputs(PreprocessSpec()), 0, kSplit);
  return activations;
}

at::Tensor Logits(Suffix* suffix) {
  torch::NoGradGuard no_grad;
  return suffix->Forward(Prefix());
}

TEST(SuffixTest, HeadIsUniformWithinItsBoundFromTheSeed) {
  const auto backbone = TinyBackbone();
  const at::Tensor weight = Suffix(*backbone, 14, 5, 1).State().at("head.weight");
  EXPECT_EQ(weight.sizes(), (std::vector<int64_t>{5, 576}));
  const double bound = 1 / std::sqrt(576.0);
  EXPECT_LE(weight.abs().max().item<double>(), bound);
  EXPECT_GT(weight.abs().max().item<double>(), 0.98 * bound);
  EXPECT_NEAR(weight.std().item<double>(), bound / std::sqrt(3.0), 0.05 * bound);
  EXPECT_TRUE(at::equal(Suffix(*backbone, kSplit, 5, 1).State().at("head.weight"), weight)) << "of the seed alone";
  EXPECT_FALSE(at::equal(Suffix(*backbone, 14, 5, 2).State().at("head.weight"), weight));
}

TEST(SuffixTest, ContinuesTheBackbone) {
  const auto backbone = TinyBackbone();
  Suffix suffix(*backbone, kSplit, 3, 1);
  const auto state = suffix.State();
  const at::Tensor features = backbone->Forward(Prefix(), kSplit, 14);
  const at::Tensor want = at::linear(features, state.at("head.weight"), state.at("head.bias"));
  EXPECT_LT(RelativeDifference(Logits(&suffix), want), 1e-4);
}

TEST(SuffixTest, ParametersAreTheUnfrozenOnesByTorchvisionsNames) {
  Suffix suffix(*TinyBackbone(), kSplit, 3, 1);
  std::map<std::string, Suffix::Parameter> by_name;
  int64_t backbone_count = 0;
  for (const Suffix::Parameter& p : suffix.Parameters()) {
    by_name[p.name] = p;
    if (!p.in_head) backbone_count += p.value.numel();
  }
  EXPECT_EQ(backbone_count, TinyBackbone()->parameter_count(kSplit, 14));
  EXPECT_TRUE(by_name.at("head.weight").in_head);
  EXPECT_TRUE(by_name.at("head.weight").decays);
  EXPECT_FALSE(by_name.at("head.bias").decays);
  EXPECT_TRUE(by_name.at("features.12.0.weight").decays);
  EXPECT_FALSE(by_name.at("features.12.0.weight").in_head);
  EXPECT_FALSE(by_name.at("features.12.1.weight").decays) << "batch norm";
  EXPECT_EQ(Suffix(*TinyBackbone(), 14, 3, 1).Parameters().size(), 2u);
}

TEST(SuffixTest, ReplicaSharesValuesAndStatistics) {
  Suffix suffix(*TinyBackbone(), kSplit, 3, 1);
  const auto replica = suffix.Replicate();
  EXPECT_TRUE(at::equal(Logits(replica.get()), Logits(&suffix)));
  {
    torch::NoGradGuard no_grad;
    for (auto& [name, tensor] : suffix.State()) at::Tensor(tensor).mul_(0.9);
  }
  const auto state = suffix.State(), shared = replica->State();
  for (const auto& [name, tensor] : state) EXPECT_TRUE(at::equal(shared.at(name), tensor)) << name;
  EXPECT_TRUE(at::equal(Logits(replica.get()), Logits(&suffix)));
}

TEST(SuffixTest, ReplicaHasGradientsOfItsOwn) {
  Suffix suffix(*TinyBackbone(), kSplit, 3, 1);
  const auto replica = suffix.Replicate();
  at::AutoGradMode enable_grad(true);
  replica->Forward(Prefix()).sum().backward();
  for (const auto& p : replica->Parameters()) EXPECT_TRUE(p.value.grad().defined()) << p.name;
  for (const auto& p : suffix.Parameters()) EXPECT_FALSE(p.value.grad().defined()) << p.name;
}

TEST(SuffixTest, StateSurvivesARoundTrip) {
  Suffix from(*TinyBackbone(), kSplit, 3, 1), to(*TinyBackbone(), kSplit, 3, 2);
  {
    torch::NoGradGuard no_grad;
    for (auto& [name, tensor] : from.State()) at::Tensor(tensor).mul_(0.9);
  }
  const auto absent = to.LoadState(from.State());
  ASSERT_TRUE(absent.ok()) << absent.status();
  EXPECT_EQ(*absent, 0);
  EXPECT_TRUE(at::equal(Logits(&to), Logits(&from)));
}

TEST(SuffixTest, LoadStateCountsAbsentNamesAndIgnoresOthers) {
  Suffix head(*TinyBackbone(), 14, 3, 1), deeper(*TinyBackbone(), kSplit, 3, 2);
  const auto absent = deeper.LoadState(head.State());
  ASSERT_TRUE(absent.ok());
  EXPECT_EQ(*absent, static_cast<int>(deeper.State().size()) - 2);
  EXPECT_TRUE(at::equal(deeper.State().at("head.weight"), head.State().at("head.weight")));
  EXPECT_EQ(*head.LoadState(deeper.State()), 0);
}

TEST(SuffixTest, MisshapenStateIsDataLoss) {
  Suffix three(*TinyBackbone(), 14, 3, 1), four(*TinyBackbone(), 14, 4, 1);
  const auto absent = three.LoadState(four.State());
  EXPECT_EQ(absent.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(absent.status().message()), testing::HasSubstr("head.bias"));
}

TEST(SuffixTest, BatchNormLearnsStatisticsOnlyInTrainingMode) {
  Suffix suffix(*TinyBackbone(), kSplit, 3, 1);
  const at::Tensor before = suffix.State().at("features.12.1.running_mean").clone();
  const at::Tensor logits = Logits(&suffix);
  EXPECT_TRUE(at::equal(suffix.State().at("features.12.1.running_mean"), before));
  suffix.SetBatchNormTraining(true);
  Logits(&suffix);
  EXPECT_FALSE(at::equal(suffix.State().at("features.12.1.running_mean"), before));
  suffix.SetBatchNormTraining(false);
  EXPECT_FALSE(at::equal(Logits(&suffix), logits));
  EXPECT_TRUE(at::equal(Logits(&suffix), Logits(&suffix)));
}

TEST(SuffixTest, PreparedPredictsTheSame) {
  Suffix suffix(*TinyBackbone(), kSplit, 3, 1);
  const at::Tensor want = Logits(&suffix);
  suffix.PrepareToPredict();
  EXPECT_LT(RelativeDifference(Logits(&suffix), want), 1e-4);
  EXPECT_FALSE(suffix.Forward(Prefix()).requires_grad());
}

}  // namespace
}  // namespace graft

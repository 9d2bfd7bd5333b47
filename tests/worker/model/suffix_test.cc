#include "worker/model/suffix.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "tests/support/tiny_backbone.h"
#include "worker/backbone/precision.h"
#include "worker/backbone/stage.h"
#include "worker/model/checkpoint.h"

namespace graft {
namespace {

constexpr int kSplit = 11;  // features.11, features.12 and the pooling are trained

const std::vector<HeadOptions> kHeads{{HeadType::kLinear, 0, 0},
                                      {HeadType::kMlp, 16, 0.5},
                                      {HeadType::kLinearSvm, 0, 0},
                                      {HeadType::kCosine, 0, 0}};

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
  const at::Tensor weight = Suffix(*backbone, 14, HeadOptions(), 5, 1).State().at("head.weight");
  EXPECT_EQ(weight.sizes(), (std::vector<int64_t>{5, 576}));
  const double bound = 1 / std::sqrt(576.0);
  EXPECT_LE(weight.abs().max().item<double>(), bound);
  EXPECT_GT(weight.abs().max().item<double>(), 0.98 * bound);
  EXPECT_NEAR(weight.std().item<double>(), bound / std::sqrt(3.0), 0.05 * bound);
  const Suffix deeper(*backbone, kSplit, HeadOptions(), 5, 1);
  EXPECT_TRUE(at::equal(deeper.State().at("head.weight"), weight)) << "of the seed alone";
  EXPECT_FALSE(at::equal(Suffix(*backbone, 14, HeadOptions(), 5, 2).State().at("head.weight"), weight));
}

TEST(SuffixTest, ContinuesTheBackbone) {
  const auto backbone = TinyBackbone();
  Suffix suffix(*backbone, kSplit, HeadOptions(), 3, 1);
  const auto state = suffix.State();
  const at::Tensor features = backbone->Forward(Prefix(), kSplit, 14);
  const at::Tensor want = at::linear(features, state.at("head.weight"), state.at("head.bias"));
  EXPECT_LT(RelativeDifference(Logits(&suffix), want), 1e-4);
}

at::Tensor Features() { return TinyBackbone()->Forward(Prefix(), kSplit, 14); }

TEST(SuffixTest, EveryHeadContinuesTheBackbone) {
  for (const HeadOptions& options : kHeads) {
    Suffix suffix(*TinyBackbone(), kSplit, options, 3, 1);
    Head head(options, 576, 3);
    head.Initialise(1);
    torch::NoGradGuard no_grad;
    EXPECT_EQ(suffix.num_classes(), 3);
    EXPECT_EQ(suffix.head().last_width(), head.last_width());
    EXPECT_LT(RelativeDifference(Logits(&suffix), head.Forward(Features(), {})), 1e-4) << HeadTypeName(options.type);
    const at::Tensor mask = DropoutMask(0.5, 2, head.last_width(), 3);
    EXPECT_LT(RelativeDifference(suffix.Forward(Prefix(), mask), head.Forward(Features(), mask)), 1e-4);
    EXPECT_GT(RelativeDifference(suffix.Forward(Prefix(), mask), Logits(&suffix)), 1e-2) << "the mask is used";
  }
}

// Of the head alone, which has its own way for linear layers, and of stages with it.
TEST(SuffixTest, BackpropagateAddsAutogradsGradients) {
  std::vector<HeadOptions> heads = kHeads;
  heads.push_back({HeadType::kLinear, 0, 0.5, /*standardize=*/true});
  for (const HeadOptions& options : heads) {
    for (const int split : {kSplit, 14}) {
      Suffix got(*TinyBackbone(), split, options, 3, 1), want(*TinyBackbone(), split, options, 3, 1);
      const at::Tensor input = split == kSplit ? Prefix() : Features();
      const at::Tensor mask = DropoutMask(0.5, 2, got.head().last_width(), 3);
      const auto derivative = [](const at::Tensor& logits) { return (logits.detach() + 1).square(); };
      got.Backpropagate(input, mask, derivative);
      got.Backpropagate(input, {}, derivative);
      for (const at::Tensor& m : {mask, at::Tensor()}) {
        const at::Tensor logits = want.Forward(input, m);
        logits.backward(derivative(logits));
      }
      const auto got_parameters = got.Parameters(), want_parameters = want.Parameters();
      for (size_t i = 0; i < got_parameters.size(); ++i) {
        EXPECT_LT(RelativeDifference(got_parameters[i].value.grad(), want_parameters[i].value.grad()), 1e-5)
            << HeadTypeName(options.type) << " from " << split << ": " << got_parameters[i].name;
      }
    }
  }
}

// A linear head has its own way, which computes in the type of the products.
TEST(SuffixTest, GradientsUnderAutocastAreOfTheParametersType) {
  const auto derivative = [](const at::Tensor& logits) { return (logits.detach() + 1).square(); };
  const at::Tensor features = Features();
  for (const HeadType type : {HeadType::kLinear, HeadType::kLinearSvm, HeadType::kMlp}) {
    const HeadOptions options{type, type == HeadType::kMlp ? 16 : 0, 0};
    Suffix got(*TinyBackbone(), 14, options, 3, 1), want(*TinyBackbone(), 14, options, 3, 1);
    for (int times = 1; times <= 2; ++times) {
      want.Backpropagate(features, {}, derivative);
      const AutocastScope autocast(Precision::kBfloat16, at::kCPU);
      at::ScalarType type_of_logits = at::kFloat;
      got.Backpropagate(features, {}, [&](const at::Tensor& logits) {
        type_of_logits = logits.scalar_type();
        return derivative(logits);
      });
      EXPECT_EQ(type_of_logits, at::kBFloat16) << "else this shows nothing";
    }
    const auto got_parameters = got.Parameters(), want_parameters = want.Parameters();
    for (size_t i = 0; i < got_parameters.size(); ++i) {
      const at::Tensor gradient = got_parameters[i].value.grad();
      EXPECT_EQ(gradient.scalar_type(), at::kFloat) << HeadTypeName(type) << ": " << got_parameters[i].name;
      EXPECT_LT(RelativeDifference(gradient, want_parameters[i].value.grad()), 0.05) << got_parameters[i].name;
    }
  }
}

TEST(SuffixTest, EveryHeadSurvivesReplicaAndRoundTrip) {
  for (const HeadOptions& options : kHeads) {
    Suffix suffix(*TinyBackbone(), 14, options, 3, 1), other(*TinyBackbone(), 14, options, 3, 2);
    {
      torch::NoGradGuard no_grad;
      for (auto& [name, tensor] : suffix.State()) at::Tensor(tensor).mul_(0.9);
    }
    torch::NoGradGuard no_grad;
    const at::Tensor want = suffix.Forward(Features());
    EXPECT_TRUE(at::equal(suffix.Replicate()->Forward(Features()), want)) << HeadTypeName(options.type);
    EXPECT_FALSE(at::equal(other.Forward(Features()), want));
    ASSERT_TRUE(other.LoadState(suffix.State()).ok());
    EXPECT_TRUE(at::equal(other.Forward(Features()), want)) << HeadTypeName(options.type);
  }
}

TEST(SuffixTest, ParametersOfEveryHeadHaveTheirNamesAndDecay) {
  using Decays = std::map<std::string, bool>;
  const auto decays = [](const HeadOptions& options) {
    Decays by_name;
    for (const Suffix::Parameter& p : Suffix(*TinyBackbone(), 14, options, 3, 1).Parameters()) {
      by_name[p.name] = p.decays;
      EXPECT_TRUE(p.in_head);
      EXPECT_EQ(p.stage, 14);
    }
    return by_name;
  };
  const Decays linear{{"head.weight", true}, {"head.bias", false}};
  EXPECT_EQ(decays(HeadOptions()), linear);
  EXPECT_EQ(decays({HeadType::kLinearSvm, 0, 0}), linear);
  EXPECT_EQ(decays({HeadType::kMlp, 8, 0}), (Decays{{"head.weight", true},
                                                    {"head.bias", false},
                                                    {"head.hidden.weight", true},
                                                    {"head.hidden.bias", false}}));
  EXPECT_EQ(decays({HeadType::kCosine, 0, 0}), (Decays{{"head.weight", true}, {"head.scale", false}}));
}

TEST(SuffixTest, ParametersAreTheUnfrozenOnesByTorchvisionsNames) {
  Suffix suffix(*TinyBackbone(), kSplit, HeadOptions(), 3, 1);
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
  EXPECT_EQ(by_name.at("features.11.block.0.0.weight").stage, 11);
  EXPECT_EQ(by_name.at("features.12.0.weight").stage, 12);
  EXPECT_EQ(by_name.at("head.weight").stage, 14);
  EXPECT_FALSE(by_name.at("features.12.1.weight").decays) << "batch norm";
  EXPECT_EQ(Suffix(*TinyBackbone(), 14, HeadOptions(), 3, 1).Parameters().size(), 2u);
}

TEST(SuffixTest, ReplicaSharesValuesAndStatistics) {
  Suffix suffix(*TinyBackbone(), kSplit, HeadOptions(), 3, 1);
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
  Suffix suffix(*TinyBackbone(), kSplit, HeadOptions(), 3, 1);
  const auto replica = suffix.Replicate();
  at::AutoGradMode enable_grad(true);
  replica->Forward(Prefix()).sum().backward();
  for (const auto& p : replica->Parameters()) EXPECT_TRUE(p.value.grad().defined()) << p.name;
  for (const auto& p : suffix.Parameters()) EXPECT_FALSE(p.value.grad().defined()) << p.name;
}

TEST(SuffixTest, StateSurvivesARoundTrip) {
  Suffix from(*TinyBackbone(), kSplit, HeadOptions(), 3, 1), to(*TinyBackbone(), kSplit, HeadOptions(), 3, 2);
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
  Suffix head(*TinyBackbone(), 14, HeadOptions(), 3, 1), deeper(*TinyBackbone(), kSplit, HeadOptions(), 3, 2);
  const auto absent = deeper.LoadState(head.State());
  ASSERT_TRUE(absent.ok());
  EXPECT_EQ(*absent, static_cast<int>(deeper.State().size()) - 2);
  EXPECT_TRUE(at::equal(deeper.State().at("head.weight"), head.State().at("head.weight")));
  EXPECT_EQ(*head.LoadState(deeper.State()), 0);
}

TEST(SuffixTest, MisshapenStateIsDataLoss) {
  Suffix three(*TinyBackbone(), 14, HeadOptions(), 3, 1), four(*TinyBackbone(), 14, HeadOptions(), 4, 1);
  const auto absent = three.LoadState(four.State());
  EXPECT_EQ(absent.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(absent.status().message()), testing::HasSubstr("head.bias"));
}

TEST(SuffixTest, BatchNormLearnsStatisticsOnlyInTrainingMode) {
  Suffix suffix(*TinyBackbone(), kSplit, HeadOptions(), 3, 1);
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
  Suffix suffix(*TinyBackbone(), kSplit, HeadOptions(), 3, 1);
  const at::Tensor want = Logits(&suffix);
  suffix.PrepareToPredict();
  EXPECT_LT(RelativeDifference(Logits(&suffix), want), 1e-4);
  EXPECT_FALSE(suffix.Forward(Prefix()).requires_grad());
}

}  // namespace
}  // namespace graft

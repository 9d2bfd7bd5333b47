// What comes out of a training: each strategy, head, optimizer and precision learns, and its model serves.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <ostream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "tests/worker/train/trainer_fixture.h"
#include "worker/data/activations.h"
#include "worker/infer/predictor.h"

namespace graft {
namespace {

using testing::ElementsAre;

struct HeadCase {
  HeadOptions head;
  int split_point = 0;
  int tensors = 0;  // of the head
};

void PrintTo(const HeadCase& c, std::ostream* out) { *out << HeadTypeName(c.head.type) << " from " << c.split_point; }

class TrainHeadTest : public testing::TestWithParam<HeadCase> {};

// float32 [n, 3, h, w], as the service prepares them.
at::Tensor PicturesOf(const std::vector<Example>& examples, const Dataset& data, const TrainOptions& options) {
  Activations::Options o;
  o.backbone = options.backbone;
  o.preprocessing = options.preprocessing;
  o.budget_bytes = 0;
  const Activations activations(o, &examples, data.read);
  std::vector<int64_t> all(examples.size());
  std::iota(all.begin(), all.end(), 0);
  auto pictures = activations.Gather(all.data(), activations.size());
  GRAFT_CHECK(pictures.ok());
  return *std::move(pictures);
}

TEST_P(TrainHeadTest, LearnsColoursAndServesWhatWasMeasured) {
  const Dataset data = ColourDataset(3, 8, 4);
  std::vector<Phase> phases{HeadPhase(8)};
  phases[0].optimizer.kind = OptimizerKind::kAdamW;
  phases[0].head_learning_rate = 1e-2;
  if (GetParam().split_point < 14) phases.push_back(TunePhase(2));
  TrainOptions options = OptionsFor(phases);
  options.head = GetParam().head;
  RecordingObserver observer;
  const auto result = TrainOn(options, data, &observer);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->assessment.evaluation.accuracy, 1);
  EXPECT_EQ(observer.phases[0].parameters.trainable_head, ParameterCount(options.head, 576, 3));
  const auto checkpoint = ParseCheckpoint(result->checkpoint);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_TRUE(checkpoint->head == options.head);
  EXPECT_EQ(std::count_if(checkpoint->weights.begin(), checkpoint->weights.end(),
                          [](const auto& item) { return absl::StartsWith(item.first, "head."); }),
            GetParam().tensors);

  const auto predictor = Predictor::Load(result->checkpoint, options.backbone);
  ASSERT_TRUE(predictor.ok()) << predictor.status();
  const at::Tensor pictures = PicturesOf(data.validation, data, options);
  const at::Tensor served = (*predictor)->Probabilities((*predictor)->Prefix(pictures));  // [12, 3]
  double loss = 0;
  for (size_t i = 0; i < data.validation.size(); ++i) {
    const at::Tensor row = served[static_cast<int64_t>(i)];
    EXPECT_EQ(row.argmax().item<int64_t>(), data.validation[i].label) << i;
    loss -= std::log(row[data.validation[i].label].item<double>()) / static_cast<double>(data.validation.size());
  }
  EXPECT_NEAR(loss, result->assessment.evaluation.loss, 1e-5);
}

INSTANTIATE_TEST_SUITE_P(All, TrainHeadTest,
                         testing::Values(HeadCase{{HeadType::kLinear, 0, 0}, 14, 2},
                                         HeadCase{{HeadType::kMlp, 32, 0.25}, 14, 4},
                                         HeadCase{{HeadType::kLinearSvm, 0, 0}, 14, 2},
                                         HeadCase{{HeadType::kCosine, 0, 0}, 14, 2},
                                         HeadCase{{HeadType::kMlp, 32, 0.25}, 12, 4},
                                         HeadCase{{HeadType::kCosine, 0, 0}, 12, 2}));

TEST(TrainLearningTest, GradualUnfreezesOneStageMoreInEachPhase) {
  Recipe recipe;
  recipe.strategy = Strategy::kGradual;
  recipe.epochs = 4;
  recipe.head_epochs = 1;
  recipe.unfreeze_stages = 3;
  recipe.chosen = {"epochs", "fine_tune.head_epochs", "fine_tune.unfreeze_stages"};
  const auto full = WithDefaults(recipe);
  ASSERT_TRUE(full.ok()) << full.status();
  TrainOptions options = OptionsFor({});
  options.phases = *MakePhases(*full, *options.backbone);
  RecordingObserver observer;
  const auto result = TrainOn(options, ColourDataset(2, 4, 2), &observer);
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_EQ(observer.phases.size(), 4u);
  EXPECT_THAT(observer.phases[0].trained_stages, ElementsAre());
  EXPECT_THAT(observer.phases[1].trained_stages, ElementsAre("features.12"));
  EXPECT_THAT(observer.phases[2].trained_stages, ElementsAre("features.11", "features.12"));
  EXPECT_THAT(observer.phases[3].trained_stages, ElementsAre("features.10", "features.11", "features.12"));
  EXPECT_EQ(observer.phases[3].epochs_before, 3);
  EXPECT_EQ(observer.epochs.size(), 5u) << "the last phase has the odd epoch";
  EXPECT_EQ(result->split_point, 10);
  const Tensors weights = WeightsOf(result->checkpoint), start = TinyWeights().tensors;
  for (const auto& [name, value] : weights) {
    if (absl::StartsWith(name, "head.") || absl::StrContains(name, "running_")) continue;
    EXPECT_FALSE(at::equal(value, start.at(name))) << name;
  }
}

TEST(TrainLearningTest, LbfgsFitsAFrozenHeadInAFewEpochs) {
  const Dataset data = ColourDataset(3, 6, 3);
  const double by_sgd = [&] {
    RecordingObserver observer;
    GRAFT_CHECK(TrainOn(OptionsFor({HeadPhase(6)}), data, &observer).ok());
    return observer.epochs.back().train_loss;
  }();
  Recipe recipe;
  recipe.optimizer.kind = OptimizerKind::kLbfgs;
  recipe.epochs = 6;
  recipe.chosen = {"optimizer.type", "epochs"};
  TrainOptions options = OptionsFor({});
  options.phases = *MakePhases(*WithDefaults(recipe), *options.backbone);
  RecordingObserver observer;
  const auto result = TrainOn(options, data, &observer);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_LT(observer.epochs.back().train_loss, 0.5 * by_sgd);
  EXPECT_EQ(observer.epochs.back().val_accuracy, 1);
  for (size_t i = 1; i < observer.epochs.size(); ++i) {
    EXPECT_LT(observer.epochs[i].train_loss, observer.epochs[i - 1].train_loss + 1e-6) << "the line search descends";
  }
}

class TrainOptimizerTest : public testing::TestWithParam<OptimizerKind> {};

TEST_P(TrainOptimizerTest, LearnsColours) {
  Phase phase = HeadPhase(8);
  phase.optimizer.kind = GetParam();
  phase.head_learning_rate = 1e-2;
  EXPECT_EQ(MustTrain(OptionsFor({phase}), ColourDataset(3, 6, 3)).assessment.evaluation.accuracy, 1);
}

INSTANTIATE_TEST_SUITE_P(Adaptive, TrainOptimizerTest,
                         testing::Values(OptimizerKind::kAdamW, OptimizerKind::kRmsProp));

TEST(TrainLearningTest, Bfloat16LearnsTheSameColoursAndRepeatsExactly) {
  const Dataset data = ColourDataset(2, 6, 3);
  TrainOptions options = OptionsFor({HeadPhase(8), TunePhase(2)});
  const TrainResult single = MustTrain(options, data);
  options.precision = Precision::kBfloat16;
  const TrainResult half = MustTrain(options, data);
  EXPECT_EQ(half.assessment.evaluation.accuracy, 1);
  EXPECT_TRUE(half.checkpoint == MustTrain(options, data).checkpoint);
  EXPECT_NEAR(half.assessment.evaluation.loss, single.assessment.evaluation.loss, 0.05);
  for (const auto& [name, value] : WeightsOf(half.checkpoint)) {
    EXPECT_EQ(value.scalar_type(), at::kFloat) << name << " stays float32";
  }
}

TEST(TrainLearningTest, Float16OnTheCpuIsFailedPrecondition) {
  TrainOptions options = OptionsFor({HeadPhase(1)});
  options.precision = Precision::kFloat16;
  RecordingObserver observer;
  EXPECT_EQ(TrainOn(options, ColourDataset(2, 2, 1), &observer).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace graft

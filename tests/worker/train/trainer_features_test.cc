// What each option of a phase does to the training, against the arithmetic it stands for.

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "tests/worker/train/trainer_fixture.h"
#include "worker/model/suffix.h"
#include "worker/train/class_balance.h"
#include "worker/train/loss.h"
#include "worker/train/phase_run.h"
#include "worker/train/predict_logits.h"

namespace graft {
namespace {

// Steps of plain gradient descent, each over the whole split.
Phase WholeSplit(Phase phase) {
  phase.batch_size = 1000;
  phase.optimizer.momentum = 0;
  phase.schedule.kind = ScheduleKind::kConstant;
  phase.weight_decay = 0;
  return phase;
}

// As Train() begins.
Tensors FirstWeights(const TrainOptions& options, int classes = 2) {
  const Suffix suffix(*options.backbone, options.phases[0].split_point, options.head, classes, options.seed);
  Tensors weights;
  for (const auto& [name, value] : suffix.State()) weights[name] = value.clone();
  return weights;
}

// Of the training pictures.
absl::StatusOr<std::vector<float>> LogitsBy(const Tensors& weights, const TrainOptions& options, const Dataset& data) {
  WorkerPool pool({2, 0, "test", UseOneIntraOpThread});
  Activations::Options o;
  o.backbone = options.backbone;
  o.preprocessing = options.preprocessing;
  o.split_point = options.phases[0].split_point;
  Activations activations(o, &data.train, data.read);
  const auto classes = static_cast<int64_t>(data.class_names.size());
  return PredictLogits({o.backbone, o.split_point, options.head, classes}, weights, &activations, &pool, {});
}

// float32 [n, classes] of the training pictures, before anything was learnt.
at::Tensor FirstLogits(const TrainOptions& options, const Dataset& data) {
  const auto classes = static_cast<int64_t>(data.class_names.size());
  const auto logits = LogitsBy(FirstWeights(options, static_cast<int>(classes)), options, data);
  GRAFT_CHECK(logits.ok());
  return at::tensor(*logits).view({-1, classes});
}

// Of two classes, so many of each for training.
Dataset Unbalanced(int red, int green) {
  Dataset data = ColourDataset(2, std::max(red, green), 3);
  std::vector<Example> kept;
  int seen[2] = {0, 0};
  for (const Example& example : data.train) {
    if (seen[example.label]++ < (example.label == 0 ? red : green)) kept.push_back(example);
  }
  data.train = kept;
  return data;
}

// Metrics of the first epoch.
EpochMetrics FirstEpoch(const TrainOptions& options, const Dataset& data) {
  RecordingObserver observer;
  GRAFT_CHECK(TrainOn(options, data, &observer).ok());
  return observer.epochs.front();
}

TEST(TrainFeaturesTest, AccumulatedBatchesEqualOneLargeBatch) {
  const Dataset data = ColourDataset(2, 7, 2);  // 14: the last step has one batch and a part of one
  TrainOptions options = OptionsFor({TunePhase(2)});
  options.phases[0].batch_size = 6;
  const TrainResult whole = MustTrain(options, data);
  options.phases[0].batch_size = 2;
  const TrainResult small_steps = MustTrain(options, data);
  options.phases[0].accumulate_batches = 3;
  const TrainResult accumulated = MustTrain(options, data);
  const Tensors want = WeightsOf(whole.checkpoint);
  EXPECT_LT(LargestDifference(want, WeightsOf(accumulated.checkpoint)), 1e-6);
  EXPECT_GT(LargestDifference(want, WeightsOf(small_steps.checkpoint)), 1e-4);
}

TEST(TrainFeaturesTest, L2SpPullsByTheDistanceFromThePretrainedWeights) {
  const Dataset data = ColourDataset(2, 4, 2);
  TrainOptions options = OptionsFor({WholeSplit(TunePhase(2))});
  Phase& phase = options.phases[0];
  phase.backbone_learning_rate = 0.05;
  RecordingObserver observer;
  const auto free = TrainOn(options, data, &observer);
  ASSERT_TRUE(free.ok()) << free.status();
  const Tensors start = FirstWeights(options), after_one = ParsedState(observer.states[0]).weights;
  phase.l2_sp = 3;
  const Tensors pulled = WeightsOf(MustTrain(options, data).checkpoint), unpulled = WeightsOf(free->checkpoint);
  for (const auto& [name, weight] : unpulled) {
    // The first step begins at the pretrained weights: nothing pulls yet.
    const double rate = absl::StartsWith(name, "head.") ? 0 : phase.backbone_learning_rate;
    const at::Tensor want = weight - rate * phase.l2_sp * (after_one.at(name) - start.at(name));
    EXPECT_TRUE(at::allclose(pulled.at(name), want, 1e-5, 1e-6)) << name;
  }
  const std::string name = "features.12.0.weight";
  EXPECT_FALSE(at::allclose(pulled.at(name), unpulled.at(name), 1e-5, 1e-6));
}

TEST(TrainFeaturesTest, ClippingBoundsTheStepOverAllParametersTogether) {
  const Dataset data = ColourDataset(2, 4, 2);
  TrainOptions options = OptionsFor({WholeSplit(TunePhase(1))});
  Phase& phase = options.phases[0];
  phase.head_learning_rate = phase.backbone_learning_rate = 0.5;
  const Tensors start = FirstWeights(options);
  const auto step_over_rate = [&] {
    double squares = 0;
    for (const auto& [name, value] : WeightsOf(MustTrain(options, data).checkpoint)) {
      squares += (value - start.at(name)).to(at::kDouble).pow(2).sum().item<double>();
    }
    return std::sqrt(squares) / 0.5;
  };
  const double free = step_over_rate();
  phase.clip_norm = free / 10;
  EXPECT_NEAR(step_over_rate(), free / 10, 1e-3 * free);
  phase.clip_norm = free * 10;
  EXPECT_NEAR(step_over_rate(), free, 1e-6 * free) << "a norm below the bound is left alone";
}

TEST(TrainFeaturesTest, LabelSmoothingSharesTheTargetsOut) {
  const Dataset data = ColourDataset(3, 4, 2);
  TrainOptions options = OptionsFor({WholeSplit(HeadPhase(1))});
  options.phases[0].label_smoothing = 0.3;
  const at::Tensor log_p = at::log_softmax(FirstLogits(options, data).to(at::kDouble), 1);
  const at::Tensor labels = at::tensor(LabelsOf(data.train), at::kLong);
  const double plain = -log_p.gather(1, labels.unsqueeze(1)).mean().item<double>();
  const double uniform = -log_p.mean().item<double>();
  EXPECT_GT(std::abs(plain - uniform), 1e-3) << "else this shows nothing";
  EXPECT_NEAR(FirstEpoch(options, data).train_loss, 0.7 * plain + 0.3 * uniform, 1e-5);
}

TEST(TrainFeaturesTest, ClassWeightsLetEachClassCountAlike) {
  const Dataset data = Unbalanced(9, 3);
  TrainOptions options = OptionsFor({WholeSplit(HeadPhase(1))});
  const at::Tensor log_p = at::log_softmax(FirstLogits(options, data).to(at::kDouble), 1);
  double of_class[2] = {0, 0};
  for (size_t i = 0; i < data.train.size(); ++i) {
    const int label = data.train[i].label;
    of_class[label] -= log_p[static_cast<int64_t>(i)][label].item<double>() / (label == 0 ? 9 : 3);
  }
  EXPECT_NEAR(FirstEpoch(options, data).train_loss, 0.75 * of_class[0] + 0.25 * of_class[1], 1e-5);
  options.class_balance = ClassBalance::kWeights;
  EXPECT_NEAR(FirstEpoch(options, data).train_loss, 0.5 * of_class[0] + 0.5 * of_class[1], 1e-5);
  EXPECT_GT(std::abs(of_class[0] - of_class[1]), 1e-3) << "else this shows nothing";
}

TEST(TrainFeaturesTest, BalancedSamplingTrainsOnTheDrawnPictures) {
  const Dataset data = Unbalanced(9, 3);
  TrainOptions options = OptionsFor({WholeSplit(HeadPhase(1))});
  options.class_balance = ClassBalance::kSampling;
  const std::vector<int> labels = LabelsOf(data.train);
  const std::vector<int64_t> drawn = BalancedIndices(labels, 2, options.seed, 0, 0);
  EXPECT_EQ(std::count_if(drawn.begin(), drawn.end(), [&](int64_t i) { return labels[i] == 1; }), 6);
  const at::Tensor log_p = at::log_softmax(FirstLogits(options, data).to(at::kDouble), 1);
  double want = 0;
  for (const int64_t i : drawn) want -= log_p[i][labels[i]].item<double>() / static_cast<double>(drawn.size());
  EXPECT_NEAR(FirstEpoch(options, data).train_loss, want, 1e-5);
}

// With any cache: a picture that comes twice has one row.
TEST(TrainFeaturesTest, BalancedSamplingDoesNotDependOnTheCache) {
  const Dataset data = Unbalanced(7, 2);
  TrainOptions options = OptionsFor({TunePhase(2)});
  options.class_balance = ClassBalance::kSampling;
  const TrainResult whole = MustTrain(options, data);
  options.activation_cache_bytes = 0;
  EXPECT_TRUE(MustTrain(options, data).checkpoint == whole.checkpoint);
}

TEST(TrainFeaturesTest, TheCheckpointHoldsTheAveragedWeights) {
  const Dataset data = ColourDataset(2, 6, 2);
  TrainOptions options = OptionsFor({TunePhase(2)});
  options.phases[0].batch_norm = BatchNormPolicy::kTrainUnfrozen;  // statistics are averaged too
  options.phases[0].ema_decay = 0.3;
  options.state_seconds = 1e-9;  // a state after each step
  RecordingObserver observer;
  const auto result = TrainOn(options, data, &observer);
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_EQ(observer.states.size(), 6u);
  Tensors average;
  for (size_t t = 1; t <= observer.states.size(); ++t) {
    const double decay = std::min(0.3, (1.0 + t) / (10.0 + t));
    const TrainState state = ParsedState(observer.states[t - 1]);
    for (const auto& [name, value] : state.weights) {
      at::Tensor& a = average[name];
      a = a.defined() ? a * decay + value.to(at::kDouble) * (1 - decay) : value.to(at::kDouble);
    }
  }
  const Tensors last = ParsedState(observer.states.back()).weights, got = WeightsOf(result->checkpoint);
  EXPECT_LT(LargestDifference(got, average), 1e-6);
  EXPECT_GT(LargestDifference(got, last), 1e-4);
}

TEST(TrainFeaturesTest, StageDecayScalesTheRatesOfEarlierStages) {
  const Dataset data = ColourDataset(2, 4, 2);
  TrainOptions options = OptionsFor({WholeSplit(TunePhase(1))});
  options.phases[0].split_point = 11;
  options.phases[0].backbone_learning_rate = 0.1;
  const Tensors start = FirstWeights(options), even = WeightsOf(MustTrain(options, data).checkpoint);
  options.phases[0].stage_decay = 0.25;
  const Tensors decayed = WeightsOf(MustTrain(options, data).checkpoint);
  bool moved = false;
  for (const auto& [name, value] : start) {
    const double factor = absl::StartsWith(name, "features.11.") ? 0.25 : 1;
    EXPECT_TRUE(at::allclose(decayed.at(name) - value, factor * (even.at(name) - value), 1e-2, 2e-7)) << name;
    moved |= factor < 1 && (even.at(name) - value).abs().max().item<double>() > 1e-5;
  }
  EXPECT_TRUE(moved);
}

TEST(TrainFeaturesTest, WeightDecayLeavesNormsAndBiasesAlone) {
  const Dataset data = ColourDataset(2, 4, 2);
  TrainOptions options = OptionsFor({WholeSplit(TunePhase(1))});
  Phase& phase = options.phases[0];
  phase.head_learning_rate = phase.backbone_learning_rate = 0.1;
  const Tensors start = FirstWeights(options), free = WeightsOf(MustTrain(options, data).checkpoint);
  phase.weight_decay = 0.5;
  const Tensors decayed = WeightsOf(MustTrain(options, data).checkpoint);
  for (const auto& [name, value] : start) {
    const double decay = name == "features.12.0.weight" || name == "head.weight" ? 0.1 * 0.5 : 0;
    EXPECT_TRUE(at::allclose(decayed.at(name), free.at(name) - decay * value, 1e-5, 1e-7)) << name;
  }
}

TEST(PredictLogitsTest, WeightsThatOverflowedAreInvalidArgument) {
  const TrainOptions options = OptionsFor({HeadPhase(1)});
  Tensors weights = FirstWeights(options);
  weights.at("head.weight").fill_(std::numeric_limits<float>::infinity());
  const absl::Status status = LogitsBy(weights, options, ColourDataset(2, 1, 1)).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "the weights overflowed")) << status;
}

struct RandomCase {
  std::string name;
  std::function<void(TrainOptions*)> change;
};

void PrintTo(const RandomCase& c, std::ostream* out) { *out << c.name; }

class TrainRandomTest : public testing::TestWithParam<RandomCase> {};

TEST_P(TrainRandomTest, RepeatsExactlyAndDoesSomething) {
  const Dataset data = ColourDataset(2, 5, 2);
  TrainOptions options = OptionsFor({TunePhase(2)});
  const TrainResult plain = MustTrain(options, data);
  GetParam().change(&options);
  const TrainResult first = MustTrain(options, data);
  EXPECT_TRUE(first.checkpoint == MustTrain(options, data).checkpoint);
  EXPECT_GT(LargestDifference(WeightsOf(plain.checkpoint), WeightsOf(first.checkpoint)), 1e-5);
  options.activation_cache_bytes = 0;
  EXPECT_TRUE(first.checkpoint == MustTrain(options, data).checkpoint) << "without a cache";
  options.seed += 1;
  EXPECT_FALSE(first.checkpoint == MustTrain(options, data).checkpoint);
}

INSTANTIATE_TEST_SUITE_P(
    All, TrainRandomTest,
    testing::Values(RandomCase{"dropout", [](TrainOptions* o) { o->head.dropout = 0.5; }},
                    RandomCase{"mixup", [](TrainOptions* o) { o->phases[0].mix.mixup_alpha = 1; }},
                    RandomCase{"cutmix", [](TrainOptions* o) { o->phases[0].mix.cutmix_alpha = 1; }},
                    RandomCase{"kept_views",
                               [](TrainOptions* o) {
                                 o->phases[0].augment = *AugmentPreset("crop-flip");
                                 o->phases[0].augmented_views = 2;
                               }},
                    RandomCase{"new_views", [](TrainOptions* o) { o->phases[0].augment = *AugmentPreset("keras"); }}),
    [](const auto& info) { return info.param.name; });

// Shards share the batch's plan: the number of threads changes rounding only.
TEST(TrainFeaturesTest, RandomOptionsDoNotDependOnTheNumberOfThreads) {
  const Dataset data = ColourDataset(2, 6, 2);
  TrainOptions options = OptionsFor({TunePhase(2)});
  options.head.dropout = 0.5;
  options.phases[0].mix = {0.5, 1.0};
  options.phases[0].augment = *AugmentPreset("crop-flip");
  const Tensors one = WeightsOf(MustTrain(options, data, 1).checkpoint);
  for (const int threads : {2, 3}) {
    EXPECT_LT(LargestDifference(one, WeightsOf(MustTrain(options, data, threads).checkpoint)), 1e-5) << threads;
  }
}

}  // namespace
}  // namespace graft

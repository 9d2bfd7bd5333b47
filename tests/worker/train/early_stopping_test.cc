// Early stopping, with min_delta so large that nothing after the first epoch counts as better: what is best, and when
// it stops, is then known beforehand.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <limits>
#include <set>
#include <string>
#include <vector>

#include "tests/worker/train/trainer_fixture.h"
#include "worker/train/train_data.h"

namespace graft {
namespace {

using testing::ElementsAre;

constexpr double kNeverBetter = 1e9;

TrainOptions StoppingOptions(std::vector<Phase> phases, int patience, double min_delta) {
  for (Phase& phase : phases) phase.schedule.kind = ScheduleKind::kConstant;
  TrainOptions options = OptionsFor(std::move(phases));
  options.early_stopping = {patience, StopMetric::kLoss, min_delta, 0.25};
  return options;
}

std::vector<bool> BestFlags(const RecordingObserver& observer) {
  std::vector<bool> flags;
  for (const EpochMetrics& epoch : observer.epochs) flags.push_back(epoch.best);
  return flags;
}

// The training pictures that Train() holds out.
std::set<std::string> HeldOutIds(const TrainOptions& options, const Dataset& data) {
  TrainData::Options o;
  o.backbone = options.backbone;
  o.preprocessing = options.preprocessing;
  o.phases = options.phases;
  o.seed = options.seed;
  o.holdout = options.early_stopping.holdout;
  const TrainData pictures(o, data);
  std::set<std::string> ids;
  for (const Example& example : pictures.held_out()) ids.insert(example.id);
  return ids;
}

TEST(EarlyStoppingTest, StopsAfterThePatienceAndGoesBackToTheBest) {
  const TrainOptions options = StoppingOptions({HeadPhase(20)}, 2, kNeverBetter);
  RecordingObserver observer;
  const auto result = TrainOn(options, ColourDataset(2, 8, 3), &observer);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(BestFlags(observer), ElementsAre(true, false, false));
  const Tensors kept = WeightsOf(result->checkpoint), last = WeightsOf(result->last_checkpoint);
  ASSERT_GE(observer.states.size(), 3u);
  EXPECT_EQ(LargestDifference(kept, ParsedState(observer.states[0]).weights), 0);
  EXPECT_EQ(LargestDifference(last, ParsedState(observer.states[2]).weights), 0);
  EXPECT_GT(LargestDifference(kept, last), 1e-4);
  EXPECT_EQ(result->assessment.evaluation.accuracy, observer.epochs[0].val_accuracy);
  EXPECT_EQ(result->assessment.last_accuracy, observer.epochs[2].val_accuracy);
  EXPECT_EQ(result->last_assessment.evaluation.accuracy, observer.epochs[2].val_accuracy);
  EXPECT_EQ(ParseCheckpoint(result->last_checkpoint)->temperature, result->last_assessment.calibration.temperature);
  EXPECT_EQ(ParseCheckpoint(result->checkpoint)->temperature, result->assessment.calibration.temperature);
}

TEST(EarlyStoppingTest, GoesOnWhileTheLossFalls) {
  const TrainOptions options = StoppingOptions({HeadPhase(4)}, 1, 0);
  RecordingObserver observer;
  ASSERT_TRUE(TrainOn(options, ColourDataset(2, 8, 3), &observer).ok());
  ASSERT_EQ(observer.epochs.size(), 4u);
  double best = std::numeric_limits<double>::infinity();
  for (const EpochMetrics& epoch : observer.epochs) {
    ASSERT_TRUE(epoch.held_out_loss.has_value() && epoch.held_out_accuracy.has_value());
    EXPECT_EQ(epoch.best, *epoch.held_out_loss < best);
    best = std::min(best, *epoch.held_out_loss);
  }
}

TEST(EarlyStoppingTest, AccuracyThatCannotRiseAnyMoreStops) {
  TrainOptions options = StoppingOptions({HeadPhase(40)}, 3, 0);
  options.early_stopping.metric = StopMetric::kAccuracy;
  RecordingObserver observer;
  const auto result = TrainOn(options, ColourDataset(2, 8, 3), &observer);
  ASSERT_TRUE(result.ok()) << result.status();
  size_t first_perfect = 0;
  while (first_perfect < observer.epochs.size() && *observer.epochs[first_perfect].held_out_accuracy < 1) {
    ++first_perfect;
  }
  EXPECT_EQ(observer.epochs.size(), first_perfect + 1 + 3);
  EXPECT_TRUE(observer.epochs[first_perfect].best);
}

TEST(EarlyStoppingTest, GoesBackToTheBestMacroF1) {
  TrainOptions options = StoppingOptions({HeadPhase(40)}, 3, 0);
  options.early_stopping.metric = StopMetric::kMacroF1;
  RecordingObserver observer;
  const auto result = TrainOn(options, ColourDataset(2, 8, 3), &observer);
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_LT(observer.epochs.size(), 40u) << "it cannot rise above 1";
  size_t best_epoch = 0;
  double best = -1;
  for (const EpochMetrics& epoch : observer.epochs) {
    ASSERT_TRUE(epoch.held_out_macro_f1.has_value());
    EXPECT_EQ(epoch.best, *epoch.held_out_macro_f1 > best);
    EXPECT_EQ(*epoch.held_out_macro_f1 == 1, *epoch.held_out_accuracy == 1);
    best = std::max(best, *epoch.held_out_macro_f1);
    if (epoch.best) best_epoch = &epoch - observer.epochs.data();
  }
  ASSERT_EQ(observer.states.size(), observer.epochs.size());
  EXPECT_EQ(LargestDifference(WeightsOf(result->checkpoint), ParsedState(observer.states[best_epoch]).weights), 0);
}

TEST(EarlyStoppingTest, TheNextPhaseStartsFromTheBest) {
  const Dataset data = ColourDataset(2, 8, 2);
  const TrainResult stopped = MustTrain(StoppingOptions({HeadPhase(6), TunePhase(1)}, 2, kNeverBetter), data);
  const TrainResult one_epoch = MustTrain(StoppingOptions({HeadPhase(1), TunePhase(1)}, 2, kNeverBetter), data);
  EXPECT_TRUE(stopped.checkpoint == one_epoch.checkpoint);
}

TEST(EarlyStoppingTest, BestIsOfTheAveragesWhenThereAreSome) {
  TrainOptions options = StoppingOptions({HeadPhase(5)}, 1, kNeverBetter);
  options.phases[0].ema_decay = 0.5;
  RecordingObserver observer;
  const auto result = TrainOn(options, ColourDataset(2, 8, 2), &observer);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(LargestDifference(WeightsOf(result->checkpoint), ParsedState(observer.states[0]).averages), 0);
}

TEST(EarlyStoppingTest, HeldOutPicturesAreNotTrainedOn) {
  const Dataset data = ColourDataset(2, 8, 2);
  const TrainOptions options = StoppingOptions({TunePhase(2)}, 5, 0);
  const std::set<std::string> held_out = HeldOutIds(options, data);
  ASSERT_EQ(held_out.size(), 4u) << "a quarter";
  Dataset swapped = data;  // held-out red pictures look green, and green ones red
  swapped.read = [&data, held_out](const std::string& id) {
    if (held_out.count(id) == 0) return data.read(id);
    std::string other = id;
    other[6] = id[6] == '0' ? '1' : '0';  // train-LABEL-I
    return data.read(other);
  };
  RecordingObserver observer, observer_swapped;
  ASSERT_TRUE(TrainOn(options, data, &observer).ok());
  ASSERT_TRUE(TrainOn(options, swapped, &observer_swapped).ok());
  for (size_t i = 0; i < 2; ++i) {
    const EpochMetrics &a = observer.epochs[i], &b = observer_swapped.epochs[i];
    EXPECT_EQ(a.train_loss, b.train_loss);
    EXPECT_EQ(a.val_loss, b.val_loss);
    EXPECT_NE(*a.held_out_loss, *b.held_out_loss);
  }
}

TEST(EarlyStoppingTest, ValidationIsNotUsedForTheChoice) {
  const Dataset data = ColourDataset(2, 8, 3);
  Dataset mislabelled = data;
  for (Example& example : mislabelled.validation) example.label = 1 - example.label;
  const TrainOptions options = StoppingOptions({HeadPhase(12)}, 1, 0.02);
  RecordingObserver observer, observer_mislabelled;
  const auto want = TrainOn(options, data, &observer), got = TrainOn(options, mislabelled, &observer_mislabelled);
  ASSERT_TRUE(want.ok() && got.ok());
  EXPECT_LT(observer.epochs.size(), 12u) << "it stopped early";
  EXPECT_EQ(BestFlags(observer), BestFlags(observer_mislabelled));
  EXPECT_EQ(LargestDifference(WeightsOf(want->checkpoint), WeightsOf(got->checkpoint)), 0);
  EXPECT_NE(observer.epochs[0].val_loss, observer_mislabelled.epochs[0].val_loss);
}

TEST(EarlyStoppingTest, WithoutItNothingIsHeldOut) {
  RecordingObserver observer;
  const auto result = TrainOn(OptionsFor({HeadPhase(2)}), ColourDataset(2, 4, 2), &observer);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->last_checkpoint.empty());
  EXPECT_EQ(result->assessment.last_accuracy, result->assessment.evaluation.accuracy);
  for (const EpochMetrics& epoch : observer.epochs) {
    EXPECT_FALSE(epoch.held_out_loss.has_value());
    EXPECT_FALSE(epoch.held_out_macro_f1.has_value());
    EXPECT_FALSE(epoch.best);
  }
}

TEST(EarlyStoppingTest, WhenTheLastEpochIsTheBestThereIsNoOtherCheckpoint) {
  const TrainOptions options = StoppingOptions({HeadPhase(1)}, 2, 0);
  EXPECT_TRUE(MustTrain(options, ColourDataset(2, 8, 2)).last_checkpoint.empty());
}

}  // namespace
}  // namespace graft

// The learning rate finder within a training.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "tests/worker/train/trainer_fixture.h"
#include "worker/model/checkpoint.h"
#include "worker/train/train_state.h"

namespace graft {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

TrainOptions WithFinder(TrainOptions options, bool apply) {
  for (Phase& phase : options.phases) phase.rate_finder = {20, apply};
  return options;
}

void ExpectEqualEpochs(const RecordingObserver& got, const RecordingObserver& want) {
  ASSERT_EQ(got.epochs.size(), want.epochs.size());
  for (size_t i = 0; i < want.epochs.size(); ++i) {
    EXPECT_EQ(got.epochs[i].train_loss, want.epochs[i].train_loss) << i;
    EXPECT_EQ(got.epochs[i].val_loss, want.epochs[i].val_loss) << i;
    EXPECT_EQ(got.epochs[i].learning_rate, want.epochs[i].learning_rate) << i;
  }
}

// A training that only reports rates is the one without, bit for bit.
void ExpectUntouched(const TrainOptions& options, const Dataset& data) {
  RecordingObserver without, with;
  const auto want = TrainOn(options, data, &without), got = TrainOn(WithFinder(options, false), data, &with);
  ASSERT_TRUE(want.ok() && got.ok()) << want.status() << got.status();
  EXPECT_THAT(without.rates, IsEmpty());
  ASSERT_EQ(with.rates.size(), options.phases.size());
  for (size_t i = 0; i < with.rates.size(); ++i) {
    EXPECT_EQ(with.rates[i].phase, options.phases[i].name);
    EXPECT_FALSE(with.rates[i].applied);
    EXPECT_THAT(with.rates[i].points, Not(IsEmpty()));
  }
  EXPECT_TRUE(got->checkpoint == want->checkpoint);
  EXPECT_TRUE(got->last_checkpoint == want->last_checkpoint);
  ExpectEqualEpochs(with, without);
}

TEST(TrainFinderTest, LeavesWeightsStatisticsAndRandomChoicesAlone) {
  ExpectUntouched(EverythingOptions(), ColourDataset(2, 7, 1));
}

TEST(TrainFinderTest, LeavesAStandardizingHeadAlone) {
  TrainOptions options = OptionsFor({HeadPhase(2), TunePhase(1)});
  options.head.standardize = true;
  ExpectUntouched(options, ColourDataset(2, 5, 1));
}

TEST(TrainFinderTest, LeavesTrainedBatchNormsAlone) {
  ExpectUntouched(ScratchOptions(1), ColourDataset(2, 5, 1));
}

TEST(TrainFinderTest, LeavesBfloat16WithACacheThatIsTooSmallAlone) {
  TrainOptions options = EverythingOptions();
  options.precision = Precision::kBfloat16;
  options.activation_cache_bytes = 9 * 576 * 4;
  ExpectUntouched(options, ColourDataset(2, 6, 1));
}

TEST(TrainFinderTest, AppliedIsTheTrainingAtThatRate) {
  const Dataset data = ColourDataset(2, 6, 2);
  const TrainOptions options = OptionsFor({HeadPhase(2), TunePhase(2)});
  RecordingObserver found;
  const auto applied = TrainOn(WithFinder(options, true), data, &found);
  ASSERT_TRUE(applied.ok()) << applied.status();
  ASSERT_THAT(found.rates, SizeIs(2));
  TrainOptions chosen = options;
  for (size_t i = 0; i < 2; ++i) {
    ASSERT_TRUE(found.rates[i].suggestion.has_value()) << i;
    EXPECT_TRUE(found.rates[i].applied);
    chosen.phases[i] = WithLearningRate(options.phases[i], *found.rates[i].suggestion);
    EXPECT_NE(chosen.phases[i].head_learning_rate, options.phases[i].head_learning_rate);
  }
  RecordingObserver at_that_rate;
  const auto want = TrainOn(chosen, data, &at_that_rate);
  ASSERT_TRUE(want.ok()) << want.status();
  EXPECT_EQ(LargestDifference(WeightsOf(applied->checkpoint), WeightsOf(want->checkpoint)), 0);
  ExpectEqualEpochs(found, at_that_rate);
}

TEST(TrainFinderTest, OfAnyNumberOfClassesTheLossIsTheMeanOverThem) {
  RecordingObserver observer;
  ASSERT_TRUE(TrainOn(WithFinder(OptionsFor({HeadPhase(1)}), false), LightsDataset(2, 1), &observer).ok());
  ASSERT_THAT(observer.rates, SizeIs(1));
  EXPECT_NEAR(observer.rates[0].points[0].loss, std::log(2.0), 0.2) << "as the epochs'";
}

TEST(TrainFinderTest, WithoutASuggestionThePhaseKeepsItsRate) {
  Dataset data = ColourDataset(2, 6, 1);
  const std::string picture = *data.read(data.train[0].id);
  data.read = [picture](const std::string&) { return picture; };  // all are alike: there is nothing to learn
  const TrainOptions options = OptionsFor({HeadPhase(2)});
  RecordingObserver observer;
  const auto result = TrainOn(WithFinder(options, true), data, &observer);
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_THAT(observer.rates, SizeIs(1));
  EXPECT_FALSE(observer.rates[0].suggestion.has_value());
  EXPECT_FALSE(observer.rates[0].applied);
  EXPECT_TRUE(MustTrain(options, data).checkpoint == result->checkpoint);
}

TEST(TrainFinderTest, ARateThatWouldRuinTheTrainingDoesNotFailTheJob) {
  TrainOptions options = OptionsFor({TunePhase(1)});
  options.phases[0].rate_finder = {50, false};
  options.phases[0].weight_decay = 1;  // throws the weights to the other side, and further, at rates above 2
  RecordingObserver observer;
  const auto result = TrainOn(options, ColourDataset(2, 6, 1), &observer);
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_THAT(observer.rates, SizeIs(1));
  EXPECT_LT(observer.rates[0].points.size(), 50u);
}

TEST(TrainFinderTest, ComesAfterItsPhaseWasAnnouncedAndTellsItsProgress) {
  RecordingObserver observer;
  std::vector<size_t> phases, epochs;
  observer.on_rate = [&] {
    phases.push_back(observer.phases.size());
    epochs.push_back(observer.epochs.size());
    return absl::OkStatus();
  };
  const TrainOptions options = WithFinder(OptionsFor({HeadPhase(2), TunePhase(1)}), false);
  ASSERT_TRUE(TrainOn(options, ColourDataset(2, 4, 1), &observer).ok());
  EXPECT_THAT(phases, ElementsAre(1, 2));
  EXPECT_THAT(epochs, ElementsAre(0, 2));
  EXPECT_THAT(observer.progress, testing::Contains(testing::Field(&Progress::activity, "learning rate finder")));
}

TEST(TrainFinderTest, AnErrorOfTheObserverEndsTheTraining) {
  RecordingObserver observer;
  observer.on_rate = [] { return absl::AbortedError("seen"); };
  const auto result = TrainOn(WithFinder(OptionsFor({HeadPhase(2)}), false), ColourDataset(2, 4, 1), &observer);
  EXPECT_EQ(result.status(), absl::AbortedError("seen"));
  EXPECT_THAT(observer.epochs, IsEmpty());
}

TEST(TrainFinderTest, AStateOfThePhaseNeedsNoSecondTest) {
  const Dataset data = ColourDataset(2, 6, 2);
  TrainOptions options = WithFinder(OptionsFor({HeadPhase(2), TunePhase(2)}), true);
  options.state_seconds = 1e-9;
  RecordingObserver unbroken;
  const auto whole = TrainOn(options, data, &unbroken);
  ASSERT_TRUE(whole.ok()) << whole.status();
  const auto checkpoint = ParseCheckpoint(whole->checkpoint);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  std::map<std::string, double> found;
  for (const LearningRateFound& rate : unbroken.rates) {
    if (rate.applied) found[rate.phase] = *rate.suggestion;
  }
  EXPECT_EQ(checkpoint->found_rates, found) << "the record";
  EXPECT_THAT(found, Not(IsEmpty()));
  for (size_t i = 0; i < unbroken.states.size(); ++i) {
    const TrainState state = ParsedState(unbroken.states[i]);
    EXPECT_TRUE(state.rate_tested);
    EXPECT_EQ(state.found_rate, unbroken.rates[state.phase].suggestion.value_or(0));
    options.resume_state = unbroken.states[i];
    RecordingObserver resumed;
    const auto result = TrainOn(options, data, &resumed);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_TRUE(result->checkpoint == whole->checkpoint);
    EXPECT_EQ(resumed.rates.size(), 1u - state.phase) << "that of a phase to come";
    ASSERT_EQ(resumed.phases.size(), 2u - state.phase);
    for (const PhaseStarted& phase : resumed.phases) {
      EXPECT_EQ(phase.index, unbroken.phases[phase.index].index);
      EXPECT_EQ(phase.phase->head_learning_rate, options.phases[phase.index].head_learning_rate) << "as asked for";
    }
  }
  EXPECT_EQ(unbroken.points[0].epoch, 0) << "the first right after the test";
  EXPECT_EQ(unbroken.points[0].images, 0);
}

TEST(TrainFinderTest, AStateThatDoesNotFitTheFinderIsFailedPrecondition) {
  const Dataset data = ColourDataset(2, 4, 1);
  const auto expect_refused = [&](TrainOptions options, bool tested, double rate) {
    options.resume_state.clear();
    RecordingObserver first;
    ASSERT_TRUE(TrainOn(options, data, &first).ok());
    TrainState state = ParsedState(first.states[0]);
    state.rate_tested = tested;
    state.found_rate = rate;
    options.resume_state = SerializeTrainState(state);
    RecordingObserver observer;
    EXPECT_EQ(TrainOn(options, data, &observer).status().code(), absl::StatusCode::kFailedPrecondition);
  };
  const TrainOptions options = OptionsFor({HeadPhase(2)});
  expect_refused(options, true, 0);
  expect_refused(WithFinder(options, true), false, 0);
  expect_refused(WithFinder(options, false), true, 0.1);
}

TEST(TrainFinderTest, AStateWithoutTheFinderIsOfAnotherJob) {
  const Dataset data = ColourDataset(2, 4, 1);
  TrainOptions options = OptionsFor({HeadPhase(2)});
  RecordingObserver observer;
  ASSERT_TRUE(TrainOn(options, data, &observer).ok());
  options = WithFinder(options, false);
  options.resume_state = observer.states[0];
  EXPECT_EQ(TrainOn(options, data, &observer).status().code(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace graft

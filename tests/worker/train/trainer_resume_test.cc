// Repeating and resuming: bit for bit.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/worker/train/trainer_fixture.h"
#include "worker/train/train_state.h"

namespace graft {
namespace {

// Resumes from every state that the unbroken run left, and wants its checkpoint.
void ExpectEachResumeEndsAlike(TrainOptions options) {
  const Dataset data = ColourDataset(2, 5, 2);
  RecordingObserver unbroken;
  const auto want = TrainOn(options, data, &unbroken);
  ASSERT_TRUE(want.ok()) << want.status();
  size_t epochs = 0;
  for (const Phase& phase : options.phases) epochs += phase.epochs;
  ASSERT_EQ(unbroken.states.size(), epochs);
  for (size_t i = 0; i < epochs; ++i) {
    options.resume_state = unbroken.states[i];
    RecordingObserver observer;
    const auto resumed = TrainOn(options, data, &observer);
    ASSERT_TRUE(resumed.ok()) << resumed.status();
    EXPECT_EQ(observer.epochs.size(), epochs - 1 - i);
    EXPECT_TRUE(resumed->checkpoint == want->checkpoint) << "resumed after epoch " << i + 1 << " of " << epochs;
    EXPECT_EQ(resumed->evaluation.loss, want->evaluation.loss);
  }
}

TEST(TrainResumeTest, FrozenHead) { ExpectEachResumeEndsAlike(OptionsFor({HeadPhase(3)})); }

TEST(TrainResumeTest, FineTune) { ExpectEachResumeEndsAlike(OptionsFor({HeadPhase(2), TunePhase(2)})); }

TEST(TrainResumeTest, TrainedBatchNorms) {
  Phase tune = TunePhase(2);
  tune.batch_norm = BatchNormPolicy::kTrainUnfrozen;
  ExpectEachResumeEndsAlike(OptionsFor({HeadPhase(1), tune}));
}

// Five pictures a class, batches of three: the last of an epoch would be one picture.
TEST(TrainResumeTest, FromScratch) {
  TrainOptions options = ScratchOptions(2);
  options.phases[0].batch_size = 3;
  ExpectEachResumeEndsAlike(options);
}

TEST(TrainResumeTest, WithACacheThatIsTooSmall) {
  TrainOptions options = OptionsFor({HeadPhase(3)});
  options.activation_cache_bytes = 5 * 576 * 4;
  ExpectEachResumeEndsAlike(options);
}

TEST(TrainResumeTest, TheSameSeedGivesTheSameBytes) {
  const Dataset data = ColourDataset(2, 4, 2);
  RecordingObserver observer;
  TrainOptions options = OptionsFor({HeadPhase(1), TunePhase(1)});
  const auto first = TrainOn(options, data, &observer), second = TrainOn(options, data, &observer);
  options.seed = 4;
  const auto other = TrainOn(options, data, &observer);
  ASSERT_TRUE(first.ok() && second.ok() && other.ok());
  EXPECT_TRUE(first->checkpoint == second->checkpoint);
  EXPECT_FALSE(first->checkpoint == other->checkpoint);
}

TEST(TrainResumeTest, AnotherJobsStateIsFailedPrecondition) {
  const Dataset data = ColourDataset(2, 3, 2);
  const TrainOptions options = OptionsFor({HeadPhase(2)});
  RecordingObserver observer;
  ASSERT_TRUE(TrainOn(options, data, &observer).ok());
  const auto expect_refused = [&](TrainOptions changed, const Dataset& changed_data, int threads) {
    changed.resume_state = observer.states[0];
    RecordingObserver unused;
    EXPECT_EQ(TrainOn(changed, changed_data, &unused, threads).status().code(), absl::StatusCode::kFailedPrecondition);
  };
  TrainOptions changed = options;
  changed.seed = 99;
  expect_refused(changed, data, 2);
  changed = options;
  changed.phases[0].head_learning_rate *= 2;
  expect_refused(changed, data, 2);
  changed = options;
  changed.backbone = TinyBackbone(2);
  expect_refused(changed, data, 2);
  changed = options;
  changed.preprocessing.resize_px += 1;
  expect_refused(changed, data, 2);
  expect_refused(options, data, 1);
  Dataset relabelled = data;
  relabelled.train[0].label = 1;
  expect_refused(options, relabelled, 2);
}

TEST(TrainResumeTest, ADamagedStateIsFailedPrecondition) {
  const Dataset data = ColourDataset(2, 3, 2);
  TrainOptions options = OptionsFor({HeadPhase(2)});
  RecordingObserver observer;
  ASSERT_TRUE(TrainOn(options, data, &observer).ok());
  options.resume_state = "garbage";
  EXPECT_EQ(TrainOn(options, data, &observer).status().code(), absl::StatusCode::kFailedPrecondition);
  TrainState state = *ParseTrainState(observer.states[0]);
  state.phase = 1;
  options.resume_state = SerializeTrainState(state);
  EXPECT_EQ(TrainOn(options, data, &observer).status().code(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace graft

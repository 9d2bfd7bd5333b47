// Repeating and resuming: bit for bit.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
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
    EXPECT_EQ(resumed->assessment.evaluation.loss, want->assessment.evaluation.loss);
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

// Resumes from at most `most` of the states that a run leaves after each of its steps, and wants its result.
void ExpectEachStepResumesAlike(TrainOptions options, const Dataset& data, size_t most) {
  options.state_seconds = 1e-9;
  RecordingObserver unbroken;
  const auto want = TrainOn(options, data, &unbroken);
  ASSERT_TRUE(want.ok()) << want.status();
  ASSERT_GT(unbroken.states.size(), unbroken.epochs.size()) << "some within an epoch";
  const size_t stride = (unbroken.states.size() + most - 1) / most;
  for (size_t i = 0; i < unbroken.states.size(); i += stride) {
    options.resume_state = unbroken.states[i];
    RecordingObserver observer;
    const auto resumed = TrainOn(options, data, &observer);
    ASSERT_TRUE(resumed.ok()) << resumed.status();
    const StatePoint& point = unbroken.points[i];
    const std::string where = absl::StrCat(point.phase, ", epoch ", point.epoch, ", image ", point.images);
    EXPECT_TRUE(resumed->checkpoint == want->checkpoint) << where;
    EXPECT_TRUE(resumed->last_checkpoint == want->last_checkpoint) << where;
    EXPECT_EQ(resumed->assessment.last_accuracy, want->assessment.last_accuracy) << where;
    for (size_t k = 1; k <= observer.epochs.size(); ++k) {
      const EpochMetrics &got = observer.epochs[observer.epochs.size() - k],
                         &first = unbroken.epochs[unbroken.epochs.size() - k];
      EXPECT_EQ(got.train_loss, first.train_loss) << where;
      EXPECT_EQ(got.train_accuracy, first.train_accuracy) << where;
      EXPECT_EQ(got.held_out_loss, first.held_out_loss) << where;
      EXPECT_EQ(got.best, first.best) << where;
      EXPECT_EQ(got.learning_rate, first.learning_rate) << where;
    }
  }
}

TEST(TrainResumeTest, EverythingFromWithinAnEpoch) {
  Dataset data = ColourDataset(2, 7, 1);
  data.train.erase(data.train.begin() + 3);  // classes differ in size
  ExpectEachStepResumesAlike(EverythingOptions(), data, 15);
}

TEST(TrainResumeTest, EverythingInBfloat16WithACacheThatIsTooSmall) {
  TrainOptions options = EverythingOptions();
  options.precision = Precision::kBfloat16;
  options.activation_cache_bytes = 9 * 576 * 4;
  ExpectEachStepResumesAlike(options, ColourDataset(2, 6, 1), 4);
}

// A store that a run filled gives its resumed ones what it computed.
TEST(TrainResumeTest, WithAStoreOfRows) {
  const std::string directory = testing::TempDir() + "/trainer_resume_store";
  std::filesystem::remove_all(directory);
  {
    const auto store = ActivationStore::Open({directory});
    ASSERT_TRUE(store.ok()) << store.status();
    const Dataset data = ColourDataset(2, 6, 1);
    TrainOptions options = EverythingOptions();
    const TrainResult without = MustTrain(options, data);
    options.activation_store = store->get();
    EXPECT_TRUE(MustTrain(options, data).checkpoint == without.checkpoint);
    EXPECT_GT((*store)->stats().misses, 0);
    ExpectEachStepResumesAlike(options, data, 3);
    EXPECT_GT((*store)->stats().hits, 0);
  }
  std::filesystem::remove_all(directory);
}

TEST(TrainResumeTest, WithRatesThatWereFound) {
  TrainOptions options = EverythingOptions();
  for (Phase& phase : options.phases) phase.rate_finder = {20, true};
  ExpectEachStepResumesAlike(options, ColourDataset(2, 6, 1), 5);
}

TEST(TrainResumeTest, Lbfgs) {
  Phase phase = HeadPhase(5);
  phase.optimizer.kind = OptimizerKind::kLbfgs;
  phase.optimizer.history = 3;
  phase.head_learning_rate = 1;
  phase.weight_decay = 1e-4;
  phase.schedule.kind = ScheduleKind::kConstant;
  ExpectEachResumeEndsAlike(OptionsFor({phase}));
}

TEST(TrainResumeTest, RmsProp) {
  Phase phase = TunePhase(2);
  phase.optimizer.kind = OptimizerKind::kRmsProp;
  phase.backbone_learning_rate = phase.head_learning_rate = 1e-4;
  ExpectEachStepResumesAlike(OptionsFor({phase}), ColourDataset(2, 5, 1), 6);
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
  changed.head.dropout = 0.25;
  expect_refused(changed, data, 2);
  changed = options;
  changed.early_stopping.patience = 3;
  changed.early_stopping.holdout = 0.25;
  expect_refused(changed, data, 2);
  changed = options;
  changed.class_balance = ClassBalance::kWeights;
  expect_refused(changed, data, 2);
  changed = options;
  changed.precision = Precision::kBfloat16;
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
  const auto expect_refused = [&](const std::string& state, const std::string& message) {
    options.resume_state = state;
    RecordingObserver unused;
    const absl::Status status = TrainOn(options, data, &unused).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr(message));
  };
  expect_refused("garbage", "resume_state: ");
  const TrainState sound = ParsedState(observer.states[0]);
  TrainState state = sound;
  state.phase = 1;
  expect_refused(SerializeTrainState(state), "resume_state: phase or epoch out of range");
  state = sound;
  state.epoch = 3;
  expect_refused(SerializeTrainState(state), "resume_state: phase or epoch out of range");
  state = sound;
  ASSERT_EQ(state.weights.erase("head.weight"), 1u);
  expect_refused(SerializeTrainState(state), "resume_state: 1 weights are missing");
  state = sound;
  state.weights["head.weight"] = at::zeros({1});
  expect_refused(SerializeTrainState(state), "resume_state: head.weight: stored with another shape");
  state = sound;
  state.optimizer["of.nothing"] = at::zeros({1});
  expect_refused(SerializeTrainState(state), "resume_state: of.nothing: unknown name");
}

}  // namespace
}  // namespace graft

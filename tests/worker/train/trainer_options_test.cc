// What Train() refuses before it computes anything.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "tests/support/script_file.h"
#include "tests/worker/train/trainer_fixture.h"

namespace graft {
namespace {

void ExpectInvalid(const TrainOptions& options, const Dataset& data, const std::string& message) {
  RecordingObserver observer;
  const absl::Status status = TrainOn(options, data, &observer).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr(message));
  EXPECT_TRUE(observer.progress.empty());
}

void ExpectInvalidPhase(const std::string& message, const std::function<void(Phase*)>& change) {
  TrainOptions options = OptionsFor({TunePhase(1)});
  change(&options.phases[0]);
  ExpectInvalid(options, ColourDataset(2, 1, 1), message);
}

TEST(TrainOptionsTest, NoPhases) { ExpectInvalid(OptionsFor({}), ColourDataset(2, 1, 1), "phases: got none"); }

TEST(TrainOptionsTest, SplitPointOutOfRange) {
  ExpectInvalidPhase("phases[0].split_point: got -1, want 0 to 14", [](Phase* p) { p->split_point = -1; });
  ExpectInvalidPhase("phases[0].split_point: got 15, want 0 to 14", [](Phase* p) { p->split_point = 15; });
}

// Two published scripts trained nothing in their fine-tuning stage: a wrong layer index froze the whole network.
TEST(TrainOptionsTest, UnfreezingOnlyThePoolingIsRefused) {
  ExpectInvalidPhase("nothing of the backbone would be trained", [](Phase* p) { p->split_point = 13; });
}

TEST(TrainOptionsTest, FineTuningNeedsALearningRate) {
  ExpectInvalidPhase("phases[0].backbone_learning_rate: got 0, want > 0",
                     [](Phase* p) { p->backbone_learning_rate = 0; });
  ExpectInvalidPhase("phases[0].head_learning_rate: got -1, want > 0", [](Phase* p) { p->head_learning_rate = -1; });
}

TEST(TrainOptionsTest, ALearningRateFinderHasItsRangeAndNeedsAFirstOrderOptimizer) {
  ExpectInvalidPhase("phases[0].rate_finder.steps: got 7, want 0 or 20 to 1000",
                     [](Phase* p) { p->rate_finder.steps = 7; });
  ExpectInvalidPhase("phases[0].rate_finder.steps: got 20, want 0 with L-BFGS", [](Phase* p) {
    p->rate_finder.steps = 20;
    p->optimizer.kind = OptimizerKind::kLbfgs;
  });
}

TEST(TrainOptionsTest, LabelSmoothingIsAShareAndNotOfTheHinge) {
  ExpectInvalidPhase("phases[0].label_smoothing: got 1, want 0 <= label_smoothing < 1",
                     [](Phase* p) { p->label_smoothing = 1; });
  ExpectInvalidPhase("phases[0].label_smoothing: got -0.1, want 0 <= label_smoothing < 1",
                     [](Phase* p) { p->label_smoothing = -0.1; });
  TrainOptions options = OptionsFor({HeadPhase(1)});
  options.phases[0].label_smoothing = 0.1;
  options.head.type = HeadType::kLinearSvm;
  ExpectInvalid(options, ColourDataset(2, 1, 1), "phases[0].label_smoothing: got 0.1, want 0 with the linear-svm head");
}

TEST(TrainOptionsTest, EpochsAndBatchSizeArePositive) {
  ExpectInvalidPhase("phases[0].epochs, batch_size and accumulate_batches", [](Phase* p) { p->epochs = 0; });
  ExpectInvalidPhase("phases[0].epochs, batch_size and accumulate_batches", [](Phase* p) { p->batch_size = 0; });
}

TEST(TrainOptionsTest, OptionsOfAPhaseHaveTheirRanges) {
  ExpectInvalidPhase("phases[0].momentum: got 1.5", [](Phase* p) { p->optimizer.momentum = 1.5; });
  ExpectInvalidPhase("phases[0].step_factor: got 2", [](Phase* p) { p->schedule.step_factor = 2; });
  ExpectInvalidPhase("phases[0].mixup_alpha: got -1", [](Phase* p) { p->mix.mixup_alpha = -1; });
  ExpectInvalidPhase("phases[0].shift: got 2", [](Phase* p) { p->augment.shift = 2; });
}

TEST(TrainOptionsTest, OptionsOfTheHeadHaveTheirRanges) {
  TrainOptions options = OptionsFor({HeadPhase(1)});
  options.head.dropout = 1;
  ExpectInvalid(options, ColourDataset(2, 1, 1), "head.dropout: got 1, want 0 <= dropout < 1");
}

TEST(TrainOptionsTest, EarlyStoppingHoldsOutAShare) {
  TrainOptions options = OptionsFor({HeadPhase(1)});
  options.early_stopping.patience = 1;
  for (const int holdout : {0, 1}) {
    options.early_stopping.holdout = holdout;
    ExpectInvalid(options, ColourDataset(2, 4, 1),
                  "early_stopping.holdout: got " + std::to_string(holdout) + ", want 0 < holdout < 1");
  }
}

TEST(TrainOptionsTest, EarlyStoppingNeedsAClassWithAPictureToHoldOut) {
  TrainOptions options = OptionsFor({HeadPhase(1)});
  options.early_stopping = {1, StopMetric::kLoss, 0, 0.5};
  ExpectInvalid(options, ColourDataset(2, 1, 1), "early_stopping: got no class with more than one training picture");
}

TEST(TrainOptionsTest, FoldsAreAtMostTheTrainingPictures) {
  TrainOptions options = OptionsFor({HeadPhase(1)});
  options.folds = 3;
  ExpectInvalid(options, ColourDataset(2, 1, 1), "evaluation.folds: got 3, want at most 2, the training pictures");
}

TEST(TrainOptionsTest, ALaterPhaseMustNotFreezeWhatWasTrained) {
  ExpectInvalid(OptionsFor({TunePhase(1), HeadPhase(1)}), ColourDataset(2, 1, 1),
                "phases[1].split_point: got 14, want at most 12");
}

TEST(TrainOptionsTest, PicturesMustHaveASizeThatTheBackboneComputes) {
  TrainOptions options = OptionsFor({HeadPhase(1)});
  options.preprocessing.crop_px = 8;
  const std::string want = options.backbone->architecture().input.Describe();
  ExpectInvalid(options, ColourDataset(2, 1, 1), "preprocessing.crop_px: got 8, want " + want);
  options.preprocessing.crop_px = 0;
  ExpectInvalid(options, ColourDataset(2, 1, 1), "crop_px: got 0");
}

TEST(TrainOptionsTest, ABackboneThatStaysFrozenCannotBeFineTuned) {
  InstallScript(testing::TempDir(), "trainer_options_test");
  const auto backbone = Backbone::LoadScript(testing::TempDir() + "/trainer_options_test.pt",
                                             R"({"feature_width": 3, "crop_px": 8})", "mean_colour");
  ASSERT_TRUE(backbone.ok()) << backbone.status();
  TrainOptions options = OptionsFor({TunePhase(1)});
  options.backbone = *backbone;
  options.preprocessing = (*backbone)->preprocessing();
  options.phases[0].split_point = 0;
  ExpectInvalid(options, ColourDataset(2, 1, 1), "phases[0].split_point: got 0, want 1: mean_colour stays frozen");
}

TEST(TrainOptionsTest, DataNeedsTwoClassesAndBothSplits) {
  const TrainOptions options = OptionsFor({HeadPhase(1)});
  Dataset data = ColourDataset(2, 1, 1);
  data.class_names.pop_back();
  ExpectInvalid(options, data, "classes: got fewer than two");
  data = ColourDataset(2, 1, 1);
  data.train.clear();
  ExpectInvalid(options, data, "train: got no pictures");
  data = ColourDataset(2, 1, 1);
  data.validation.clear();
  ExpectInvalid(options, data, "validation: got no pictures");
}

TEST(TrainOptionsTest, LabelsAreIndicesOfClasses) {
  for (const int label : {-1, 2}) {
    Dataset data = ColourDataset(2, 1, 1, 1);
    data.test[0].label = label;
    ExpectInvalid(OptionsFor({HeadPhase(1)}), data, "label: got " + std::to_string(label));
  }
}

}  // namespace
}  // namespace graft

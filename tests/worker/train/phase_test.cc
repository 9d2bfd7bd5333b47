#include "worker/train/phase.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "tests/support/script_file.h"
#include "tests/support/tiny_backbone.h"

namespace graft {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

std::string Violations(const StrategyOptions& options) {
  const auto full = WithDefaults(options);
  EXPECT_EQ(full.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(full.status().message());
}

TEST(WithDefaultsTest, FillsZerosAndKeepsTheRest) {
  const auto frozen = WithDefaults({});
  ASSERT_TRUE(frozen.ok());
  EXPECT_EQ(frozen->epochs, 30);
  EXPECT_EQ(frozen->batch_size, 32);
  EXPECT_EQ(frozen->learning_rate, 1e-2);
  EXPECT_EQ(frozen->unfreeze_stages, 0);
  EXPECT_EQ(frozen->head_epochs, 0);
  StrategyOptions options;
  options.strategy = Strategy::kFineTune;
  const auto tuned = WithDefaults(options);
  ASSERT_TRUE(tuned.ok());
  EXPECT_EQ(tuned->epochs, 10);
  EXPECT_EQ(tuned->head_epochs, 10);
  EXPECT_EQ(tuned->unfreeze_stages, 3);
  EXPECT_EQ(tuned->learning_rate, 1e-3);
  options = {Strategy::kFineTune, 5, 8, 0.5, 2, 7};
  const auto same = WithDefaults(options);
  ASSERT_TRUE(same.ok());
  EXPECT_EQ(same->epochs, 5);
  EXPECT_EQ(same->batch_size, 8);
  EXPECT_EQ(same->learning_rate, 0.5);
  EXPECT_EQ(same->unfreeze_stages, 2);
  EXPECT_EQ(same->head_epochs, 7);
}

TEST(WithDefaultsTest, ScratchHasItsOwn) {
  StrategyOptions options;
  options.strategy = Strategy::kScratch;
  const auto full = WithDefaults(options);
  ASSERT_TRUE(full.ok()) << full.status();
  EXPECT_EQ(full->epochs, 30);
  EXPECT_EQ(full->batch_size, 32);
  EXPECT_EQ(full->learning_rate, 1e-2);
}

TEST(WithDefaultsTest, ScratchNeedsTwoPicturesForBatchStatistics) {
  EXPECT_EQ(Violations({Strategy::kScratch, 0, 1, 0, 0, 0}), "batch_size: got 1, want 2 to 1024");
  EXPECT_TRUE(WithDefaults({Strategy::kFineTune, 0, 1, 0, 0, 0}).ok());
}

TEST(WithDefaultsTest, AllViolationsComeTogether) {
  EXPECT_THAT(Violations({Strategy::kFineTune, -1, 1025, -0.1, -2, 10001}),
              AllOf(HasSubstr("epochs: got -1, want 1 to 10000"), HasSubstr("batch_size: got 1025, want 1 to 1024"),
                    HasSubstr("learning_rate: got -0.1, want > 0 and <= 10"),
                    HasSubstr("unfreeze_stages: got -2, want 1 to 1000"),
                    HasSubstr("head_epochs: got 10001, want 1 to 10000")));
}

TEST(WithDefaultsTest, FineTuneFieldsAreRefusedElsewhere) {
  for (const Strategy strategy : {Strategy::kFrozenHead, Strategy::kScratch}) {
    EXPECT_THAT(Violations({strategy, 0, 0, 0, 1, 1}),
                AllOf(HasSubstr("unfreeze_stages: only with"), HasSubstr("head_epochs: only with"),
                      Not(HasSubstr("batch_size"))));
  }
}

TEST(WithDefaultsTest, LearningRateMustBeANumberInRange) {
  for (const double rate : {-1e-9, 10.01, std::nan(""), HUGE_VAL}) {
    StrategyOptions options;
    options.learning_rate = rate;
    EXPECT_THAT(Violations(options), HasSubstr("learning_rate")) << rate;
  }
}

TEST(MakePhasesTest, FrozenHeadIsOnePhaseOverAllStages) {
  StrategyOptions options;
  options.epochs = 4;
  const auto phases = MakePhases(*WithDefaults(options), *TinyBackbone());
  ASSERT_TRUE(phases.ok()) << phases.status();
  ASSERT_EQ(phases->size(), 1u);
  const Phase& head = (*phases)[0];
  EXPECT_EQ(head.split_point, 14);
  EXPECT_EQ(head.epochs, 4);
  EXPECT_EQ(head.head_learning_rate, 1e-2);
  EXPECT_EQ(head.batch_norm, BatchNormPolicy::kEval);
}

TEST(MakePhasesTest, FineTuneTrainsTheHeadFirst) {
  StrategyOptions options;
  options.strategy = Strategy::kFineTune;
  options.unfreeze_stages = 2;
  options.head_epochs = 3;
  const auto phases = MakePhases(*WithDefaults(options), *TinyBackbone());
  ASSERT_TRUE(phases.ok()) << phases.status();
  ASSERT_EQ(phases->size(), 2u);
  EXPECT_EQ((*phases)[0].split_point, 14);
  EXPECT_EQ((*phases)[0].epochs, 3);
  EXPECT_EQ((*phases)[0].head_learning_rate, 1e-2);
  EXPECT_EQ((*phases)[1].split_point, 11) << "pooling does not count as a stage to unfreeze";
  EXPECT_EQ((*phases)[1].backbone_learning_rate, 1e-3);
  EXPECT_EQ((*phases)[1].head_learning_rate, 1e-3);
}

TEST(MakePhasesTest, ScratchTrainsEverythingAtOneRate) {
  StrategyOptions options;
  options.strategy = Strategy::kScratch;
  options.epochs = 4;
  const auto phases = MakePhases(*WithDefaults(options), *TinyBackbone());
  ASSERT_TRUE(phases.ok()) << phases.status();
  ASSERT_EQ(phases->size(), 1u);
  const Phase& scratch = (*phases)[0];
  EXPECT_EQ(scratch.name, "scratch");
  EXPECT_EQ(scratch.split_point, 0);
  EXPECT_EQ(scratch.epochs, 4);
  EXPECT_EQ(scratch.head_learning_rate, 1e-2);
  EXPECT_EQ(scratch.backbone_learning_rate, 1e-2);
  EXPECT_EQ(scratch.momentum, 0.9);
  EXPECT_EQ(scratch.weight_decay, 1e-4);
  EXPECT_EQ(scratch.schedule, Schedule::kCosine);
  EXPECT_EQ(scratch.batch_norm, BatchNormPolicy::kTrainUnfrozen);
}

TEST(MakePhasesTest, ABackboneThatStaysFrozenTakesOnlyAHead) {
  InstallScript(testing::TempDir(), "phase_test");
  const std::string manifest = R"({"feature_width": 3, "crop_px": 8})";
  const auto backbone = Backbone::LoadScript(testing::TempDir() + "/phase_test.pt", manifest, "mean_colour");
  ASSERT_TRUE(backbone.ok()) << backbone.status();
  StrategyOptions options;
  EXPECT_TRUE(MakePhases(*WithDefaults(options), **backbone).ok());
  for (const Strategy strategy : {Strategy::kFineTune, Strategy::kScratch}) {
    options.strategy = strategy;
    const absl::Status status = MakePhases(*WithDefaults(options), **backbone).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(status.message(), "backbone: mean_colour can only be used frozen; want strategy frozen-head");
  }
}

TEST(MakePhasesTest, MoreStagesThanTheBackboneHasIsInvalidArgument) {
  StrategyOptions options;
  options.strategy = Strategy::kFineTune;
  options.unfreeze_stages = 13;
  const auto all = MakePhases(*WithDefaults(options), *TinyBackbone());
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_EQ((*all)[1].split_point, 0);
  options.unfreeze_stages = 14;
  const absl::Status status = MakePhases(*WithDefaults(options), *TinyBackbone()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("unfreeze_stages: got 14, want 1 to 13"));
}

}  // namespace
}  // namespace graft

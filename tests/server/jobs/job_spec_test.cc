#include "server/jobs/job_spec.h"

#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"
#include "server/jobs/recipe_proto.h"
#include "tests/server/jobs/spec_fields.h"
#include "worker/base/status.h"
#include "worker/train/recipe_options.h"

namespace graft {
namespace {

using google::protobuf::FieldDescriptor;
using testing::Contains;
using testing::Each;
using testing::ElementsAre;
using testing::Not;
using testing::StartsWith;

// A request with this spec, whose names are in order.
v1::StartJobRequest Request(const std::string& spec, const std::string& strategy = "STRATEGY_FROZEN_HEAD") {
  v1::StartJobRequest request;
  GRAFT_CHECK(google::protobuf::TextFormat::ParseFromString(
      absl::StrCat("dataset: 'flowers' backbone: 'net' strategy: ", strategy, " ", spec), request.mutable_spec()));
  return request;
}

std::vector<std::string> Violations(const v1::StartJobRequest& request) {
  const absl::Status status = CheckStartJob(request).status();
  if (status.ok()) return {};
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  return absl::StrSplit(status.message(), '\n');
}

constexpr char kAuto[] = "STRATEGY_AUTO";
const char* const kStrategies[] = {"STRATEGY_FROZEN_HEAD", "STRATEGY_FINE_TUNE", "STRATEGY_GRADUAL",
                                   "STRATEGY_SCRATCH", kAuto};

TEST(JobSpecTest, EffectiveSpecHasEveryDefaultThatApplies) {
  for (const char* strategy : kStrategies) {
    if (strategy == kAuto) continue;  // chooses itself
    for (const char* options : {"", "head { type: HEAD_TYPE_MLP } early_stopping { patience: 3 }",
                                "optimizer { type: OPTIMIZER_TYPE_ADAMW } augmentation { preset: 'flip' }",
                                "optimizer { type: OPTIMIZER_TYPE_RMSPROP } schedule { type: SCHEDULE_TYPE_STEP }"}) {
      const v1::StartJobRequest request = Request(options, strategy);
      const auto effective = CheckStartJob(request);
      ASSERT_TRUE(effective.ok()) << effective.status();
      Recipe recipe = *WithDefaults(ToRecipe(request.spec()));
      ForEachOption(recipe, [&](const char* path, auto&, const auto& otherwise) {
        const bool written = otherwise.only == nullptr && otherwise.source != nullptr;
        EXPECT_TRUE(!written || SpecHas(path, *effective)) << strategy << " " << options << " " << path;
      });
    }
  }
}

TEST(JobSpecTest, DefaultsOfAFrozenHead) {
  const auto effective = CheckStartJob(Request(""));
  ASSERT_TRUE(effective.ok()) << effective.status();
  EXPECT_EQ(effective->epochs(), 30);
  EXPECT_EQ(effective->batch_size(), 32);
  EXPECT_EQ(effective->learning_rate(), 1e-2);
  EXPECT_EQ(effective->head().type(), v1::HEAD_TYPE_LINEAR);
  EXPECT_EQ(effective->optimizer().type(), v1::OPTIMIZER_TYPE_SGD);
  EXPECT_EQ(effective->optimizer().momentum(), 0.9);
  EXPECT_EQ(effective->schedule().type(), v1::SCHEDULE_TYPE_COSINE);
  EXPECT_EQ(effective->augmentation().preset(), "none");
  EXPECT_EQ(effective->class_balance(), v1::CLASS_BALANCE_NONE);
  EXPECT_EQ(effective->precision(), v1::PRECISION_AUTO);
  EXPECT_EQ(effective->evaluation().precision_target(), 0.95);
  EXPECT_EQ(effective->checkpoint_seconds(), 30);
}

TEST(JobSpecTest, TellsWhichDefaultsItFilledInAndTheirSource) {
  std::vector<DefaultValue> defaults;
  ASSERT_TRUE(CheckStartJob(Request("epochs: 3 optimizer { momentum: 0.5 }"), &defaults).ok());
  std::map<std::string, std::string> values;
  for (const DefaultValue& each : defaults) {
    EXPECT_NE(SpecField(each.option), nullptr) << each.option;
    EXPECT_NE(each.source, "") << each.option;
    EXPECT_TRUE(values.emplace(each.option, each.value).second) << each.option << " twice";
  }
  EXPECT_EQ(values["batch_size"], "32");
  EXPECT_EQ(values["optimizer.type"], "sgd");
  EXPECT_THAT(values, Not(Contains(testing::Key("epochs"))));
  EXPECT_THAT(values, Not(Contains(testing::Key("optimizer.momentum"))));
  EXPECT_THAT(values, Not(Contains(testing::Key("optimizer.beta1")))) << "does not apply to SGD";
}

TEST(JobSpecTest, UnknownNumberOfAnEnumerationIsAViolationAtItsPath) {
  for (const std::string& path : SpecPaths(FieldDescriptor::CPPTYPE_ENUM)) {
    for (const int number : {99, -1, std::numeric_limits<int>::max(), std::numeric_limits<int>::min()}) {
      v1::StartJobRequest request = Request("");
      SetSpecEnum(path, number, request.mutable_spec());
      EXPECT_THAT(Violations(request),
                  ElementsAre(StartsWith(absl::StrCat("spec.", path, ": got ", number, ", want "))));
    }
  }
}

TEST(JobSpecTest, UnknownNumbersComeWithAllOtherViolations) {
  v1::StartJobRequest request = Request("epochs: -1 optimizer { momentum: 2 }");
  for (const std::string& path : SpecPaths(FieldDescriptor::CPPTYPE_ENUM)) {
    SetSpecEnum(path, 99, request.mutable_spec());
  }
  const std::vector<std::string> violations = Violations(request);
  for (const std::string& path : SpecPaths(FieldDescriptor::CPPTYPE_ENUM)) {
    EXPECT_THAT(violations, Contains(StartsWith(absl::StrCat("spec.", path, ": got 99, want "))));
  }
  EXPECT_THAT(violations, Contains(StartsWith("spec.epochs: got -1, want ")));
  EXPECT_THAT(violations, Contains(StartsWith("spec.optimizer.momentum: got 2, want ")));
}

TEST(JobSpecTest, NumbersThatAreNotFiniteAreViolations) {
  using Limits = std::numeric_limits<double>;
  for (const char* strategy : kStrategies) {
    for (const std::string& path : SpecPaths(FieldDescriptor::CPPTYPE_DOUBLE)) {
      if (absl::StartsWith(path, "auto.") != (strategy == kAuto)) continue;
      for (const double value : {Limits::quiet_NaN(), Limits::infinity(), -Limits::infinity()}) {
        v1::StartJobRequest request = Request("", strategy);
        SetSpecDouble(path, value, request.mutable_spec());
        EXPECT_THAT(Violations(request), Contains(StartsWith(absl::StrCat("spec.", path, ": "))))
            << strategy << " " << value;
      }
    }
  }
}

TEST(JobSpecTest, ViolationsOfOptionsCarryProtoPaths) {
  const std::vector<std::string> violations = Violations(Request(
      "head { type: HEAD_TYPE_MLP hidden_width: -1 dropout: 1 } optimizer { type: OPTIMIZER_TYPE_ADAMW beta1: 1 } "
      "schedule { warmup_epochs: -1 } regularization { label_smoothing: 1 ema_decay: 1 mixup_alpha: -1 } "
      "augmentation { preset: 'twirl' hue: 2 } early_stopping { patience: -1 } evaluation { folds: 1 } "
      "accumulate_batches: -1 checkpoint_seconds: 0.5"));
  EXPECT_THAT(violations, Each(StartsWith("spec.")));
  for (const char* path : {"head.hidden_width", "head.dropout", "optimizer.beta1", "schedule.warmup_epochs",
                           "regularization.label_smoothing", "regularization.ema_decay", "regularization.mixup_alpha",
                           "augmentation.preset", "augmentation.hue", "early_stopping.patience", "evaluation.folds",
                           "accumulate_batches", "checkpoint_seconds"}) {
    EXPECT_THAT(violations, Contains(StartsWith(absl::StrCat("spec.", path, ": "))));
  }
}

TEST(JobSpecTest, OptionThatDoesNotApplySaysWhatItWants) {
  EXPECT_THAT(Violations(Request("optimizer { beta1: 0.9 }")),
              ElementsAre("spec.optimizer.beta1: got 0.9, want it only with AdamW"));
  EXPECT_THAT(Violations(Request("early_stopping { holdout: 0.2 }")),
              Contains("spec.early_stopping.holdout: got 0.2, want it only with early_stopping.patience"));
}

TEST(JobSpecTest, AutoLeavesOpenWhatItChooses) {
  v1::StartJobRequest request = Request("epochs: 3", kAuto);
  request.mutable_spec()->clear_backbone();
  std::vector<DefaultValue> defaults;
  const auto effective = CheckStartJob(request, &defaults);
  ASSERT_TRUE(effective.ok()) << effective.status();
  v1::JobSpec want = request.spec();
  want.mutable_auto_()->set_budget_seconds(600);
  EXPECT_EQ(effective->DebugString(), want.DebugString());
  ASSERT_EQ(defaults.size(), 1u);
  EXPECT_EQ(defaults[0].option, "auto.budget_seconds");
  EXPECT_EQ(defaults[0].value, "600");
}

TEST(JobSpecTest, AutoChecksItsOwnOptions) {
  EXPECT_THAT(Violations(Request("auto { budget_seconds: 9 backbones: 'a' }", kAuto)),
              ElementsAre("spec.auto.budget_seconds: got 9, want 10 to 604800",
                          "spec.auto.backbones: want either these or spec.backbone"));
  EXPECT_THAT(Violations(Request("auto { budget_seconds: 60 }")),
              ElementsAre("spec.auto: got options, want them only with STRATEGY_AUTO"));
}

TEST(JobSpecTest, AutoRefusesWhatSuitsNoTrainingThatItTries) {
  EXPECT_THAT(Violations(Request("fine_tune { head_epochs: 3 } optimizer { type: OPTIMIZER_TYPE_LBFGS }", kAuto)),
              Contains(StartsWith("spec.optimizer.type: got lbfgs, want ")));
  EXPECT_THAT(Violations(Request("epochs: -1", kAuto)), Contains(StartsWith("spec.epochs: got -1, want ")));
  EXPECT_TRUE(CheckStartJob(Request("fine_tune { head_epochs: 3 }", kAuto)).ok());
  EXPECT_TRUE(CheckStartJob(Request("optimizer { type: OPTIMIZER_TYPE_LBFGS }", kAuto)).ok());
}

TEST(JobSpecTest, RequestIdIsPlainText) {
  v1::StartJobRequest request = Request("");
  request.set_request_id("a\nb");
  EXPECT_THAT(Violations(request), ElementsAre("request_id: got control characters, want text"));
}

TEST(JobSpecTest, SpecPathsComeBeforeEveryLine) {
  const absl::Status status = WithSpecPaths(absl::FailedPreconditionError("epochs: one\nhead.type: two"));
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_EQ(status.message(), "spec.epochs: one\nspec.head.type: two");
}

TEST(JobSpecTest, BatchOfTooManyPixelsNamesTheBatchSize) {
  EXPECT_TRUE(CheckBatchPixels(Request("batch_size: 1024 input_px: 224").spec()).ok());
  EXPECT_TRUE(CheckBatchPixels(Request("batch_size: 1024").spec()).ok());
  const absl::Status status = CheckBatchPixels(Request("batch_size: 1024 input_px: 225").spec());
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()), StartsWith("spec.batch_size: got 1024 pictures of 225 px"));
}

TEST(JobSpecTest, FirstDifferenceIsOfTheLowestFieldWithItsPath) {
  const v1::JobSpec want = Request("optimizer { momentum: 0.9 } augmentation { views: 2 }").spec();
  EXPECT_EQ(FirstDifference(want, want), std::nullopt);
  const v1::JobSpec got = Request("optimizer { momentum: 0.8 } augmentation { views: 3 }").spec();
  EXPECT_EQ(FirstDifference(got, want), "spec.optimizer.momentum: got 0.8, want 0.9");
}

TEST(JobSpecTest, NoVersionEqualsAny) {
  v1::JobSpec known = Request("").spec();
  known.set_dataset_version("v1");
  EXPECT_EQ(FirstDifference(Request("").spec(), known), std::nullopt);
  EXPECT_EQ(FirstDifference(Request("dataset_version: 'v2'").spec(), known),
            "spec.dataset_version: got \"v2\", want \"v1\"");
}

}  // namespace
}  // namespace graft

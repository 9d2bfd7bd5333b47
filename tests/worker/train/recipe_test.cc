#include "worker/train/recipe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "worker/train/recipe_options.h"

namespace graft {
namespace {

using testing::Contains;
using testing::ElementsAreArray;
using testing::HasSubstr;
using testing::Not;

constexpr Strategy kStrategies[] = {Strategy::kFrozenHead, Strategy::kFineTune, Strategy::kGradual, Strategy::kScratch};
constexpr OptimizerKind kOptimizers[] = {OptimizerKind::kSgd, OptimizerKind::kAdamW, OptimizerKind::kRmsProp,
                                         OptimizerKind::kLbfgs};

Recipe Of(Strategy strategy) {
  Recipe recipe;
  recipe.strategy = strategy;
  return recipe;
}

// The recipe with one option chosen; `value` is a string, or any number or enum.
template <typename T>
Recipe With(Recipe recipe, const std::string& path, T value) {
  bool known = false;
  ForEachOption(recipe, [&](const char* each, auto& field, const auto&) {
    using Field = std::decay_t<decltype(field)>;
    if constexpr (std::is_same_v<Field, std::string> == std::is_same_v<T, std::string>) {
      if (path != each) return;
      field = static_cast<Field>(value);
      known = true;
    }
  });
  EXPECT_TRUE(known) << path;
  recipe.chosen.insert(path);
  return recipe;
}

Recipe With(Strategy strategy, OptimizerKind kind) { return With(Of(strategy), "optimizer.type", kind); }

std::string Refusal(const Recipe& recipe) {
  const auto full = WithDefaults(recipe);
  EXPECT_EQ(full.status().code(), absl::StatusCode::kInvalidArgument) << full.status();
  return std::string(full.status().message());
}

// "option=value" of each default.
std::vector<std::string> Defaults(const Recipe& recipe) {
  std::vector<DefaultValue> defaults;
  const auto full = WithDefaults(recipe, &defaults);
  EXPECT_TRUE(full.ok()) << full.status();
  std::vector<std::string> lines;
  for (const DefaultValue& each : defaults) {
    EXPECT_NE(each.source, "") << each.option;
    lines.push_back(absl::StrCat(each.option, "=", each.value));
  }
  return lines;
}

// One option's default in four cases; "-": it does not apply there.
struct Row {
  std::string option;
  std::string values[4];
};

std::vector<std::string> Column(const std::vector<Row>& rows, int i) {
  std::vector<std::string> lines;
  for (const Row& row : rows) {
    if (row.values[i] != "-") lines.push_back(absl::StrCat(row.option, "=", row.values[i]));
  }
  return lines;
}

TEST(WithDefaultsTest, EachStrategyHasItsDefaultsInOrder) {
  const std::vector<Row> rows = {
      // frozen head, fine-tune, gradual, scratch
      {"head.type", {"linear", "linear", "linear", "linear"}},
      {"head.standardize", {"true", "true", "true", "-"}},
      {"optimizer.type", {"sgd", "sgd", "sgd", "sgd"}},
      {"head.dropout", {"0", "0", "0", "0"}},
      {"optimizer.momentum", {"0.9", "0.9", "0.9", "0.9"}},
      {"optimizer.nesterov", {"false", "false", "false", "false"}},
      {"optimizer.weight_decay", {"0.01", "0", "0", "0.0001"}},
      {"epochs", {"30", "10", "10", "30"}},
      {"batch_size", {"32", "32", "32", "32"}},
      {"accumulate_batches", {"1", "1", "1", "1"}},
      {"learning_rate", {"0.01", "0.005", "0.005", "0.01"}},
      {"learning_rate_finder.steps", {"0", "0", "0", "0"}},
      {"schedule.type", {"cosine", "cosine", "cosine", "cosine"}},
      {"schedule.warmup_epochs", {"0", "0", "0", "0"}},
      {"fine_tune.head_epochs", {"-", "10", "10", "-"}},
      {"fine_tune.unfreeze_from", {"-", "\"\"", "\"\"", "-"}},
      {"fine_tune.unfreeze_stages", {"-", "3", "3", "-"}},
      {"fine_tune.stage_decay", {"-", "1", "0.384615", "-"}},
      {"regularization.label_smoothing", {"0", "0", "0", "0"}},
      {"regularization.clip_norm", {"0", "1", "1", "0"}},
      {"regularization.l2_sp", {"-", "0", "0", "-"}},
      {"regularization.ema_decay", {"0", "0", "0", "0"}},
      {"regularization.mixup_alpha", {"0", "0", "0", "0"}},
      {"regularization.cutmix_alpha", {"-", "0", "0", "0"}},
      {"augmentation.preset", {"none", "light", "light", "light"}},
      {"augmentation.views", {"-", "4", "4", "4"}},
      {"early_stopping.patience", {"0", "0", "0", "0"}},
      {"class_balance", {"none", "none", "none", "none"}},
      {"precision", {"auto", "auto", "auto", "auto"}},
      {"checkpoint_seconds", {"30", "30", "30", "30"}},
      {"evaluation.folds", {"0", "0", "0", "0"}},
      {"evaluation.precision_target", {"0.95", "0.95", "0.95", "0.95"}},
      {"evaluation.learning_curve", {"0", "0", "0", "0"}},
  };
  for (int i = 0; i < 4; ++i) EXPECT_THAT(Defaults(Of(kStrategies[i])), ElementsAreArray(Column(rows, i))) << i;
}

TEST(WithDefaultsTest, EachOptimizerHasItsDefaultsInOrder) {
  const std::vector<Row> rows = {
      // SGD, AdamW, RMSprop, L-BFGS
      {"head.type", {"linear", "linear", "linear", "linear"}},
      {"head.standardize", {"true", "true", "true", "true"}},
      {"head.dropout", {"0", "0", "0", "0"}},
      {"optimizer.momentum", {"0.9", "-", "0", "-"}},
      {"optimizer.nesterov", {"false", "-", "-", "-"}},
      {"optimizer.beta1", {"-", "0.9", "-", "-"}},
      {"optimizer.beta2", {"-", "0.999", "-", "-"}},
      {"optimizer.smoothing", {"-", "-", "0.99", "-"}},
      {"optimizer.epsilon", {"-", "1e-08", "1e-08", "-"}},
      {"optimizer.history", {"-", "-", "-", "10"}},
      {"optimizer.weight_decay", {"0.01", "0.01", "0.01", "0.01"}},
      {"epochs", {"30", "30", "30", "30"}},
      {"batch_size", {"32", "32", "32", "32"}},
      {"accumulate_batches", {"1", "1", "1", "-"}},
      {"learning_rate", {"0.01", "0.001", "0.001", "1"}},
      {"learning_rate_finder.steps", {"0", "0", "0", "-"}},
      {"schedule.type", {"cosine", "cosine", "cosine", "constant"}},
      {"schedule.warmup_epochs", {"0", "0", "0", "0"}},
      {"regularization.label_smoothing", {"0", "0", "0", "0"}},
      {"regularization.clip_norm", {"0", "0", "0", "-"}},
      {"regularization.ema_decay", {"0", "0", "0", "-"}},
      {"regularization.mixup_alpha", {"0", "0", "0", "-"}},
      {"augmentation.preset", {"none", "none", "none", "none"}},
      {"early_stopping.patience", {"0", "0", "0", "0"}},
      {"class_balance", {"none", "none", "none", "none"}},
      {"precision", {"auto", "auto", "auto", "auto"}},
      {"checkpoint_seconds", {"30", "30", "30", "30"}},
      {"evaluation.folds", {"0", "0", "0", "0"}},
      {"evaluation.precision_target", {"0.95", "0.95", "0.95", "0.95"}},
      {"evaluation.learning_curve", {"0", "0", "0", "0"}},
  };
  for (int i = 0; i < 4; ++i) {
    EXPECT_THAT(Defaults(With(Strategy::kFrozenHead, kOptimizers[i])), ElementsAreArray(Column(rows, i))) << i;
  }
}

TEST(WithDefaultsTest, ATrainedBackboneTakesATenthOfTheAdaptiveRates) {
  for (const Strategy strategy : {Strategy::kFineTune, Strategy::kGradual, Strategy::kScratch}) {
    const auto adamw = WithDefaults(With(strategy, OptimizerKind::kAdamW));
    const auto rmsprop = WithDefaults(With(strategy, OptimizerKind::kRmsProp));
    ASSERT_TRUE(adamw.ok() && rmsprop.ok());
    EXPECT_EQ(adamw->learning_rate, 1e-4);
    EXPECT_EQ(adamw->weight_decay, 1e-2);
    EXPECT_EQ(rmsprop->learning_rate, 1e-4);
    EXPECT_EQ(rmsprop->weight_decay, strategy == Strategy::kScratch ? 1e-4 : 0);
  }
}

TEST(WithDefaultsTest, OptionsThatAnotherOneBringsHaveDefaults) {
  const Recipe mlp = With(Recipe(), "head.type", HeadType::kMlp);
  EXPECT_THAT(Defaults(mlp), testing::IsSupersetOf({"head.hidden_width=256", "head.dropout=0.5"}));
  const Recipe step = With(Recipe(), "schedule.type", ScheduleKind::kStep);
  EXPECT_THAT(Defaults(step), testing::IsSupersetOf({"schedule.step_epochs=7", "schedule.step_factor=0.1"}));
  const Recipe one_cycle = With(Recipe(), "schedule.type", ScheduleKind::kOneCycle);
  EXPECT_THAT(Defaults(one_cycle), Not(Contains(HasSubstr("warmup"))));
  const Recipe from = With(Of(Strategy::kFineTune), "fine_tune.unfreeze_from", std::string("layer4"));
  EXPECT_THAT(Defaults(from), Not(Contains(HasSubstr("unfreeze"))));
  EXPECT_EQ(WithDefaults(from)->unfreeze_stages, 0);
  const Recipe stops = With(Recipe(), "early_stopping.patience", 3);
  EXPECT_THAT(Defaults(stops), testing::IsSupersetOf({"early_stopping.metric=loss", "early_stopping.min_delta=0",
                                                      "early_stopping.holdout=0.2"}));
}

TEST(WithDefaultsTest, NothingChosenIsListed) {
  const std::vector<std::string> all = Defaults(Of(Strategy::kFineTune));
  Recipe recipe = *WithDefaults(Of(Strategy::kFineTune));
  recipe.chosen.insert({"epochs", "optimizer.type", "precision"});
  std::vector<std::string> open = all;
  for (const char* gone : {"epochs=10", "optimizer.type=sgd", "precision=auto"}) {
    open.erase(std::find(open.begin(), open.end(), gone));
  }
  EXPECT_THAT(Defaults(recipe), ElementsAreArray(open));
  for (const std::string& line : all) {
    const std::vector<std::string> parts = absl::StrSplit(line, '=');
    if (parts[0] != "fine_tune.unfreeze_from") recipe.chosen.insert(parts[0]);
  }
  EXPECT_THAT(Defaults(recipe), testing::ElementsAre("fine_tune.unfreeze_from=\"\""));
}

TEST(WithDefaultsTest, WhatIsNotChosenIsReplacedAndTheRestKept) {
  Recipe recipe;
  recipe.epochs = 7;
  recipe.batch_size = 9;
  recipe.chosen = {"batch_size"};
  const auto full = WithDefaults(recipe);
  ASSERT_TRUE(full.ok());
  EXPECT_EQ(full->epochs, 30);
  EXPECT_EQ(full->batch_size, 9);
  EXPECT_EQ(full->chosen, recipe.chosen);
}

// Options without a range, which the tests of ranges don't reach.
TEST(WithDefaultsTest, ChosenKindsAreKept) {
  Recipe recipe = Of(Strategy::kFineTune);
  recipe.head.type = HeadType::kCosine;
  recipe.optimizer.kind = OptimizerKind::kSgd;
  recipe.optimizer.nesterov = true;
  recipe.schedule.kind = ScheduleKind::kOneCycle;
  recipe.unfreeze_from = "layer4";
  recipe.augmentation = "keras";
  recipe.early_stopping.patience = 2;
  recipe.early_stopping.metric = StopMetric::kAccuracy;
  recipe.class_balance = ClassBalance::kSampling;
  recipe.precision = Precision::kFloat32;
  recipe.chosen = {"head.type",           "optimizer.type", "optimizer.nesterov",      "schedule.type",
                   "class_balance",       "precision",      "fine_tune.unfreeze_from", "early_stopping.patience",
                   "augmentation.preset", "early_stopping.metric"};
  const auto full = WithDefaults(recipe);
  ASSERT_TRUE(full.ok()) << full.status();
  EXPECT_EQ(full->head.type, HeadType::kCosine);
  EXPECT_TRUE(full->optimizer.nesterov);
  EXPECT_EQ(full->schedule.kind, ScheduleKind::kOneCycle);
  EXPECT_EQ(full->unfreeze_from, "layer4");
  EXPECT_EQ(full->augmentation, "keras");
  EXPECT_EQ(full->early_stopping.metric, StopMetric::kAccuracy);
  EXPECT_EQ(full->class_balance, ClassBalance::kSampling);
  EXPECT_EQ(full->precision, Precision::kFloat32);
}

TEST(WithDefaultsTest, APresetGivesTheAugmentationAndItsPartsOverride) {
  for (const std::string& name : AugmentPresetNames()) {
    const auto full = WithDefaults(With(Of(Strategy::kScratch), "augmentation.preset", name));
    ASSERT_TRUE(full.ok()) << full.status();
    EXPECT_EQ(full->augment, *AugmentPreset(name)) << name;
    EXPECT_EQ(full->augmented_views, name == "none" ? 0 : 4) << name;
  }
  AugmentSpec want = *AugmentPreset("trivial-augment");
  want.crop_scale_min = 0.3;
  want.erase = 0;
  Recipe recipe = With(Recipe(), "augmentation.preset", std::string("trivial-augment"));
  recipe = With(With(recipe, "augmentation.crop_scale_min", 0.3), "augmentation.erase", 0);
  EXPECT_EQ(WithDefaults(recipe)->augment, want);
  want = *AugmentPreset("rand-augment");
  want.rand_augment_ops = 3;
  want.rand_augment_magnitude = 15;
  want.crop_scale_max = 0.5;
  recipe = With(With(Recipe(), "augmentation.preset", std::string("rand-augment")), "augmentation.crop_scale_max", 0.5);
  recipe = With(With(recipe, "augmentation.rand_augment_ops", 3), "augmentation.rand_augment_magnitude", 15);
  EXPECT_EQ(WithDefaults(recipe)->augment, want);
  want = AugmentSpec();
  want.rand_augment_ops = 2;
  EXPECT_EQ(WithDefaults(With(Recipe(), "augmentation.rand_augment_ops", 2))->augment, want);
  const Recipe whole =
      With(With(Recipe(), "augmentation.preset", std::string("light")), "augmentation.crop_scale_min", 1);
  EXPECT_EQ(WithDefaults(whole)->augment, *AugmentPreset("flip")) << "without crops they have no ratio";
  want = AugmentSpec();
  want.hue = 0.1;
  const Recipe alone = With(Recipe(), "augmentation.hue", 0.1);
  EXPECT_EQ(WithDefaults(alone)->augment, want);
  EXPECT_THAT(Defaults(alone), testing::IsSupersetOf({"augmentation.preset=none", "augmentation.views=4"}));
  EXPECT_THAT(Defaults(alone), Not(Contains(HasSubstr("hue"))));
}

// Values in range are kept, those beyond refused with `want`.
void ExpectRange(const Recipe& base, const std::string& path, const std::vector<double>& good,
                 const std::vector<double>& bad, const std::string& want) {
  for (const double value : good) {
    const auto full = WithDefaults(With(base, path, value));
    EXPECT_TRUE(full.ok()) << full.status();
  }
  for (const double value : bad) {
    EXPECT_EQ(Refusal(With(base, path, value)), absl::StrCat(path, ": got ", value, ", want ", want));
  }
}

TEST(WithDefaultsTest, TrainingOptionsHaveRanges) {
  const Recipe tune = Of(Strategy::kFineTune), gradual = Of(Strategy::kGradual);
  ExpectRange({}, "epochs", {1, 10000}, {-1, 0, 10001}, "1 to 10000");
  ExpectRange({}, "batch_size", {1, 1024}, {-1, 0, 1025}, "1 to 1024");
  ExpectRange(Of(Strategy::kScratch), "batch_size", {2, 1024}, {1, 1025}, "2 to 1024");  // for batch statistics
  ExpectRange({}, "accumulate_batches", {1, 1024}, {0, 1025}, "1 to 1024");
  ExpectRange({}, "learning_rate", {1e-9, 10}, {-0.1, 0, 10.01, HUGE_VAL}, "> 0 and <= 10");
  ExpectRange({}, "checkpoint_seconds", {1, 86400}, {0, 0.9, 86401}, "1 to 86400");
  for (const Recipe& base : {tune, gradual}) {
    ExpectRange(base, "fine_tune.head_epochs", {1, 10000}, {0, 10001}, "1 to 10000");
    ExpectRange(base, "fine_tune.unfreeze_stages", {1, 1000}, {-2, 0, 1001}, "1 to 1000");
    ExpectRange(base, "fine_tune.stage_decay", {0.01, 1}, {0, -1, 1.01}, "> 0 and <= 1");
  }
}

TEST(WithDefaultsTest, TheFinderHasARange) {
  for (const int steps : {0, 20, 1000}) {
    EXPECT_TRUE(WithDefaults(With(Recipe(), "learning_rate_finder.steps", steps)).ok()) << steps;
  }
  for (const int steps : {-1, 19, 1001}) {
    EXPECT_EQ(Refusal(With(Recipe(), "learning_rate_finder.steps", steps)),
              absl::StrCat("learning_rate_finder.steps: got ", steps, ", want 0 or 20 to 1000"));
  }
}

TEST(WithDefaultsTest, TheFinderSetsARateThatIsLeftOpenAndReportsOneThatIsChosen) {
  const Recipe finds = With(Recipe(), "learning_rate_finder.steps", 100);
  EXPECT_THAT(Defaults(finds), testing::IsSupersetOf({"learning_rate=0.01", "learning_rate_finder.apply=true"}));
  const Recipe chosen = With(finds, "learning_rate", 0.02);
  EXPECT_FALSE(WithDefaults(chosen)->rate_finder.apply);
  EXPECT_TRUE(WithDefaults(With(chosen, "learning_rate_finder.apply", true))->rate_finder.apply);
  EXPECT_FALSE(WithDefaults(With(finds, "learning_rate_finder.apply", false))->rate_finder.apply);
}

TEST(WithDefaultsTest, OptimizersHaveRanges) {
  const Recipe adamw = With(Strategy::kFrozenHead, OptimizerKind::kAdamW);
  const Recipe rmsprop = With(Strategy::kFrozenHead, OptimizerKind::kRmsProp);
  const Recipe lbfgs = With(Strategy::kFrozenHead, OptimizerKind::kLbfgs);
  ExpectRange({}, "optimizer.momentum", {0, 0.99}, {-0.1, 1, 1.5}, "0 <= momentum < 1");
  ExpectRange(rmsprop, "optimizer.momentum", {0, 0.99}, {1}, "0 <= momentum < 1");
  ExpectRange(rmsprop, "optimizer.smoothing", {0, 0.99}, {-1, 1}, "0 <= smoothing < 1");
  ExpectRange(adamw, "optimizer.beta1", {0, 0.99}, {-1, 1}, "0 <= beta1 < 1");
  ExpectRange(adamw, "optimizer.beta2", {0, 0.99}, {-1, 1}, "0 <= beta2 < 1");
  ExpectRange(adamw, "optimizer.epsilon", {1e-12, 1}, {-1, 0, HUGE_VAL}, "> 0 and finite");
  ExpectRange(rmsprop, "optimizer.epsilon", {1e-12}, {0}, "> 0 and finite");
  ExpectRange(lbfgs, "optimizer.history", {1, 100}, {0, 101}, "1 to 100");
  for (const Recipe& base : {Recipe(), adamw, rmsprop, lbfgs}) {
    ExpectRange(base, "optimizer.weight_decay", {0, 1}, {-0.1, 1.1}, "0 to 1");
  }
  EXPECT_EQ(Refusal(With(With(Recipe(), "optimizer.momentum", 0), "optimizer.nesterov", true)),
            "optimizer.nesterov: got true, want false without momentum");
  for (const Strategy strategy : {Strategy::kFineTune, Strategy::kGradual, Strategy::kScratch}) {
    EXPECT_EQ(Refusal(With(strategy, OptimizerKind::kLbfgs)),
              "optimizer.type: got lbfgs, want sgd, adamw or rmsprop: only a frozen head has a loss without noise");
  }
}

TEST(WithDefaultsTest, LbfgsHasALossWithoutNoise) {
  const Recipe lbfgs = With(Strategy::kFrozenHead, OptimizerKind::kLbfgs);
  const Recipe mlp = With(lbfgs, "head.type", HeadType::kMlp);
  EXPECT_THAT(Defaults(mlp), Contains("head.dropout=0"));
  EXPECT_TRUE(WithDefaults(With(mlp, "head.dropout", 0)).ok());
  EXPECT_TRUE(WithDefaults(With(lbfgs, "class_balance", ClassBalance::kWeights)).ok());
  EXPECT_TRUE(WithDefaults(With(lbfgs, "augmentation.preset", std::string("none"))).ok());
  const std::string why = " with L-BFGS, whose loss must be without noise";
  EXPECT_EQ(Refusal(With(mlp, "head.dropout", 0.5)), absl::StrCat("head.dropout: got 0.5, want 0", why));
  EXPECT_EQ(Refusal(With(lbfgs, "class_balance", ClassBalance::kSampling)),
            absl::StrCat("class_balance: got sampling, want none or weights", why));
  EXPECT_EQ(Refusal(With(lbfgs, "augmentation.preset", std::string("flip"))),
            absl::StrCat("augmentation.preset: got flip, want none", why));
  EXPECT_EQ(Refusal(With(lbfgs, "augmentation.hue", 0.1)), absl::StrCat("augmentation: got some, want none", why));
}

TEST(WithDefaultsTest, HeadScheduleAndRegularizationHaveRanges) {
  const Recipe tune = Of(Strategy::kFineTune), mlp = With(Recipe(), "head.type", HeadType::kMlp);
  const Recipe step = With(Recipe(), "schedule.type", ScheduleKind::kStep);
  ExpectRange(mlp, "head.hidden_width", {1, 8192}, {0, 8193}, "1 to 8192");
  ExpectRange({}, "head.dropout", {0, 0.99}, {-0.1, 1}, "0 <= dropout < 1");
  ExpectRange({}, "schedule.warmup_epochs", {0, 1000}, {-1, 1001}, "0 to 1000");
  ExpectRange(step, "schedule.step_epochs", {0.5, 10000}, {0, 10001}, "0 < step_epochs <= 10000");
  ExpectRange(step, "schedule.step_factor", {0.01, 1}, {0, 1.1}, "0 < step_factor <= 1");
  ExpectRange({}, "regularization.label_smoothing", {0, 0.99}, {-0.1, 1}, "0 <= label_smoothing < 1");
  ExpectRange({}, "regularization.clip_norm", {0, 1e6}, {-1, HUGE_VAL}, "a number >= 0");
  ExpectRange(tune, "regularization.l2_sp", {0, 10}, {-1, 10.5}, "0 to 10");
  ExpectRange({}, "regularization.ema_decay", {0, 0.9999}, {-0.1, 1}, "0 <= ema_decay < 1");
  ExpectRange({}, "regularization.mixup_alpha", {0, 5}, {-1, HUGE_VAL}, ">= 0 and finite");
  ExpectRange(tune, "regularization.cutmix_alpha", {0, 5}, {-1, HUGE_VAL}, ">= 0 and finite");
  const Recipe svm = With(Recipe(), "head.type", HeadType::kLinearSvm);
  EXPECT_TRUE(WithDefaults(With(svm, "regularization.label_smoothing", 0)).ok());
  EXPECT_THAT(Refusal(With(svm, "regularization.label_smoothing", 0.1)),
              HasSubstr("want 0 with the linear-svm head, whose loss has no probabilities"));
}

TEST(WithDefaultsTest, AugmentationHasRanges) {
  const Recipe light = With(Recipe(), "augmentation.preset", std::string("light"));
  ExpectRange(light, "augmentation.views", {0, 64}, {-1, 65}, "0 to 64");
  ExpectRange({}, "augmentation.crop_scale_min", {0.01, 1}, {-0.5, 0}, "> 0 and at most 1");
  ExpectRange(light, "augmentation.crop_scale_max", {0.5, 1}, {0.4, 1.1}, "crop_scale_min to 1");
  ExpectRange(light, "augmentation.crop_ratio", {1, 10}, {0.9, 11}, "1 to 10");
  ExpectRange({}, "augmentation.rotation_degrees", {0, 180}, {-1, 181}, "0 to 180");
  ExpectRange({}, "augmentation.shear_degrees", {0, 60}, {-1, 61}, "0 to 60");
  ExpectRange({}, "augmentation.zoom", {0, 0.9}, {-1, 1}, "0 to 0.9");
  ExpectRange({}, "augmentation.rand_augment_ops", {0, 14}, {-1, 15}, "0 to 14");
  const Recipe rand = With(Recipe(), "augmentation.rand_augment_ops", 2);
  ExpectRange(rand, "augmentation.rand_augment_magnitude", {0, 30}, {-1, 31}, "0 to 30");
  ExpectRange({}, "augmentation.hue", {0, 0.5}, {-1, 0.6}, "0 to 0.5");
  for (const char* path : {"augmentation.horizontal_flip", "augmentation.vertical_flip", "augmentation.shift",
                           "augmentation.brightness", "augmentation.contrast", "augmentation.saturation",
                           "augmentation.grey", "augmentation.erase"}) {
    ExpectRange({}, path, {0, 1}, {-1, 1.1}, "0 to 1");
  }
  EXPECT_EQ(Refusal(With(Recipe(), "augmentation.preset", std::string("x"))),
            "augmentation.preset: got \"x\", want one of none, flip, light, crop-flip, keras, rand-augment, "
            "trivial-augment");
}

TEST(WithDefaultsTest, MeasuringHasRanges) {
  const Recipe stops = With(Recipe(), "early_stopping.patience", 3);
  ExpectRange({}, "early_stopping.patience", {0, 1000}, {-1, 1001}, "0 to 1000");
  ExpectRange(stops, "early_stopping.min_delta", {0, 1}, {-1, HUGE_VAL}, "a number >= 0");
  ExpectRange(stops, "early_stopping.holdout", {0.05, 0.5}, {0, 0.04, 0.51}, "0.05 to 0.5");
  ExpectRange({}, "evaluation.folds", {0, 2, 20}, {-1, 1, 21}, "0 or 2 to 20");
  ExpectRange({}, "evaluation.precision_target", {0.01, 1}, {-1, 0, 1.1}, "> 0 and <= 1");
  ExpectRange({}, "evaluation.learning_curve", {0, 3, 10}, {-1, 2, 11}, "0 or 3 to 10");
}

// Recipes in which, together, every option applies and every one that can fail to apply does.
std::vector<Recipe> ManyRecipes() {
  std::vector<Recipe> recipes;
  for (const Strategy strategy : kStrategies) recipes.push_back(Of(strategy));
  for (const OptimizerKind kind : kOptimizers) recipes.push_back(With(Strategy::kFrozenHead, kind));
  recipes.push_back(With(Recipe(), "schedule.type", ScheduleKind::kStep));
  recipes.push_back(With(Recipe(), "schedule.type", ScheduleKind::kOneCycle));
  recipes.push_back(With(Recipe(), "head.type", HeadType::kMlp));
  recipes.push_back(With(Of(Strategy::kFineTune), "fine_tune.unfreeze_from", std::string("layer4")));
  recipes.push_back(With(Recipe(), "early_stopping.patience", 3));
  recipes.push_back(With(Recipe(), "augmentation.preset", std::string("rand-augment")));
  recipes.push_back(With(Recipe(), "augmentation.preset", std::string("trivial-augment")));
  return recipes;
}

TEST(WithDefaultsTest, NotANumberIsOutOfEveryRange) {
  std::set<std::string> tried, all;
  for (const Recipe& base : ManyRecipes()) {
    Recipe full = *WithDefaults(base);
    ForEachOption(full, [&](const char* path, auto& field, const auto& otherwise) {
      if (!std::is_same_v<std::decay_t<decltype(field)>, double>) return;
      all.insert(path);
      if (otherwise.only != nullptr || !tried.insert(path).second) return;
      EXPECT_THAT(Refusal(With(base, path, std::nan(""))), HasSubstr(absl::StrCat(path, ": got nan, want")));
    });
  }
  EXPECT_EQ(tried, all);
}

TEST(WithDefaultsTest, AllViolationsComeTogether) {
  Recipe recipe = With(With(Of(Strategy::kFineTune), "epochs", -1), "batch_size", 1025);
  recipe = With(With(With(recipe, "optimizer.momentum", 1.5), "optimizer.beta1", 0.5), "augmentation.zoom", 2);
  EXPECT_EQ(Refusal(recipe),
            "optimizer.beta1: got 0.5, want it only with AdamW\n"
            "epochs: got -1, want 1 to 10000\n"
            "batch_size: got 1025, want 1 to 1024\n"
            "optimizer.momentum: got 1.5, want 0 <= momentum < 1\n"
            "augmentation.zoom: got 2, want 0 to 0.9");
}

TEST(WithDefaultsTest, OptionsAreRefusedWhereTheyDoNotApply) {
  const Recipe adamw = With(Strategy::kFrozenHead, OptimizerKind::kAdamW);
  const Recipe lbfgs = With(Strategy::kFrozenHead, OptimizerKind::kLbfgs), scratch = Of(Strategy::kScratch);
  const Recipe one_cycle = With(Recipe(), "schedule.type", ScheduleKind::kOneCycle);
  const Recipe from = With(Of(Strategy::kFineTune), "fine_tune.unfreeze_from", std::string("layer4"));
  const Recipe trivial = With(Recipe(), "augmentation.preset", std::string("trivial-augment"));
  const std::string tuning = "it only with the fine-tune and gradual strategies";
  const std::string first_order = "it only with first-order optimizers";
  const std::string pretrained = "it only where a pretrained backbone is trained";
  const std::string stopping = "it only with early_stopping.patience", step = "it only with the step schedule";
  struct Misplaced {
    Recipe base;
    std::string path, want;
  };
  const std::vector<Misplaced> all = {
      {{}, "head.hidden_width", "it only with the mlp head"},
      {scratch, "head.standardize", "it only with a pretrained backbone"},
      {adamw, "optimizer.momentum", "it only with SGD and RMSprop"},
      {lbfgs, "optimizer.momentum", "it only with SGD and RMSprop"},
      {adamw, "optimizer.nesterov", "it only with SGD"},
      {{}, "optimizer.beta1", "it only with AdamW"},
      {{}, "optimizer.beta2", "it only with AdamW"},
      {{}, "optimizer.smoothing", "it only with RMSprop"},
      {{}, "optimizer.epsilon", "it only with AdamW and RMSprop"},
      {{}, "optimizer.history", "it only with L-BFGS"},
      {lbfgs, "accumulate_batches", first_order},
      {lbfgs, "learning_rate_finder.steps", first_order},
      {{}, "learning_rate_finder.apply", "it only with learning_rate_finder.steps"},
      {one_cycle, "schedule.warmup_epochs", "none with one-cycle, which has its own"},
      {{}, "schedule.step_epochs", step},
      {{}, "schedule.step_factor", step},
      {{}, "fine_tune.head_epochs", tuning},
      {scratch, "fine_tune.head_epochs", tuning},
      {{}, "fine_tune.unfreeze_stages", tuning},
      {scratch, "fine_tune.unfreeze_stages", tuning},
      {from, "fine_tune.unfreeze_stages", "either it or fine_tune.unfreeze_from"},
      {{}, "fine_tune.stage_decay", tuning},
      {{}, "regularization.l2_sp", pretrained},
      {scratch, "regularization.l2_sp", pretrained},
      {lbfgs, "regularization.clip_norm", first_order},
      {lbfgs, "regularization.ema_decay", first_order},
      {lbfgs, "regularization.mixup_alpha", first_order},
      {{}, "regularization.cutmix_alpha", "it only where the backbone is trained"},
      {{}, "augmentation.crop_scale_max", "it only with augmentation.crop_scale_min below 1"},
      {{}, "augmentation.crop_ratio", "it only with augmentation.crop_scale_min below 1"},
      {trivial, "augmentation.rand_augment_ops", "it only without the trivial-augment preset"},
      {{}, "augmentation.rand_augment_magnitude", "it only with augmentation.rand_augment_ops"},
      {{}, "augmentation.views", "it only with augmentation"},
      {{}, "early_stopping.metric", stopping},
      {{}, "early_stopping.min_delta", stopping},
      {{}, "early_stopping.holdout", stopping},
  };
  std::set<std::string> tried{"fine_tune.unfreeze_from"}, known;
  for (const auto& [base, path, want] : all) {
    const bool is_bool = path == "optimizer.nesterov" || path == "head.standardize" ||
                         path == "learning_rate_finder.apply";
    const std::string got = is_bool ? "true" : path == "early_stopping.metric" ? "accuracy" : "1";
    EXPECT_EQ(Refusal(With(base, path, 1)), absl::StrCat(path, ": got ", got, ", want ", want)) << "once";
    tried.insert(path);
  }
  EXPECT_EQ(Refusal(With(scratch, "fine_tune.unfreeze_from", std::string("layer4"))),
            absl::StrCat("fine_tune.unfreeze_from: got layer4, want ", tuning));
  for (const Recipe& base : ManyRecipes()) {
    Recipe full = *WithDefaults(base);
    ForEachOption(full, [&](const char* path, auto&, const auto& otherwise) {
      if (otherwise.only != nullptr) known.insert(path);
    });
  }
  EXPECT_EQ(tried, known);
}

TEST(ForEachOptionTest, PathsAndFieldsAreDistinct) {
  std::set<std::string> paths;
  std::set<const void*> fields;
  Recipe recipe;
  ForEachOption(recipe, [&](const char* path, auto& field, const auto&) {
    EXPECT_TRUE(paths.insert(path).second) << path;
    EXPECT_TRUE(fields.insert(&field).second) << path;
  });
  EXPECT_GT(paths.size(), 50u);
}

TEST(ForEachOptionTest, EveryDefaultIsInRange) {
  for (const Recipe& recipe : ManyRecipes()) EXPECT_TRUE(WithDefaults(recipe).ok());
}

TEST(CheckForLabelsTest, NamesWhatAMultiLabelDatasetDoesNotAllow) {
  Recipe recipe;
  EXPECT_TRUE(CheckForLabels(recipe, /*multi_label=*/true).ok());
  recipe.class_balance = ClassBalance::kSampling;
  EXPECT_TRUE(CheckForLabels(recipe, /*multi_label=*/false).ok());
  const absl::Status refused = CheckForLabels(recipe, /*multi_label=*/true);
  EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(refused.message()), testing::StartsWith("class_balance: got sampling, want"));
}

}  // namespace
}  // namespace graft

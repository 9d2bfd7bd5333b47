#include "server/jobs/recipe_proto.h"

#include <cstdint>
#include <limits>
#include <set>
#include <string>
#include <type_traits>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"
#include "tests/server/jobs/spec_fields.h"
#include "worker/base/status.h"
#include "worker/train/recipe_options.h"

namespace graft {
namespace {

using google::protobuf::FieldDescriptor;
using testing::ElementsAre;

template <typename T>
FieldDescriptor::CppType WantedType() {
  if (std::is_enum_v<T>) return FieldDescriptor::CPPTYPE_ENUM;
  if (std::is_same_v<T, bool>) return FieldDescriptor::CPPTYPE_BOOL;
  if (std::is_same_v<T, int>) return FieldDescriptor::CPPTYPE_INT32;
  return std::is_same_v<T, double> ? FieldDescriptor::CPPTYPE_DOUBLE : FieldDescriptor::CPPTYPE_STRING;
}

Recipe Defaults(const v1::JobSpec& spec) {
  absl::StatusOr<Recipe> recipe = WithDefaults(ToRecipe(spec));
  EXPECT_TRUE(recipe.ok()) << recipe.status() << "\n" << spec.DebugString();
  return recipe.ok() ? *std::move(recipe) : Recipe();
}

v1::JobSpec Effective(v1::JobSpec spec) {
  SetOptions(Defaults(spec), &spec);
  return spec;
}

v1::JobSpec Parse(const std::string& text) {
  v1::JobSpec spec;
  GRAFT_CHECK(google::protobuf::TextFormat::ParseFromString(text, &spec));
  return spec;
}

std::string Text(const v1::JobSpec& spec) { return spec.DebugString(); }

// All of a recipe but for what was chosen: two of the same training are equal.
std::string Values(Recipe recipe) {
  std::string text = absl::StrCat(static_cast<int>(recipe.strategy), " ", KeyOf(recipe.augment), "\n");
  ForEachOption(recipe, [&](const char* path, auto& field, const auto&) {
    using T = std::decay_t<decltype(field)>;
    absl::StrAppend(&text, path, " ");
    if constexpr (std::is_enum_v<T>) {
      absl::StrAppend(&text, static_cast<int>(field), "\n");
    } else if constexpr (std::is_same_v<T, std::string>) {
      absl::StrAppend(&text, field, "\n");
    } else {
      v1::EpochMetrics exact;  // prints a double so that it can be read back
      exact.set_seconds(static_cast<double>(field));
      absl::StrAppend(&text, exact.ShortDebugString(), "\n");
    }
  });
  return text;
}

TEST(RecipeProtoTest, EveryOptionIsAFieldOfItsType) {
  Recipe recipe;
  int options = 0;
  ForEachOption(recipe, [&](const char* path, auto& field, const auto&) {
    const FieldDescriptor* descriptor = SpecField(path);
    ASSERT_NE(descriptor, nullptr) << path;
    EXPECT_EQ(descriptor->cpp_type(), WantedType<std::decay_t<decltype(field)>>()) << path;
    EXPECT_FALSE(descriptor->is_repeated()) << path;
    ++options;
  });
  EXPECT_GT(options, 0);
}

TEST(RecipeProtoTest, EveryFieldIsAnOptionButWhatTheServerReads) {
  std::set<std::string> left = SpecPaths();
  Recipe recipe;
  ForEachOption(recipe, [&](const char* path, auto&, const auto&) { EXPECT_EQ(left.erase(path), 1u) << path; });
  EXPECT_THAT(left, ElementsAre("auto.backbones", "auto.budget_seconds", "backbone", "dataset", "dataset_version",
                                "input_px", "model", "seed", "strategy"));
}

TEST(RecipeProtoTest, NothingSetIsNothingChosen) {
  const Recipe recipe = ToRecipe(v1::JobSpec());
  EXPECT_TRUE(recipe.chosen.empty());
  EXPECT_EQ(Values(recipe), Values(Recipe()));
}

TEST(RecipeProtoTest, EmptyMessagesChooseNothing) {
  EXPECT_TRUE(ToRecipe(Parse("head {} optimizer {} augmentation {} early_stopping {}")).chosen.empty());
}

TEST(RecipeProtoTest, ChosenIsWhatIsSetAlsoToZero) {
  const Recipe recipe =
      ToRecipe(Parse("epochs: 3 optimizer { momentum: 0 nesterov: false } augmentation { views: 0 }"));
  EXPECT_THAT(recipe.chosen,
              ElementsAre("augmentation.views", "epochs", "optimizer.momentum", "optimizer.nesterov"));
  EXPECT_EQ(recipe.epochs, 3);
}

TEST(RecipeProtoTest, EnumerationsKeepTheirNumbersBothWays) {
  for (const std::string& path : SpecPaths(FieldDescriptor::CPPTYPE_ENUM)) {
    const google::protobuf::EnumDescriptor* type = SpecField(path)->enum_type();
    for (int i = 1; i < type->value_count() && path != "strategy"; ++i) {
      v1::JobSpec spec = Parse("strategy: STRATEGY_FROZEN_HEAD early_stopping { patience: 3 }");
      SetSpecEnum(path, type->value(i)->number(), &spec);
      EXPECT_EQ(SpecEnum(path, Effective(spec)), type->value(i)->number()) << type->value(i)->name();
    }
  }
}

TEST(RecipeProtoTest, StrategiesHaveTheirNames) {
  EXPECT_EQ(ToRecipe(Parse("strategy: STRATEGY_FROZEN_HEAD")).strategy, Strategy::kFrozenHead);
  EXPECT_EQ(ToRecipe(Parse("strategy: STRATEGY_FINE_TUNE")).strategy, Strategy::kFineTune);
  EXPECT_EQ(ToRecipe(Parse("strategy: STRATEGY_SCRATCH")).strategy, Strategy::kScratch);
  EXPECT_EQ(ToRecipe(Parse("strategy: STRATEGY_GRADUAL")).strategy, Strategy::kGradual);
}

TEST(RecipeProtoTest, AutoKeepsWhatIsChosenOfTheRest) {
  const Recipe recipe = ToRecipe(Parse("strategy: STRATEGY_AUTO epochs: 3 precision: PRECISION_FLOAT32"));
  EXPECT_EQ(recipe.epochs, 3);
  EXPECT_EQ(recipe.precision, Precision::kFloat32);
  EXPECT_THAT(recipe.chosen, ElementsAre("epochs", "precision"));
}

TEST(RecipeProtoTest, UnknownNumbersOfEnumerationsAreLeftOpen) {
  for (const std::string& path : SpecPaths(FieldDescriptor::CPPTYPE_ENUM)) {
    for (const int number : {99, -1, std::numeric_limits<int>::max(), std::numeric_limits<int>::min()}) {
      v1::JobSpec spec;
      SetSpecEnum(path, number, &spec);
      const Recipe recipe = ToRecipe(spec);
      EXPECT_TRUE(recipe.chosen.empty()) << path << " " << number;
      EXPECT_EQ(Values(recipe), Values(Recipe())) << path << " " << number;
    }
  }
}

// Specs of many kinds, each of them valid.
std::vector<v1::JobSpec> Specs() {
  const std::vector<std::string> strategies{
      "strategy: STRATEGY_FROZEN_HEAD", "strategy: STRATEGY_SCRATCH", "strategy: STRATEGY_FINE_TUNE",
      "strategy: STRATEGY_FINE_TUNE fine_tune { unfreeze_from: 'features.9' head_epochs: 4 }",
      "strategy: STRATEGY_GRADUAL", "strategy: STRATEGY_GRADUAL fine_tune { unfreeze_stages: 2 stage_decay: 0.7 }"};
  const std::vector<std::string> optimizers{
      "", "optimizer { momentum: 0 nesterov: false weight_decay: 0 }", "optimizer { type: OPTIMIZER_TYPE_ADAMW }",
      "optimizer { type: OPTIMIZER_TYPE_RMSPROP smoothing: 0.3333333333333333 } accumulate_batches: 3"};
  const std::vector<std::string> augmentations{
      "", "augmentation { preset: 'none' }", "augmentation { preset: 'keras' views: 0 rotation_degrees: 7 }",
      "augmentation { preset: 'rand-augment' rand_augment_ops: 3 rand_augment_magnitude: 15.5 }",
      "augmentation { preset: 'trivial-augment' erase: 0 views: 2 }",
      "augmentation { preset: 'light' crop_scale_min: 0.1 crop_scale_max: 0.9 }",
      "augmentation { horizontal_flip: 0.5 }"};
  const std::vector<std::string> others{
      "", "head { type: HEAD_TYPE_MLP } early_stopping { patience: 2 } class_balance: CLASS_BALANCE_SAMPLING",
      "head { type: HEAD_TYPE_COSINE dropout: 0.1 } schedule { type: SCHEDULE_TYPE_STEP step_epochs: 2.5 } "
      "regularization { label_smoothing: 0.1 ema_decay: 0.99 } precision: PRECISION_FLOAT32 evaluation { folds: 5 }",
      "learning_rate_finder { steps: 100 }", "learning_rate_finder { steps: 20 apply: false }",
      "learning_rate_finder { steps: 1000 } learning_rate: 0.02",
      "schedule { type: SCHEDULE_TYPE_ONE_CYCLE } checkpoint_seconds: 1 learning_rate: 0.1 epochs: 5 batch_size: 2"};
  std::vector<v1::JobSpec> specs;
  for (const std::string& strategy : strategies) {
    for (const std::string& optimizer : optimizers) {
      for (const std::string& augmentation : augmentations) {
        for (const std::string& other : others) {
          specs.push_back(Parse(absl::StrCat(strategy, " ", optimizer, " ", augmentation, " ", other)));
        }
      }
    }
  }
  specs.push_back(Parse("strategy: STRATEGY_FROZEN_HEAD optimizer { type: OPTIMIZER_TYPE_LBFGS history: 3 }"));
  specs.push_back(Parse("strategy: STRATEGY_FROZEN_HEAD head { type: HEAD_TYPE_LINEAR_SVM }"));
  return specs;
}

TEST(RecipeProtoTest, EffectiveSpecMeansTheSameTraining) {
  for (const v1::JobSpec& spec : Specs()) {
    const v1::JobSpec effective = Effective(spec);
    ASSERT_EQ(Values(Defaults(effective)), Values(Defaults(spec))) << Text(spec) << "\neffective:\n" << Text(effective);
  }
}

TEST(RecipeProtoTest, EffectiveSpecOfAnEffectiveSpecIsItself) {
  for (const v1::JobSpec& spec : Specs()) {
    const v1::JobSpec effective = Effective(spec);
    ASSERT_EQ(Text(Effective(effective)), Text(effective)) << Text(spec);
  }
}

TEST(RecipeProtoTest, EffectiveSpecKeepsWhatWasChosen) {
  for (const v1::JobSpec& spec : Specs()) {
    const v1::JobSpec effective = Effective(spec);
    v1::JobSpec chosen_again = effective;
    chosen_again.MergeFrom(spec);
    ASSERT_EQ(Text(chosen_again), Text(effective)) << Text(spec);
  }
}

TEST(RecipeProtoTest, OptionsThatDoNotApplyAreNotWritten) {
  const v1::JobSpec effective = Effective(Parse("strategy: STRATEGY_FROZEN_HEAD"));
  EXPECT_FALSE(effective.has_fine_tune());
  EXPECT_TRUE(effective.optimizer().has_momentum());
  EXPECT_FALSE(effective.optimizer().has_beta1());
  EXPECT_FALSE(effective.optimizer().has_smoothing());
  EXPECT_FALSE(effective.schedule().has_step_epochs());
  EXPECT_FALSE(effective.regularization().has_l2_sp());
  EXPECT_FALSE(effective.augmentation().has_views());
  EXPECT_FALSE(effective.early_stopping().has_holdout());
}

// Though the effective spec says a rate, it is still one that the finder may replace.
TEST(RecipeProtoTest, EffectiveSpecSaysWhetherTheFinderSetsTheRate) {
  const v1::JobSpec open = Effective(Parse("strategy: STRATEGY_FINE_TUNE learning_rate_finder { steps: 100 }"));
  EXPECT_EQ(open.learning_rate(), 5e-3);
  EXPECT_TRUE(open.learning_rate_finder().apply());
  EXPECT_TRUE(Defaults(open).rate_finder.apply);
  EXPECT_FALSE(Effective(Parse("strategy: STRATEGY_FROZEN_HEAD")).learning_rate_finder().has_apply());
}

TEST(RecipeProtoTest, PartsThatAPresetSaysAreWrittenOnlyWhenTheyWereChosen) {
  v1::JobSpec effective = Effective(Parse("strategy: STRATEGY_FROZEN_HEAD augmentation { preset: 'keras' zoom: 0.1 }"));
  EXPECT_EQ(Text(effective).find("rotation_degrees"), std::string::npos);
  EXPECT_EQ(effective.augmentation().zoom(), 0.1);
  const Recipe recipe = Defaults(effective);
  EXPECT_EQ(recipe.augment.rotation_degrees, AugmentPreset("keras")->rotation_degrees);
  EXPECT_EQ(recipe.augment.zoom, 0.1);
}

TEST(RecipeProtoTest, WritingLeavesOtherFieldsAlone) {
  v1::JobSpec spec = Parse("dataset: 'd' backbone: 'b' model: 'm' seed: 18446744073709551615 input_px: 96 "
                           "strategy: STRATEGY_SCRATCH");
  const v1::JobSpec effective = Effective(spec);
  EXPECT_EQ(effective.dataset(), "d");
  EXPECT_EQ(effective.backbone(), "b");
  EXPECT_EQ(effective.model(), "m");
  EXPECT_EQ(effective.seed(), std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(effective.input_px(), 96);
  EXPECT_EQ(effective.strategy(), v1::STRATEGY_SCRATCH);
}

}  // namespace
}  // namespace graft

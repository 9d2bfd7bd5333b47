#include "worker/train/phase.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/script_file.h"
#include "tests/support/tiny_backbone.h"

namespace graft {
namespace {

using testing::ElementsAre;

Recipe Full(Recipe recipe) {
  const auto full = WithDefaults(recipe);
  EXPECT_TRUE(full.ok()) << full.status();
  return full.ok() ? *full : Recipe();
}

Recipe Of(Strategy strategy) {
  Recipe recipe;
  recipe.strategy = strategy;
  return Full(recipe);
}

std::vector<Phase> Phases(const Recipe& recipe) {
  const auto phases = MakePhases(recipe, *TinyBackbone());
  EXPECT_TRUE(phases.ok()) << phases.status();
  return phases.ok() ? *phases : std::vector<Phase>();
}

std::string Refusal(const Recipe& recipe) {
  const absl::Status status = MakePhases(recipe, *TinyBackbone()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  return std::string(status.message());
}

std::vector<int> Splits(const std::vector<Phase>& phases) {
  std::vector<int> splits;
  for (const Phase& phase : phases) splits.push_back(phase.split_point);
  return splits;
}

std::vector<int> Epochs(const std::vector<Phase>& phases) {
  std::vector<int> epochs;
  for (const Phase& phase : phases) epochs.push_back(phase.epochs);
  return epochs;
}

// A recipe that says something of its own about all that a phase has.
Recipe Peculiar(Strategy strategy) {
  Recipe r;
  r.strategy = strategy;
  r.epochs = 5;
  r.batch_size = 8;
  r.accumulate_batches = 2;
  r.learning_rate = 0.5;
  r.rate_finder = {30, true};
  r.head_epochs = 7;
  r.unfreeze_stages = 2;
  r.stage_decay = 0.7;
  r.optimizer.kind = OptimizerKind::kAdamW;
  r.optimizer.beta1 = 0.8;
  r.weight_decay = 0.02;
  r.schedule.kind = ScheduleKind::kStep;
  r.schedule.step_epochs = 3;
  r.label_smoothing = 0.1;
  r.clip_norm = 1.5;
  r.l2_sp = 0.01;
  r.ema_decay = 0.99;
  r.mix.mixup_alpha = 0.2;
  r.augment.horizontal_flip = 0.5;
  r.augmented_views = 3;
  return r;
}

void ExpectPeculiar(const Phase& p) {
  EXPECT_EQ(p.epochs, 5);
  EXPECT_EQ(p.batch_size, 8);
  EXPECT_EQ(p.accumulate_batches, 2);
  EXPECT_EQ(p.head_learning_rate, 0.5);
  EXPECT_EQ(p.rate_finder.steps, 30);
  EXPECT_TRUE(p.rate_finder.apply);
  EXPECT_EQ(p.optimizer.kind, OptimizerKind::kAdamW);
  EXPECT_EQ(p.optimizer.beta1, 0.8);
  EXPECT_EQ(p.weight_decay, 0.02);
  EXPECT_EQ(p.schedule.kind, ScheduleKind::kStep);
  EXPECT_EQ(p.schedule.step_epochs, 3);
  EXPECT_EQ(p.label_smoothing, 0.1);
  EXPECT_EQ(p.clip_norm, 1.5);
  EXPECT_EQ(p.ema_decay, 0.99);
  EXPECT_EQ(p.mix.mixup_alpha, 0.2);
  EXPECT_EQ(p.augment.horizontal_flip, 0.5);
  EXPECT_EQ(p.augmented_views, 3);
}

// The phase before the backbone is touched: plain, whatever the recipe asks for the next one.
void ExpectHeadsOwn(const Phase& p) {
  EXPECT_EQ(p.name, "head");
  EXPECT_EQ(p.split_point, 14);
  EXPECT_EQ(p.epochs, 7);
  EXPECT_EQ(p.batch_size, 8);
  Phase plain;
  plain.split_point = 14;
  plain.epochs = 7;
  plain.batch_size = 8;
  plain.head_learning_rate = 1e-2;
  plain.weight_decay = 1e-2;
  plain.optimizer.momentum = 0.9;
  plain.schedule.kind = ScheduleKind::kCosine;
  EXPECT_EQ(KeyOf(p), KeyOf(plain));
}

TEST(MakePhasesTest, FrozenHeadIsOnePhaseOverAllStages) {
  const std::vector<Phase> phases = Phases(Peculiar(Strategy::kFrozenHead));
  ASSERT_EQ(phases.size(), 1u);
  EXPECT_EQ(phases[0].name, "head");
  EXPECT_EQ(phases[0].split_point, 14);
  EXPECT_EQ(phases[0].backbone_learning_rate, 0);
  EXPECT_EQ(phases[0].l2_sp, 0);
  EXPECT_EQ(phases[0].batch_norm, BatchNormPolicy::kEval);
  ExpectPeculiar(phases[0]);
}

TEST(MakePhasesTest, FineTuneTrainsTheHeadFirst) {
  const std::vector<Phase> phases = Phases(Peculiar(Strategy::kFineTune));
  ASSERT_EQ(phases.size(), 2u);
  ExpectHeadsOwn(phases[0]);
  EXPECT_EQ(phases[1].name, "fine-tune");
  EXPECT_EQ(phases[1].split_point, 11) << "pooling does not count as a stage to unfreeze";
  EXPECT_EQ(phases[1].backbone_learning_rate, 0.5);
  EXPECT_EQ(phases[1].stage_decay, 0.7);
  EXPECT_EQ(phases[1].l2_sp, 0.01);
  EXPECT_EQ(phases[1].batch_norm, BatchNormPolicy::kEval);
  ExpectPeculiar(phases[1]);
}

TEST(MakePhasesTest, ScratchTrainsEverythingAtOneRate) {
  const std::vector<Phase> phases = Phases(Peculiar(Strategy::kScratch));
  ASSERT_EQ(phases.size(), 1u);
  EXPECT_EQ(phases[0].name, "scratch");
  EXPECT_EQ(phases[0].split_point, 0);
  EXPECT_EQ(phases[0].backbone_learning_rate, 0.5);
  EXPECT_EQ(phases[0].stage_decay, 1);
  EXPECT_EQ(phases[0].l2_sp, 0) << "there are no pretrained weights";
  EXPECT_EQ(phases[0].batch_norm, BatchNormPolicy::kTrainUnfrozen);
  ExpectPeculiar(phases[0]);
}

TEST(MakePhasesTest, GradualUnfreezesOneStageMoreInEachPhase) {
  Recipe recipe = Peculiar(Strategy::kGradual);
  recipe.unfreeze_stages = 3;
  recipe.epochs = 10;
  std::vector<Phase> phases = Phases(recipe);
  ASSERT_EQ(phases.size(), 4u);
  ExpectHeadsOwn(phases[0]);
  EXPECT_THAT(Splits(phases), ElementsAre(14, 12, 11, 10));
  EXPECT_THAT(Epochs(phases), ElementsAre(7, 3, 3, 4)) << "what is left over goes to the last ones";
  for (size_t i = 1; i < phases.size(); ++i) {
    EXPECT_EQ(phases[i].name, "unfreeze-" + std::to_string(i));
    EXPECT_EQ(phases[i].backbone_learning_rate, 0.5);
    EXPECT_EQ(phases[i].stage_decay, 0.7);
    EXPECT_EQ(phases[i].l2_sp, 0.01);
    phases[i].epochs = 5;
    ExpectPeculiar(phases[i]);
  }
}

TEST(MakePhasesTest, GradualSharesOutItsEpochs) {
  Recipe recipe = Peculiar(Strategy::kGradual);
  recipe.unfreeze_stages = 3;
  for (const auto& [epochs, want] : std::vector<std::pair<int, std::vector<int>>>{
           {3, {7, 1, 1, 1}}, {5, {7, 1, 2, 2}}, {6, {7, 2, 2, 2}}, {7, {7, 2, 2, 3}}}) {
    recipe.epochs = epochs;
    EXPECT_EQ(Epochs(Phases(recipe)), want) << epochs;
  }
  recipe.epochs = 2;
  EXPECT_EQ(Refusal(recipe), "epochs: got 2, want at least 3, one for each stage that is unfrozen");
}

TEST(MakePhasesTest, AWarmUpIsShorterThanEveryPhase) {
  Recipe recipe = Peculiar(Strategy::kGradual);
  recipe.unfreeze_stages = 3;
  recipe.epochs = 10;
  recipe.schedule.warmup_epochs = 2.5;
  EXPECT_EQ(Phases(recipe).size(), 4u);
  recipe.schedule.warmup_epochs = 3;
  EXPECT_EQ(Refusal(recipe), "schedule.warmup_epochs: got 3, want less than 3, the epochs of phase unfreeze-1");
  recipe.strategy = Strategy::kFineTune;
  EXPECT_EQ(Phases(recipe).size(), 2u);
  recipe.head_epochs = 2;
  EXPECT_EQ(Phases(recipe).size(), 2u) << "the head's own phase has none";
  for (const Strategy strategy : {Strategy::kFrozenHead, Strategy::kFineTune, Strategy::kScratch}) {
    recipe = Peculiar(strategy);
    recipe.schedule.warmup_epochs = 5;
    EXPECT_THAT(Refusal(recipe), testing::StartsWith("schedule.warmup_epochs: got 5, want less than 5, the epochs"));
  }
}

TEST(MakePhasesTest, UnfreezesFromANamedStage) {
  Recipe recipe = Peculiar(Strategy::kFineTune);
  recipe.unfreeze_stages = 0;
  recipe.unfreeze_from = "features.9";
  EXPECT_THAT(Splits(Phases(recipe)), ElementsAre(14, 9));
  recipe.unfreeze_from = "features.0";
  EXPECT_THAT(Splits(Phases(recipe)), ElementsAre(14, 0));
  recipe.strategy = Strategy::kGradual;
  recipe.unfreeze_from = "features.11";
  EXPECT_THAT(Splits(Phases(recipe)), ElementsAre(14, 12, 11));
}

TEST(MakePhasesTest, AnUnknownStageIsAnsweredWithTheNames) {
  for (const Strategy strategy : {Strategy::kFineTune, Strategy::kGradual}) {
    Recipe recipe = Peculiar(strategy);
    for (const char* name : {"layer4", "avgpool"}) {  // pooling has nothing to train
      recipe.unfreeze_from = name;
      EXPECT_EQ(Refusal(recipe), std::string("fine_tune.unfreeze_from: got \"") + name +
                                     "\", want one of features.0, features.1, features.2, features.3, features.4, "
                                     "features.5, features.6, features.7, features.8, features.9, features.10, "
                                     "features.11, features.12");
    }
  }
}

TEST(MakePhasesTest, MoreStagesThanTheBackboneHasIsInvalidArgument) {
  Recipe recipe = Of(Strategy::kFineTune);
  recipe.unfreeze_stages = 13;
  EXPECT_THAT(Splits(Phases(recipe)), ElementsAre(14, 0));
  recipe.unfreeze_stages = 14;
  const std::string want = "fine_tune.unfreeze_stages: got 14, want 1 to 13, the stages of mobilenet_v3_small";
  EXPECT_EQ(Refusal(recipe), want);
  recipe.strategy = Strategy::kGradual;
  EXPECT_EQ(Refusal(recipe), want);
}

TEST(MakePhasesTest, DefaultsOfEachStrategyMakeSoundPhases) {
  EXPECT_THAT(Epochs(Phases(Of(Strategy::kFrozenHead))), ElementsAre(30));
  EXPECT_THAT(Splits(Phases(Of(Strategy::kFineTune))), ElementsAre(14, 10));
  EXPECT_THAT(Epochs(Phases(Of(Strategy::kFineTune))), ElementsAre(10, 10));
  EXPECT_THAT(Splits(Phases(Of(Strategy::kGradual))), ElementsAre(14, 12, 11, 10));
  EXPECT_THAT(Epochs(Phases(Of(Strategy::kGradual))), ElementsAre(10, 3, 3, 4));
  const std::vector<Phase> scratch = Phases(Of(Strategy::kScratch));
  EXPECT_THAT(Epochs(scratch), ElementsAre(30));
  EXPECT_EQ(scratch[0].optimizer.momentum, 0.9);
  EXPECT_EQ(scratch[0].weight_decay, 1e-4);
  EXPECT_EQ(scratch[0].augment, *AugmentPreset("light"));
}

TEST(MakePhasesTest, ABackboneThatStaysFrozenTakesOnlyAHead) {
  InstallScript(testing::TempDir(), "phase_test");
  const std::string manifest = R"({"feature_width": 3, "crop_px": 8})";
  const auto backbone = Backbone::LoadScript(testing::TempDir() + "/phase_test.pt", manifest, "mean_colour");
  ASSERT_TRUE(backbone.ok()) << backbone.status();
  EXPECT_TRUE(MakePhases(Of(Strategy::kFrozenHead), **backbone).ok());
  for (const Strategy strategy : {Strategy::kFineTune, Strategy::kGradual, Strategy::kScratch}) {
    const absl::Status status = MakePhases(Of(strategy), **backbone).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(status.message(), "backbone: mean_colour can only be used frozen; want strategy frozen-head");
  }
}

TEST(WithLearningRateTest, TheBackbonesRateKeepsItsRatio) {
  Phase phase;
  phase.head_learning_rate = 0.02;
  phase.backbone_learning_rate = 0.005;
  phase.stage_decay = 0.5;
  const Phase other = WithLearningRate(phase, 0.1);
  EXPECT_EQ(other.head_learning_rate, 0.1);
  EXPECT_DOUBLE_EQ(other.backbone_learning_rate, 0.025);
  EXPECT_EQ(other.stage_decay, 0.5);
  phase.backbone_learning_rate = phase.head_learning_rate;
  EXPECT_EQ(WithLearningRate(phase, 0.1).backbone_learning_rate, 0.1) << "exactly";
  phase.backbone_learning_rate = 0;
  EXPECT_EQ(WithLearningRate(phase, 0.1).backbone_learning_rate, 0);
}

TEST(LearningRateOfTest, EachStageWithParametersLearnsMoreSlowly) {
  Phase phase;
  phase.backbone_learning_rate = 0.8;
  phase.stage_decay = 0.5;
  const std::set<int> trained{2, 4, 5};  // 3 has no parameters
  EXPECT_DOUBLE_EQ(LearningRateOf(5, trained, phase), 0.8);
  EXPECT_DOUBLE_EQ(LearningRateOf(4, trained, phase), 0.4);
  EXPECT_DOUBLE_EQ(LearningRateOf(2, trained, phase), 0.2);
}

TEST(MakePhasesTest, FromScratchOnlyBatchNormLearnsStatistics) {
  Recipe recipe;
  recipe.strategy = Strategy::kScratch;
  const auto full = WithDefaults(recipe);
  ASSERT_TRUE(full.ok()) << full.status();
  for (const auto& [name, policy] : {std::pair("mobilenet_v3_small", BatchNormPolicy::kTrainUnfrozen),
                                     std::pair("small_convnet", BatchNormPolicy::kEval)}) {
    const auto backbone = Backbone::Untrained(name);
    ASSERT_TRUE(backbone.ok()) << backbone.status();
    const auto phases = MakePhases(*full, **backbone);
    ASSERT_TRUE(phases.ok()) << phases.status();
    EXPECT_EQ((*phases)[0].batch_norm, policy) << name;
  }
}

TEST(KeyOfTest, DiffersInEachFieldOfAPhase) {
  const std::vector<std::function<void(Phase*)>> changes = {
      [](Phase* p) { p->split_point = 3; },
      [](Phase* p) { p->epochs = 3; },
      [](Phase* p) { p->batch_size = 3; },
      [](Phase* p) { p->accumulate_batches = 3; },
      [](Phase* p) { p->head_learning_rate += 1e-12; },
      [](Phase* p) { p->backbone_learning_rate = 1e-12; },
      [](Phase* p) { p->stage_decay = 0.5; },
      [](Phase* p) { p->rate_finder.steps = 20; },
      [](Phase* p) { p->rate_finder.apply = true; },
      [](Phase* p) { p->optimizer.kind = OptimizerKind::kLbfgs; },
      [](Phase* p) { p->optimizer.momentum = 0.8; },
      [](Phase* p) { p->optimizer.nesterov = true; },
      [](Phase* p) { p->optimizer.beta1 = 0.8; },
      [](Phase* p) { p->optimizer.beta2 = 0.8; },
      [](Phase* p) { p->optimizer.smoothing = 0.8; },
      [](Phase* p) { p->optimizer.epsilon = 1e-7; },
      [](Phase* p) { p->optimizer.history = 3; },
      [](Phase* p) { p->weight_decay = 1e-3; },
      [](Phase* p) { p->schedule.kind = ScheduleKind::kOneCycle; },
      [](Phase* p) { p->schedule.warmup_epochs = 0.5; },
      [](Phase* p) { p->schedule.step_epochs = 3; },
      [](Phase* p) { p->schedule.step_factor = 0.2; },
      [](Phase* p) { p->schedule.peak_fraction = 0.2; },
      [](Phase* p) { p->schedule.start_factor = 0.2; },
      [](Phase* p) { p->schedule.end_factor = 0.2; },
      [](Phase* p) { p->label_smoothing = 0.1; },
      [](Phase* p) { p->clip_norm = 1; },
      [](Phase* p) { p->l2_sp = 0.1; },
      [](Phase* p) { p->ema_decay = 0.9; },
      [](Phase* p) { p->mix.mixup_alpha = 0.2; },
      [](Phase* p) { p->mix.cutmix_alpha = 0.2; },
      [](Phase* p) { p->augment.erase = 0.2; },
      [](Phase* p) { p->augmented_views = 3; },
      [](Phase* p) { p->batch_norm = BatchNormPolicy::kTrainUnfrozen; },
  };
  std::set<std::string> keys{KeyOf(Phase())};
  EXPECT_EQ(*keys.begin(), KeyOf(Phase()));
  for (size_t i = 0; i < changes.size(); ++i) {
    Phase phase;
    changes[i](&phase);
    EXPECT_TRUE(keys.insert(KeyOf(phase)).second) << "change " << i;
  }
}

}  // namespace
}  // namespace graft

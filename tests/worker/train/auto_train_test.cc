#include "worker/train/auto_train.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/support/pictures.h"
#include "tests/support/tiny_backbone.h"
#include "tests/worker/train/trainer_fixture.h"
#include "worker/base/clock.h"
#include "worker/base/status.h"
#include "worker/device/threads.h"

namespace graft {
namespace {

using testing::Contains;
using testing::Each;
using testing::EndsWith;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using testing::StartsWith;

// A convolution of zeros comes first: all pictures have the same features.
std::shared_ptr<const Backbone> BlindBackbone() {
  static const auto* const made = new std::shared_ptr<const Backbone>([] {
    SafeTensors file = TinyWeights();
    file.tensors.at("features.0.0.weight").zero_();
    const auto created = Backbone::Create(file, "blind");
    GRAFT_CHECK(created.ok());
    return *created;
  }());
  return *made;
}

// Trainings take an epoch or two, on pictures of 32 px; the budget is of no matter.
AutoOptions SmallOptions(std::vector<std::string> backbones) {
  AutoOptions options;
  options.backbones = std::move(backbones);
  options.load = [](const std::string& name) -> absl::StatusOr<std::shared_ptr<const Backbone>> {
    if (name == "blind") return BlindBackbone();
    if (name == "seeing") return TinyBackbone();
    if (name == "lost") return absl::NotFoundError("lost: no such file");
    return absl::FailedPreconditionError(absl::StrCat(name, ": its file is another one now"));
  };
  options.input_px = 32;
  options.recipe.epochs = 2;
  options.recipe.batch_size = 8;
  options.recipe.precision = Precision::kFloat32;
  options.recipe.chosen = {"epochs", "batch_size", "precision"};
  options.budget_seconds = 3600;
  options.train.seed = 3;
  return options;
}

// No time for any training but a first frozen head, nor for a second backbone.
AutoOptions HurriedOptions(std::vector<std::string> backbones) {
  AutoOptions options = SmallOptions(std::move(backbones));
  options.budget_seconds = 1e-3;
  return options;
}

// With an option that only fine-tuning has.
AutoOptions OnlyFineTuning(AutoOptions options) {
  options.recipe.head_epochs = 1;
  options.recipe.chosen.insert("fine_tune.head_epochs");
  return options;
}

absl::StatusOr<AutoChoice> Choose(const AutoOptions& options, const Dataset& data, TrainObserver* observer,
                                  const CancelToken& cancel = CancelToken()) {
  WorkerPool pool({2, 0, "test", UseOneIntraOpThread});
  return ChooseTraining(options, data, &pool, observer, cancel);
}

absl::StatusOr<AutoChoice> Choose(const AutoOptions& options, const Dataset& data) {
  RecordingObserver observer;
  return Choose(options, data, &observer);
}

std::vector<TriedTraining> ChosenOf(const AutoReport& report) {
  std::vector<TriedTraining> chosen;
  std::copy_if(report.trainings.begin(), report.trainings.end(), std::back_inserter(chosen),
               [](const TriedTraining& t) { return t.chosen; });
  return chosen;
}

bool Tunes(const TriedTraining& training) { return absl::StartsWith(training.what, "fine-tune"); }

// Answers progress of `activity` with `error`, and keeps what it is told after that.
class RefusingObserver : public RecordingObserver {
 public:
  RefusingObserver(std::string activity, absl::Status error)
      : activity_(std::move(activity)), error_(std::move(error)) {}
  absl::Status OnProgress(const Progress& progress) override {
    if (refused) told_after.push_back(progress.activity);
    if (progress.activity != activity_) return absl::OkStatus();
    refused = true;
    return error_;
  }

  bool refused = false;
  std::vector<std::string> told_after;

 private:
  const std::string activity_;
  const absl::Status error_;
};

// Codes that a backbone or a training may fail with and be left out, and one that ends it anyhow.
const absl::Status kObserverErrors[] = {absl::FailedPreconditionError("seen"), absl::InvalidArgumentError("seen"),
                                        absl::NotFoundError("seen"), absl::AbortedError("seen")};

TEST(ChooseTrainingTest, TheBackboneWithTheSmallerLogLossIsChosen) {
  AutoOptions options = SmallOptions({"blind", "seeing"});
  options.recipe.epochs = 1;
  const auto choice = Choose(options, ColourDataset(2, 10, 2));
  ASSERT_TRUE(choice.ok()) << choice.status();
  EXPECT_EQ(choice->backbone, TinyBackbone());
  const auto& ranked = choice->report.backbones;
  ASSERT_THAT(ranked, SizeIs(2));
  EXPECT_EQ(ranked[0].name, "seeing") << "best first, though it was measured last";
  EXPECT_EQ(ranked[1].name, "blind");
  EXPECT_LT(ranked[0].log_loss, 0.5 * ranked[1].log_loss);
  EXPECT_GT(ranked[1].log_loss, 0.5) << "constant features: about log 2";
  EXPECT_GE(ranked[0].accuracy, 0.9);
  EXPECT_LE(ranked[1].accuracy, 0.7);
  EXPECT_GT(ranked[0].log_me, ranked[1].log_me);
  EXPECT_GT(ranked[0].seconds, 0);
  EXPECT_THAT(choice->report.trainings, Each(Field(&TriedTraining::backbone, TinyBackbone()->name())));
}

TEST(ChooseTrainingTest, ABackboneThatDoesNotLoadIsLeftOutAndNamed) {
  const auto choice = Choose(HurriedOptions({"changed", "lost", "seeing"}), ColourDataset(2, 5, 1));
  ASSERT_TRUE(choice.ok()) << choice.status();
  EXPECT_EQ(choice->backbone, TinyBackbone());
  ASSERT_THAT(choice->report.backbones, SizeIs(1));
  EXPECT_EQ(choice->report.backbones[0].name, "seeing");
  EXPECT_THAT(choice->report.reasons, Contains("Left out changed: changed: its file is another one now."));
  EXPECT_THAT(choice->report.reasons, Contains("Left out lost: lost: no such file."));
}

TEST(ChooseTrainingTest, WhenNoBackboneLoadsItsErrorComesBack) {
  const Dataset data = ColourDataset(2, 5, 1);
  const absl::Status one = Choose(SmallOptions({"changed"}), data).status();
  EXPECT_EQ(one.code(), absl::StatusCode::kFailedPrecondition) << one;
  EXPECT_EQ(one.message(), "changed: its file is another one now");
  const absl::Status last = Choose(SmallOptions({"changed", "lost"}), data).status();
  EXPECT_EQ(last.code(), absl::StatusCode::kNotFound) << last;
}

TEST(ChooseTrainingTest, AnErrorThatIsNotTheBackbonesOwnEndsIt) {
  AutoOptions options = SmallOptions({"a", "seeing"});
  options.load = [](const std::string& name) -> absl::StatusOr<std::shared_ptr<const Backbone>> {
    if (name == "seeing") return TinyBackbone();
    return absl::ResourceExhaustedError("out of memory");
  };
  EXPECT_EQ(Choose(options, ColourDataset(2, 5, 1)).status(), absl::ResourceExhaustedError("out of memory"));
}

TEST(ChooseTrainingTest, AnErrorOfTheObserverEndsTheRanking) {
  const Dataset data = ColourDataset(2, 5, 1);
  for (const absl::Status& error : kObserverErrors) {
    RefusingObserver observer("auto: features of blind", error);
    EXPECT_EQ(Choose(HurriedOptions({"blind", "seeing"}), data, &observer).status(), error);
    EXPECT_TRUE(observer.refused);
    EXPECT_THAT(observer.told_after, IsEmpty());
  }
}

TEST(ChooseTrainingTest, AnErrorOfTheObserverEndsTheFirstTrial) {
  const Dataset data = ColourDataset(2, 5, 1);
  for (const absl::Status& error : kObserverErrors) {
    RefusingObserver observer("auto: features", error);
    EXPECT_EQ(Choose(HurriedOptions({"seeing"}), data, &observer).status(), error);
    EXPECT_TRUE(observer.refused);
    EXPECT_THAT(observer.told_after, IsEmpty());
  }
}

TEST(ChooseTrainingTest, WithoutTimeOnlyTheFirstFrozenHeadIsTried) {
  const auto choice = Choose(HurriedOptions({"blind", "seeing"}), ColourDataset(2, 5, 1));
  ASSERT_TRUE(choice.ok()) << choice.status();
  EXPECT_THAT(choice->report.backbones, SizeIs(1)) << "one is always measured";
  EXPECT_THAT(choice->report.reasons, Contains(HasSubstr("for want of time: 1 of 2 backbones")));
  const auto& trainings = choice->report.trainings;
  ASSERT_THAT(trainings, SizeIs(5));
  EXPECT_TRUE(trainings[0].accuracy.has_value());
  EXPECT_TRUE(trainings[0].chosen);
  for (size_t i = 1; i < trainings.size(); ++i) {
    EXPECT_FALSE(trainings[i].accuracy.has_value()) << trainings[i].what;
    EXPECT_EQ(trainings[i].seconds, 0) << trainings[i].what;
    EXPECT_THAT(choice->report.reasons, Contains(StartsWith(absl::StrCat("Not tried: ", trainings[i].what))));
  }
  EXPECT_EQ(choice->recipe.strategy, Strategy::kFrozenHead);
}

// Each picture that is read takes a second.
Dataset WithSlowPictures(Dataset data, FakeClock* clock) {
  data.read = [clock, read = data.read](const std::string& id) {
    clock->Advance(absl::Seconds(1));
    return read(id);
  };
  return data;
}

// Of fine-tunings that read 16 pictures in each epoch; ranking reads 20, and what comes before the epochs 20.
AutoOptions SlowOptions(const Clock* clock) {
  AutoOptions options = OnlyFineTuning(SmallOptions({"seeing"}));
  options.recipe.augmented_views = 0;
  options.recipe.chosen.insert("augmentation.views");
  options.recipe.chosen.erase("epochs");
  options.budget_seconds = 360;
  options.clock = clock;
  return options;
}

TEST(ChooseTrainingTest, ATrainingThatIsLongerThanItsShareIsShortened) {
  FakeClock clock;
  const absl::Time began = clock.Now();
  const auto choice = Choose(SlowOptions(&clock), WithSlowPictures(ColourDataset(2, 10, 2), &clock));
  ASSERT_TRUE(choice.ok()) << choice.status();
  const auto& trainings = choice->report.trainings;
  ASSERT_THAT(trainings, SizeIs(2));
  for (const TriedTraining& training : trainings) {
    ASSERT_TRUE(training.accuracy.has_value()) << training.what;
    EXPECT_EQ(*training.accuracy * 4, std::round(*training.accuracy * 4)) << "four are held out";
    EXPECT_THAT(training.what, HasSubstr(" of 10 epochs"));
    EXPECT_NEAR(training.seconds, 96, 24) << "(360 - 20) / (1.5 + 2), and what was left / (1.5 + 1)";
  }
  EXPECT_THAT(choice->report.reasons, Contains(StartsWith("Shortened fine-tune")).Times(2));
  EXPECT_GE(choice->recipe.epochs, 2);
  EXPECT_LE(choice->recipe.epochs, 6);
  EXPECT_THAT(ChosenOf(choice->report)[0].what, HasSubstr(absl::StrCat(", ", choice->recipe.epochs, " of 10 epochs")));
  EXPECT_GE(360 - absl::ToDoubleSeconds(clock.Now() - began), 1.5 * ChosenOf(choice->report)[0].seconds - 24)
      << "is left for the final training";
}

TEST(ChooseTrainingTest, WhoAsksForEpochsGetsNoFewer) {
  FakeClock clock;
  AutoOptions options = SlowOptions(&clock);
  options.recipe.epochs = 10;
  options.recipe.chosen.insert("epochs");
  const auto choice = Choose(options, WithSlowPictures(ColourDataset(2, 10, 2), &clock));
  ASSERT_TRUE(choice.ok()) << choice.status();
  for (const TriedTraining& training : choice->report.trainings) {
    EXPECT_FALSE(training.accuracy.has_value()) << training.what;
    EXPECT_GT(training.seconds, 0) << training.what;
  }
  EXPECT_THAT(choice->report.reasons, Contains(StartsWith("Stopped fine-tune")).Times(2));
  EXPECT_EQ(choice->recipe.epochs, 10);
  EXPECT_TRUE(choice->report.trainings[0].chosen);
}

TEST(ChooseTrainingTest, ABackboneThatTakesTooLongIsLeftOut) {
  FakeClock clock;
  AutoOptions options = SmallOptions({"blind", "seeing"});
  options.budget_seconds = 75;  // of which 30 for ranking, and 20 for each backbone
  options.clock = &clock;
  const auto choice = Choose(options, WithSlowPictures(ColourDataset(2, 10, 2), &clock));
  ASSERT_TRUE(choice.ok()) << choice.status();
  EXPECT_THAT(choice->report.backbones, SizeIs(1));
  EXPECT_EQ(choice->report.backbones[0].seconds, 20);
  EXPECT_THAT(choice->report.reasons, Contains(HasSubstr("for want of time: 1 of 2 backbones")));
}

TEST(ChooseTrainingTest, WithTimeAllAreTriedOneIsChosenAndItsRecipeComesBack) {
  RecordingObserver observer;
  const auto choice = Choose(SmallOptions({"seeing"}), ColourDataset(2, 10, 2), &observer);
  ASSERT_TRUE(choice.ok()) << choice.status();
  const auto& trainings = choice->report.trainings;
  ASSERT_THAT(trainings, SizeIs(5));
  EXPECT_EQ(std::count_if(trainings.begin(), trainings.end(), Tunes), 2);
  for (const TriedTraining& training : trainings) {
    ASSERT_TRUE(training.accuracy.has_value()) << training.what;
    EXPECT_GT(training.seconds, 0) << training.what;
    // Four pictures are held out: a quarter's multiples.
    EXPECT_EQ(*training.accuracy * 4, std::round(*training.accuracy * 4)) << training.what;
    EXPECT_GE(training.standard_error, 0);
  }
  const std::vector<TriedTraining> chosen = ChosenOf(choice->report);
  ASSERT_THAT(chosen, SizeIs(1));
  EXPECT_EQ(choice->recipe.strategy, Tunes(chosen[0]) ? Strategy::kFineTune : Strategy::kFrozenHead);
  EXPECT_THAT(chosen[0].what, HasSubstr(OptimizerName(choice->recipe.optimizer.kind)));
  EXPECT_EQ(choice->recipe.epochs, 2) << "the user's";
  EXPECT_TRUE(WithDefaults(choice->recipe).ok()) << "what it says applies to its strategy";
  EXPECT_THAT(choice->report.reasons, Contains(StartsWith(absl::StrCat("Chosen: ", chosen[0].what))));
  // The job's own phases, epochs and states come later.
  EXPECT_THAT(observer.progress, Each(Field(&Progress::activity, StartsWith("auto: "))));
  EXPECT_THAT(observer.progress, Not(IsEmpty()));
  EXPECT_THAT(observer.phases, IsEmpty());
  EXPECT_THAT(observer.epochs, IsEmpty());
  EXPECT_THAT(observer.states, IsEmpty());
  EXPECT_THAT(observer.warnings, IsEmpty());
}

TEST(ChooseTrainingTest, AnOptionOfFineTuningLeavesNoFrozenHead) {
  const AutoOptions options = OnlyFineTuning(SmallOptions({"seeing"}));
  const auto choice = Choose(options, ColourDataset(2, 5, 1));
  ASSERT_TRUE(choice.ok()) << choice.status();
  EXPECT_EQ(choice->recipe.strategy, Strategy::kFineTune);
  EXPECT_EQ(choice->recipe.head_epochs, 1);
  EXPECT_TRUE(std::all_of(choice->report.trainings.begin(), choice->report.trainings.end(), Tunes));
}

TEST(ChooseTrainingTest, WithoutTimeForAnyTheFirstIsChosenUntried) {
  const AutoOptions options = OnlyFineTuning(HurriedOptions({"seeing"}));
  const auto choice = Choose(options, ColourDataset(2, 5, 1));
  ASSERT_TRUE(choice.ok()) << choice.status();
  EXPECT_EQ(choice->recipe.strategy, Strategy::kFineTune);
  EXPECT_TRUE(choice->report.trainings[0].chosen);
  EXPECT_FALSE(choice->report.trainings[0].accuracy.has_value());
  EXPECT_THAT(ChosenOf(choice->report), SizeIs(1));
  EXPECT_THAT(choice->report.reasons, Contains(HasSubstr("no time to compare any")));
}

TEST(ChooseTrainingTest, WhatEarlyStoppingHoldsOutIsSaid) {
  for (const bool stops : {false, true}) {
    AutoOptions options = HurriedOptions({"seeing"});
    options.recipe.early_stopping.patience = stops ? 1 : 0;
    options.recipe.chosen.insert("early_stopping.patience");
    const auto choice = Choose(options, ColourDataset(2, 10, 1));
    ASSERT_TRUE(choice.ok()) << choice.status();
    const char* const end = stops ? "training pictures, but for what early stopping holds out." : "training pictures.";
    EXPECT_THAT(choice->report.reasons.back(), EndsWith(end));
  }
}

// The weights grow from step to step until they overflow.
TEST(ChooseTrainingTest, WhatWasTriedInVainIsNotChosen) {
  AutoOptions options = OnlyFineTuning(SmallOptions({"seeing"}));
  Recipe& recipe = options.recipe;
  recipe.epochs = 400;
  recipe.unfreeze_stages = 1;
  recipe.optimizer.kind = OptimizerKind::kSgd;
  recipe.learning_rate = 10;
  recipe.weight_decay = 0.5;
  recipe.schedule.kind = ScheduleKind::kConstant;
  recipe.chosen.insert({"fine_tune.unfreeze_stages", "optimizer.type", "learning_rate", "optimizer.weight_decay",
                        "schedule.type"});
  RecordingObserver observer;
  const absl::Status status = Choose(options, ColourDataset(2, 5, 1), &observer).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_THAT(std::string(status.message()), StartsWith("auto: Tried in vain: fine-tune the last 1 stages"));
  const auto filled = std::count_if(observer.progress.begin(), observer.progress.end(),
                                    [](const Progress& p) { return p.activity == "auto: features"; });
  EXPECT_EQ(filled, 2) << "in both phases of the training";
}

TEST(ChooseTrainingTest, WhatTheUserChoseMakesNoTrainingTwice) {
  AutoOptions options = HurriedOptions({"seeing"});
  options.recipe.head.type = HeadType::kMlp;
  options.recipe.chosen.insert("head.type");
  const auto choice = Choose(options, ColourDataset(2, 5, 1));
  ASSERT_TRUE(choice.ok()) << choice.status();
  std::set<std::string> what;
  for (const TriedTraining& training : choice->report.trainings) {
    EXPECT_TRUE(what.insert(training.what).second) << training.what;
    if (Tunes(training)) continue;
    EXPECT_THAT(training.what, HasSubstr(std::string(HeadTypeName(HeadType::kMlp))));
  }
  EXPECT_THAT(what, Not(IsEmpty()));
  EXPECT_EQ(choice->recipe.head.type, HeadType::kMlp);
}

// Of a loss with noise no line search is made.
TEST(ChooseTrainingTest, BalancedSamplingLeavesLbfgsOut) {
  AutoOptions options = HurriedOptions({"seeing"});
  options.recipe.class_balance = ClassBalance::kSampling;
  options.recipe.chosen.insert("class_balance");
  const auto choice = Choose(options, ColourDataset(2, 5, 1));
  ASSERT_TRUE(choice.ok()) << choice.status();
  EXPECT_THAT(choice->report.trainings, SizeIs(4));
  EXPECT_THAT(choice->report.trainings, Each(Field(&TriedTraining::what, Not(HasSubstr("lbfgs")))));
}

TEST(ChooseTrainingTest, AFinderGoesWithEveryTrainingThatHasARate) {
  for (const bool chosen : {false, true}) {
    AutoOptions options = SmallOptions({"seeing"});
    options.recipe.epochs = 1;
    options.recipe.rate_finder.steps = 20;
    options.recipe.unfreeze_stages = 1;
    options.recipe.learning_rate = 1e-3;
    options.recipe.chosen.insert({"learning_rate_finder.steps", "fine_tune.unfreeze_stages"});
    if (chosen) options.recipe.chosen.insert("learning_rate");
    RecordingObserver observer;
    const auto choice = Choose(options, ColourDataset(2, 5, 1), &observer);
    ASSERT_TRUE(choice.ok()) << choice.status();
    const auto& trainings = choice->report.trainings;
    EXPECT_THAT(trainings, Each(Field(&TriedTraining::what, Not(HasSubstr("lbfgs")))));
    EXPECT_EQ(choice->recipe.rate_finder.steps, 20);
    EXPECT_EQ(choice->recipe.rate_finder.apply, !chosen);
    const auto tuned = std::find_if(trainings.begin(), trainings.end(), Tunes);
    ASSERT_NE(tuned, trainings.end());
    EXPECT_THAT(tuned->what, HasSubstr(chosen ? " at 0.001," : " at the rate that its finder suggests,"));
    EXPECT_THAT(observer.rates, IsEmpty()) << "of trainings that are tried, only progress is told";
  }
}

TEST(ChooseTrainingTest, TheValidationSplitIsNotRead) {
  Dataset data = ColourDataset(2, 5, 2, /*test=*/2);
  const auto read = data.read;
  data.read = [read](const std::string& id) -> absl::StatusOr<std::string> {
    if (!absl::StartsWith(id, "train-")) return absl::DataLossError(absl::StrCat(id, " was read"));
    return read(id);
  };
  const auto choice = Choose(SmallOptions({"seeing"}), data);
  ASSERT_TRUE(choice.ok()) << choice.status();
  EXPECT_THAT(choice->report.reasons, Not(Contains(HasSubstr("was read"))));
}

TEST(ChooseTrainingTest, ADamagedTrainingPictureEndsIt) {
  Dataset data = ColourDataset(2, 5, 1);
  data.read = [](const std::string&) -> absl::StatusOr<std::string> { return absl::DataLossError("damaged"); };
  EXPECT_EQ(Choose(HurriedOptions({"seeing"}), data).status().code(), absl::StatusCode::kDataLoss);
}

TEST(ChooseTrainingTest, CancelEndsIt) {
  CancelToken cancel;
  Dataset data = ColourDataset(2, 5, 1);
  data.read = [cancel, read = data.read](const std::string& id) {
    CancelToken(cancel).Stop(StopReason::kCancelled);
    return read(id);
  };
  RecordingObserver observer;
  const absl::Status status = Choose(SmallOptions({"seeing"}), data, &observer, cancel).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled) << status;
}

TEST(ChooseTrainingTest, OnePictureAClassIsTooFew) {
  const absl::Status status = Choose(HurriedOptions({"seeing"}), ColourDataset(2, 1, 1)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_THAT(status.message(), HasSubstr("one training picture"));
}

TEST(ChooseTrainingTest, TwoPicturesAClassAreEnough) {
  const auto choice = Choose(HurriedOptions({"seeing"}), ColourDataset(2, 2, 1));
  ASSERT_TRUE(choice.ok()) << choice.status();
  EXPECT_THAT(ChosenOf(choice->report), SizeIs(1));
}

TEST(ChooseTrainingTest, ARecipeThatFitsNoTrainingIsRefused) {
  AutoOptions options = HurriedOptions({"seeing"});
  options.recipe.epochs = 0;
  const absl::Status status = Choose(options, ColourDataset(2, 5, 1)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_THAT(status.message(), HasSubstr("epochs: got 0, want"));
}

TEST(ChooseTrainingTest, WhatAMultiLabelDatasetDoesNotAllowIsRefusedAtOnce) {
  AutoOptions options = SmallOptions({"seeing"});
  options.recipe.class_balance = ClassBalance::kSampling;
  options.recipe.chosen.insert("class_balance");
  RecordingObserver observer;
  const absl::Status status = Choose(options, LightsDataset(2, 1), &observer).status();
  EXPECT_EQ(status, CheckForLabels(ClassBalance::kSampling, true));
  EXPECT_THAT(observer.progress, IsEmpty());
}

TEST(ChooseTrainingTest, AMultiLabelDatasetIsTriedOnPicturesOfAllClasses) {
  AutoOptions options = SmallOptions({"blind", "seeing"});
  options.recipe.epochs = 8;
  const auto choice = Choose(options, LightsDataset(5, 1));
  ASSERT_TRUE(choice.ok()) << choice.status();
  EXPECT_EQ(choice->backbone, TinyBackbone());
  ASSERT_THAT(choice->report.backbones, SizeIs(2));
  EXPECT_LT(choice->report.backbones[0].log_loss, 0.7 * choice->report.backbones[1].log_loss);
  EXPECT_NEAR(choice->report.backbones[1].log_loss, std::log(2.0), 0.05) << "constant features, half of each class";
  EXPECT_GT(choice->report.backbones[0].log_me, choice->report.backbones[1].log_me);
  EXPECT_THAT(choice->report.trainings, SizeIs(5));
  const std::vector<TriedTraining> chosen = ChosenOf(choice->report);
  ASSERT_THAT(chosen, SizeIs(1));
  EXPECT_GE(*chosen[0].accuracy, 0.6) << "exact matches";
}

}  // namespace
}  // namespace graft

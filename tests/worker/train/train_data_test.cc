#include "worker/train/train_data.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <memory>
#include <mutex>
#include <numeric>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/worker/train/trainer_fixture.h"

namespace graft {
namespace {

using testing::UnorderedElementsAreArray;

Phase Augmented(Phase phase, int views) {
  phase.augment = *AugmentPreset("crop-flip");
  phase.augmented_views = views;
  return phase;
}

class TrainDataTest : public testing::Test {
 protected:
  TrainDataTest() {
    counted_ = data_;
    counted_.read = [this](const std::string& id) {
      const std::lock_guard<std::mutex> lock(mu_);
      reads_.insert(id);
      return data_.read(id);
    };
  }
  TrainData::Options Options(std::vector<Phase> phases) {
    TrainData::Options options;
    options.backbone = TinyBackbone();
    options.preprocessing = *TinyBackbone()->PreprocessingFor(64);
    options.phases = std::move(phases);
    options.seed = 3;
    options.pool = &pool_;
    return options;
  }
  TrainData::Phased Enter(TrainData* data, int phase) {
    progress_.clear();
    auto phased = data->Enter(phase, CancelToken(), [this](int64_t done, int64_t total) {
      progress_.push_back({done, total});
      return absl::OkStatus();
    });
    GRAFT_CHECK(phased.ok());
    return *phased;
  }
  static at::Tensor AllRows(const Activations& activations, int64_t view = 0) {
    std::vector<int64_t> all(activations.size());
    std::iota(all.begin(), all.end(), 0);
    auto rows = activations.Gather(all.data(), activations.size(), view);
    GRAFT_CHECK(rows.ok());
    return *std::move(rows);
  }
  // Straight from the pictures.
  at::Tensor Direct(const std::vector<Example>& examples, int split_point) {
    Activations::Options options;
    options.backbone = TinyBackbone();
    options.preprocessing = *TinyBackbone()->PreprocessingFor(64);
    options.split_point = split_point;
    return AllRows(Activations(options, &examples, data_.read));
  }
  // How often pictures were read of which nothing is known to be read once more (the first shows the shape of a row).
  int64_t Reads(const std::vector<Example>& examples) {
    int64_t reads = 0;
    for (size_t i = 1; i < examples.size(); ++i) reads += static_cast<int64_t>(reads_.count(examples[i].id));
    return reads;
  }

  const Dataset data_ = ColourDataset(2, 6, 3, 2);
  Dataset counted_;
  std::mutex mu_;
  std::multiset<std::string> reads_;
  std::vector<std::pair<int64_t, int64_t>> progress_;
  WorkerPool pool_{{2, 0, "test", UseOneIntraOpThread}};
};

TEST_F(TrainDataTest, TheHoldoutIsAStratifiedPartOfTraining) {
  TrainData::Options options = Options({HeadPhase(1)});
  options.holdout = 1.0 / 3;
  const TrainData data(options, data_);
  ASSERT_EQ(data.held_out().size(), 4u);
  int of_class[2] = {0, 0};
  std::vector<std::string> both, want;
  for (const Example& example : data.held_out()) {
    ++of_class[example.label];
    both.push_back(example.id);
  }
  EXPECT_EQ(of_class[0], 2);
  EXPECT_EQ(of_class[1], 2);
  for (const Example& example : data.train()) both.push_back(example.id);
  for (const Example& example : data_.train) want.push_back(example.id);
  EXPECT_THAT(both, UnorderedElementsAreArray(want)) << "each picture is in one of them";
  options.seed = 4;
  const TrainData other(options, data_);
  std::set<std::string> first, second;
  for (const Example& example : data.held_out()) first.insert(example.id);
  for (const Example& example : other.held_out()) second.insert(example.id);
  EXPECT_NE(first, second) << "the seed chooses";
}

TEST_F(TrainDataTest, WithoutAHoldoutAllAreTrainedOn) {
  TrainData data(Options({HeadPhase(1)}), data_);
  EXPECT_EQ(data.train().size(), 12u);
  EXPECT_TRUE(data.held_out().empty());
  EXPECT_EQ(Enter(&data, 0).held_out, nullptr);
}

TEST_F(TrainDataTest, EverySplitIsThePhasesPrefixOfItsPictures) {
  TrainData::Options options = Options({HeadPhase(1), TunePhase(1)});
  options.holdout = 1.0 / 3;
  TrainData data(options, data_);
  for (const int phase : {0, 1}) {
    const int split_point = options.phases[phase].split_point;
    const TrainData::Phased phased = Enter(&data, phase);
    EXPECT_TRUE(at::equal(AllRows(*phased.train), Direct(data.train(), split_point))) << phase;
    EXPECT_TRUE(at::equal(AllRows(*phased.validation), Direct(data_.validation, split_point))) << phase;
    EXPECT_TRUE(at::equal(AllRows(*phased.held_out), Direct(data.held_out(), split_point))) << phase;
  }
}

// The head's phase runs on what the earliest phase needs.
TEST_F(TrainDataTest, PicturesAreReadOnceForAllPhases) {
  TrainData data(Options({HeadPhase(1), TunePhase(1)}), counted_);
  Enter(&data, 0);
  Enter(&data, 1);
  EXPECT_EQ(Reads(data_.train), 11);
  EXPECT_EQ(Reads(data_.validation), 5);
}

TEST_F(TrainDataTest, AResumedJobDoesNotComputeForPhasesThatAreOver) {
  TrainData data(Options({HeadPhase(1), TunePhase(1)}), counted_);
  const TrainData::Phased phased = Enter(&data, 1);
  EXPECT_TRUE(at::equal(AllRows(*phased.train), Direct(data_.train, 12)));
  EXPECT_EQ(Reads(data_.train), 11);
}

TEST_F(TrainDataTest, AugmentedPicturesVaryAndAreNotComputedBeforehand) {
  TrainData data(Options({Augmented(HeadPhase(1), 2)}), counted_);
  const TrainData::Phased phased = Enter(&data, 0);
  EXPECT_TRUE(phased.train->varies());
  EXPECT_EQ(phased.train->options().kept_views, 2);
  EXPECT_EQ(Reads(data_.train), 0);
  EXPECT_EQ(Reads(data_.validation), 5);
  EXPECT_FALSE(at::equal(AllRows(*phased.train, 0), AllRows(*phased.train, 1)));
  EXPECT_FALSE(phased.validation->varies());
  EXPECT_TRUE(at::equal(AllRows(*phased.validation), Direct(data_.validation, 14)));
}

// A plain phase between augmented ones: what it needs is there, and only then.
TEST_F(TrainDataTest, PlainAndAugmentedPhasesMayAlternate) {
  TrainData data(Options({HeadPhase(1), Augmented(TunePhase(1), 0), TunePhase(1), Augmented(TunePhase(1), 1)}),
                 counted_);
  EXPECT_TRUE(at::equal(AllRows(*Enter(&data, 0).train), Direct(data_.train, 14)));
  EXPECT_TRUE(Enter(&data, 1).train->varies());
  const TrainData::Phased third = Enter(&data, 2);
  EXPECT_FALSE(third.train->varies());
  EXPECT_EQ(Reads(data_.train), 11);
  EXPECT_TRUE(at::equal(AllRows(*third.train), Direct(data_.train, 12)));
  EXPECT_TRUE(Enter(&data, 3).train->varies());
}

TEST_F(TrainDataTest, WhatIsMeasuredIsFloat32AndDecodedWhole) {
  TrainData::Options options = Options({TunePhase(1)});
  options.precision = Precision::kBfloat16;
  options.holdout = 1.0 / 3;
  TrainData data(options, data_);
  const TrainData::Phased phased = Enter(&data, 0);
  EXPECT_EQ(AllRows(*phased.train).scalar_type(), at::kBFloat16);
  EXPECT_TRUE(phased.train->options().reduced_decoding);
  const auto test = data.Served(data_.test, 12);
  for (const Activations* served : {phased.validation, phased.held_out, static_cast<Activations*>(test.get())}) {
    EXPECT_EQ(AllRows(*served).scalar_type(), at::kFloat);
    EXPECT_FALSE(served->options().reduced_decoding);
  }
  EXPECT_TRUE(at::equal(AllRows(*test), Direct(data_.test, 12)));
}

TEST_F(TrainDataTest, FeaturesAreOfTheWholeTrainingSplit) {
  TrainData::Options options = Options({Augmented(TunePhase(1), 0)});
  options.holdout = 1.0 / 3;
  TrainData data(options, data_);
  const auto features = data.TrainFeatures();
  EXPECT_EQ(features->size(), 12);
  EXPECT_FALSE(features->varies());
  EXPECT_TRUE(at::equal(AllRows(*features), Direct(data_.train, 14)));
}

TEST_F(TrainDataTest, ProgressCountsAllThatIsComputed) {
  TrainData data(Options({HeadPhase(1)}), data_);
  Enter(&data, 0);
  ASSERT_FALSE(progress_.empty());
  int64_t before = 0;
  for (const auto& [done, total] : progress_) {
    EXPECT_GT(done, before);
    EXPECT_EQ(total, 18);
    before = done;
  }
  EXPECT_EQ(before, 18);
}

TEST_F(TrainDataTest, TheBudgetIsSharedOutByPictures) {
  TrainData::Options options = Options({HeadPhase(1)});
  options.budget_bytes = 9 * 576 * 4;  // of 18 pictures
  TrainData data(options, data_);
  const TrainData::Phased phased = Enter(&data, 0);
  EXPECT_EQ(phased.train->cached(), 6);
  EXPECT_EQ(phased.validation->cached(), 3);
  EXPECT_TRUE(at::equal(AllRows(*phased.train), Direct(data_.train, 14)));
}

TEST_F(TrainDataTest, ErrorsOfProgressAndPicturesEndIt) {
  TrainData data(Options({HeadPhase(1)}), data_);
  const auto unavailable = [](int64_t, int64_t) { return absl::UnavailableError("nobody listens"); };
  EXPECT_EQ(data.Enter(0, CancelToken(), unavailable).status(), absl::UnavailableError("nobody listens"));
  Dataset gone = data_;
  gone.validation[2].id = "gone";
  TrainData broken(Options({HeadPhase(1)}), gone);
  const auto ignore = [](int64_t, int64_t) { return absl::OkStatus(); };
  EXPECT_EQ(broken.Enter(0, CancelToken(), ignore).status().code(), absl::StatusCode::kDataLoss);
  CancelToken cancel;
  cancel.Stop(StopReason::kCancelled);
  TrainData cancelled(Options({HeadPhase(1)}), data_);
  EXPECT_EQ(cancelled.Enter(0, cancel, ignore).status().code(), absl::StatusCode::kCancelled);
}

TEST(HoldOutTest, OfAnyNumberOfClassesIsStratifiedAndLeavesEachClassAPicture) {
  Dataset data = LightsDataset(6, 1);
  data.train[0].labels = {3};  // the only one of its class
  std::vector<Example> kept, held_out;
  HoldOut(data.train, 0.25, 3, &kept, &held_out);
  EXPECT_NEAR(static_cast<double>(held_out.size()), 12, 2);
  EXPECT_EQ(kept.size() + held_out.size(), 48u);
  const std::vector<int64_t> counts = Labelling::Of(held_out).Counts(4);
  for (int c = 0; c < 3; ++c) EXPECT_NEAR(static_cast<double>(counts[c]), 6, 1) << c;
  EXPECT_EQ(counts[3], 0);
  // Every picture is the only one of a class: none can go.
  for (size_t i = 0; i < data.train.size(); ++i) data.train[i].labels = {static_cast<int>(i)};
  held_out.clear();
  HoldOut(data.train, 0.5, 3, &kept, &held_out);
  EXPECT_TRUE(held_out.empty());
}

}  // namespace
}  // namespace graft

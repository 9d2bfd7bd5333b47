#include "worker/train/learning_rate_finder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/worker/train/trainer_fixture.h"
#include "worker/data/activations.h"
#include "worker/train/phase_run.h"

namespace graft {
namespace {

using testing::IsEmpty;

constexpr int kSteps = 100;

// A test's points from 1e-6 to 10, with the loss of `loss_of(log10 of the rate)`.
LearningRateFound Found(const std::function<double(double)>& loss_of, int steps = kSteps, int points = kSteps) {
  LearningRateFound found;
  for (int i = 0; i < points; ++i) {
    const double exponent = -6 + 7.0 * i / (steps - 1);
    found.points.push_back({std::pow(10.0, exponent), loss_of(exponent)});
  }
  Suggest(steps, &found);
  return found;
}

// Falls from 2 to 1 about 10^`at`.
double Fall(double x, double at) { return 1 + 1 / (1 + std::exp(4 * (x - at))); }
// Grows without bounds from 10^`at` on.
double Rise(double x, double at) { return x <= at ? 0 : std::exp(3 * (x - at)) - 1; }

double Log(double rate) { return std::log10(rate); }

TEST(RateFinderOptionsTest, StepsHaveARange) {
  for (const int steps : {0, 20, 1000}) EXPECT_TRUE((RateFinderOptions{steps, true}).Validate().ok()) << steps;
  for (const int steps : {-1, 1, 19, 1001}) {
    EXPECT_EQ((RateFinderOptions{steps, false}).Validate(),
              absl::InvalidArgumentError(absl::StrCat("steps: got ", steps, ", want 0 or 20 to 1000")));
  }
}

TEST(LossDecayTest, LooksBackOverATwentiethOfTheTest) {
  EXPECT_DOUBLE_EQ(LossDecay(1000), 0.98);
  EXPECT_DOUBLE_EQ(LossDecay(400), 0.95);
  EXPECT_DOUBLE_EQ(LossDecay(100), 0.8);
  EXPECT_DOUBLE_EQ(LossDecay(20), 0.5) << "two steps at least";
}

TEST(SuggestTest, IsWhereTheLossFallsMostSteeply) {
  for (const double at : {-4.0, -2.5, -1.0}) {
    const LearningRateFound found = Found([&](double x) { return Fall(x, at) + Rise(x, 0.5); });
    ASSERT_TRUE(found.suggestion.has_value());
    EXPECT_NEAR(Log(*found.suggestion), at, 0.08) << "a point is 0.07 apart from the next";
    ASSERT_TRUE(found.minimum.has_value());
    EXPECT_NEAR(Log(*found.minimum), 0.5, 0.15);
  }
}

TEST(SuggestTest, TheFirstTenthDoesNotCount) {
  // Down to nothing within the first points, as an average of few losses may be.
  const LearningRateFound found =
      Found([](double x) { return x < -5.8 ? 0 : x < -5.5 ? 10 : Fall(x, -2) + Rise(x, 0); });
  ASSERT_TRUE(found.suggestion.has_value());
  EXPECT_NEAR(Log(*found.suggestion), -2, 0.08);
  EXPECT_GT(*found.minimum, 0.1);
}

TEST(SuggestTest, WhatComesAfterTheMinimumDoesNotCount) {
  const LearningRateFound found = Found([](double x) {
    return x < -1 ? Fall(x, -3) : x < 0 ? 3 : 1.5;  // falls steeply from 3, but not below what was
  });
  ASSERT_TRUE(found.suggestion.has_value());
  EXPECT_NEAR(Log(*found.suggestion), -3, 0.08);
  EXPECT_LT(*found.minimum, 0.1);
}

TEST(SuggestTest, OneLuckyBatchIsNoFall) {
  const LearningRateFound found = Found([](double x) {
    const bool lucky = x > -4.5 && x < -4.4;
    return Fall(x, -2) + Rise(x, 0) - (lucky ? 0.3 : 0);
  });
  ASSERT_TRUE(found.suggestion.has_value());
  EXPECT_NEAR(Log(*found.suggestion), -2, 0.08);
}

TEST(SuggestTest, ThereIsNoneWhenTheLossNeverFalls) {
  for (const auto& loss_of : std::vector<std::function<double(double)>>{
           [](double) { return 1.0; }, [](double x) { return 1 + Rise(x, -6); },
           [](double x) { return 1 + 0.01 * std::sin(9 * x) + Rise(x, 0); }}) {
    const LearningRateFound found = Found(loss_of);
    EXPECT_FALSE(found.suggestion.has_value());
    EXPECT_TRUE(found.minimum.has_value());
  }
}

TEST(SuggestTest, AFallOfLessThanATwentiethIsNone) {
  EXPECT_FALSE(Found([](double x) { return 100 + 4.9 * Fall(x, -2); }).suggestion.has_value());
  EXPECT_TRUE(Found([](double x) { return 100 + 6 * Fall(x, -2); }).suggestion.has_value());
}

TEST(SuggestTest, AFallOfFewPointsIsTakenAsAWhole) {
  const LearningRateFound found = Found([](double x) { return std::exp(-x); }, kSteps, 14);  // points 10 to 13
  ASSERT_TRUE(found.suggestion.has_value());
  EXPECT_EQ(*found.suggestion, found.points[12].learning_rate);
  EXPECT_EQ(*found.minimum, found.points[13].learning_rate);
}

TEST(SuggestTest, ATestThatEndedInItsFirstTenthSaysNothing) {
  for (const int points : {0, 1, 10}) {
    const LearningRateFound found = Found([](double x) { return 5 - x; }, kSteps, points);
    EXPECT_FALSE(found.suggestion.has_value() || found.minimum.has_value()) << points;
  }
}

// A head on the features of red and green pictures.
class FindLearningRateTest : public testing::Test {
 protected:
  FindLearningRateTest() : pool_({2, 0, "test", UseOneIntraOpThread}), data_(ColourDataset(2, 5, 1)) {
    options_.phase = HeadPhase(1);
    options_.phase.rate_finder.steps = 40;
    options_.seed = 3;
    const TrainOptions train = OptionsFor({options_.phase});
    Activations::Options o;
    o.backbone = train.backbone;
    o.preprocessing = train.preprocessing;
    o.split_point = options_.phase.split_point;
    pictures_ = std::make_unique<Activations>(o, &data_.train, data_.read);
  }

  absl::StatusOr<LearningRateFound> Find() {
    auto suffix = std::make_unique<Suffix>(*pictures_->options().backbone, options_.phase.split_point, options_.head,
                                           int64_t{2}, uint64_t{3});
    PhaseRun run(options_, pictures_->options().backbone, std::move(suffix), &pool_);
    const auto order = [this](int epoch) {
      epochs_.push_back(epoch);
      std::vector<int64_t> indices(data_.train.size());
      std::iota(indices.begin(), indices.end(), 0);
      return indices;
    };
    return FindLearningRate({&run, pictures_.get(), order}, cancel_, [this](int64_t done, int64_t total) {
      done_.push_back(done);
      total_ = total;
      return on_progress_ ? on_progress_() : absl::OkStatus();
    });
  }

  PhaseRun::Options options_;
  WorkerPool pool_;
  Dataset data_;
  std::unique_ptr<Activations> pictures_;
  CancelToken cancel_;
  std::vector<int> epochs_;
  std::vector<int64_t> done_;
  int64_t total_ = 0;
  std::function<absl::Status()> on_progress_;
};

TEST_F(FindLearningRateTest, RatesGrowGeometricallyOverTheOptimizersRange) {
  for (const OptimizerKind kind : {OptimizerKind::kSgd, OptimizerKind::kAdamW, OptimizerKind::kRmsProp}) {
    options_.phase.optimizer.kind = kind;
    const auto found = Find();
    ASSERT_TRUE(found.ok()) << found.status();
    const auto& points = found->points;
    ASSERT_GT(points.size(), 20u);
    EXPECT_DOUBLE_EQ(points[0].learning_rate, kind == OptimizerKind::kSgd ? 1e-6 : 1e-7);
    for (size_t i = 1; i < points.size(); ++i) {
      EXPECT_NEAR(Log(points[i].learning_rate / points[i - 1].learning_rate), 7.0 / 39, 1e-12);
    }
  }
}

TEST_F(FindLearningRateTest, WrapsOverAsManyEpochsAsItNeeds) {
  const auto found = Find();
  ASSERT_TRUE(found.ok()) << found.status();
  ASSERT_EQ(found->points.size(), 40u) << "a head on such features does not diverge";
  std::vector<int> want(14);  // ten pictures are steps of 4, 4 and 2
  std::iota(want.begin(), want.end(), 0);
  EXPECT_EQ(epochs_, want);
  ASSERT_EQ(done_.size(), 40u);
  EXPECT_EQ(total_, 40 * 10 / 3);
  EXPECT_EQ(done_.back(), total_);
  EXPECT_EQ(done_[2], 10);
}

TEST_F(FindLearningRateTest, SuggestsARateThatLowersTheLoss) {
  const auto found = Find();
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->phase, "head");
  EXPECT_FALSE(found->applied);
  ASSERT_TRUE(found->suggestion.has_value());
  EXPECT_LE(*found->suggestion, *found->minimum);
  EXPECT_LT(found->points.back().loss, 0.5 * found->points.front().loss);
}

TEST_F(FindLearningRateTest, IsTheSameEachTime) {
  const auto first = Find(), second = Find();
  ASSERT_TRUE(first.ok() && second.ok());
  ASSERT_EQ(first->points.size(), second->points.size());
  for (size_t i = 0; i < first->points.size(); ++i) EXPECT_EQ(first->points[i].loss, second->points[i].loss);
}

TEST_F(FindLearningRateTest, ALossThatIsNoNumberEndsIt) {
  options_.class_weights = {1e308, 1e308};  // the sum over a batch overflows
  const auto found = Find();
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_THAT(found->points, IsEmpty());
  EXPECT_FALSE(found->suggestion.has_value() || found->minimum.has_value());
}

TEST_F(FindLearningRateTest, ALossThatGrowsFourfoldEndsIt) {
  options_.phase.rate_finder.steps = 1000;
  options_.phase.weight_decay = 1;  // throws the weights to the other side, and further, at rates above 2
  const auto found = Find();
  ASSERT_TRUE(found.ok()) << found.status();
  ASSERT_LT(found->points.size(), 1000u);
  const double smallest =
      std::min_element(found->points.begin() + 100, found->points.end(), [](const auto& a, const auto& b) {
        return a.loss < b.loss;
      })->loss;
  EXPECT_GT(found->points.back().loss, 4 * smallest);
  EXPECT_LE(found->points[found->points.size() - 2].loss, 4 * smallest);
}

TEST_F(FindLearningRateTest, BatchesOfNoWeightMakeNoPoints) {
  options_.phase.batch_size = 1;
  options_.class_weights = {0, 1};  // of every other picture
  const auto found = Find();
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->points.size(), 20u);
  EXPECT_EQ(done_.size(), 40u);
}

TEST_F(FindLearningRateTest, CancelEndsItAtTheNextStep) {
  on_progress_ = [this] {
    if (done_.size() == 3) cancel_.Stop(StopReason::kCancelled);
    return absl::OkStatus();
  };
  EXPECT_EQ(Find().status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(done_.size(), 3u);
}

TEST_F(FindLearningRateTest, AnErrorOfProgressComesBack) {
  on_progress_ = [] { return absl::AbortedError("enough"); };
  EXPECT_EQ(Find().status(), absl::AbortedError("enough"));
  EXPECT_EQ(done_.size(), 1u);
}

TEST_F(FindLearningRateTest, APictureThatIsLostIsItsError) {
  data_.read = [](const std::string&) { return absl::DataLossError("lost"); };
  pictures_ = std::make_unique<Activations>(pictures_->options(), &data_.train, data_.read);
  EXPECT_EQ(Find().status().code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace graft

#include "worker/train/class_balance.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

namespace graft {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// `counts[c]` pictures of each class c, in that order.
std::vector<int> Labels(const std::vector<int>& counts) {
  std::vector<int> labels;
  for (int c = 0; c < static_cast<int>(counts.size()); ++c) labels.insert(labels.end(), counts[c], c);
  return labels;
}

std::map<int64_t, int> Times(const std::vector<int64_t>& indices) {
  std::map<int64_t, int> times;
  for (const int64_t index : indices) ++times[index];
  return times;
}

std::vector<int> DrawsOfClasses(const std::vector<int>& labels, int classes, const std::vector<int64_t>& indices) {
  std::vector<int> draws(classes);
  for (const int64_t index : indices) ++draws[labels.at(index)];
  return draws;
}

// The first as sklearn.utils.class_weight.compute_class_weight("balanced", ...) defines them: n / (classes * n_c).
TEST(BalancedWeightsTest, AreInverseToTheClassesSizes) {
  EXPECT_THAT(BalancedWeights(Labels({6, 2, 4}), 3), ElementsAre(12.0 / 18, 12.0 / 6, 12.0 / 12));
  EXPECT_THAT(BalancedWeights(Labels({5, 5}), 2), ElementsAre(1, 1));
}

TEST(BalancedWeightsTest, AClassWithoutPicturesHasNone) {
  EXPECT_THAT(BalancedWeights(Labels({3, 0, 1}), 3), ElementsAre(4.0 / 9, 0, 4.0 / 3));
  EXPECT_THAT(BalancedWeights({}, 2), ElementsAre(0, 0));
}

TEST(BalancedIndicesTest, EveryClassComesUpEquallyOften) {
  const std::vector<int> labels = Labels({90, 7, 3, 20});
  for (uint64_t epoch = 0; epoch < 20; ++epoch) {
    const std::vector<int64_t> indices = BalancedIndices(labels, 4, 1, 2, epoch);
    EXPECT_THAT(DrawsOfClasses(labels, 4, indices), ElementsAre(30, 30, 30, 30));
  }
}

TEST(BalancedIndicesTest, WhatDoesNotDivideGoesToClassesAtRandom) {
  const std::vector<int> labels = Labels({6, 1, 1});
  std::vector<int> more(3);
  constexpr int kRounds = 3000;
  for (uint64_t epoch = 0; epoch < kRounds; ++epoch) {
    const std::vector<int> draws = DrawsOfClasses(labels, 3, BalancedIndices(labels, 3, 1, 2, epoch));
    for (int c = 0; c < 3; ++c) {
      ASSERT_TRUE(draws[c] == 2 || draws[c] == 3);
      more[c] += draws[c] - 2;
    }
  }
  for (const int count : more) EXPECT_NEAR(count, 2 * kRounds / 3, 5 * 26) << "five standard deviations";
}

TEST(BalancedIndicesTest, NoPictureIsDrawnAgainBeforeItsClassIsUsedUp) {
  const std::vector<int> labels = Labels({33, 5, 2});  // 13 or 14 draws each
  const int at_least[] = {1, 2, 6}, at_most[] = {1, 3, 7};
  for (uint64_t epoch = 0; epoch < 20; ++epoch) {
    const std::map<int64_t, int> times = Times(BalancedIndices(labels, 3, 9, 0, epoch));
    for (const auto& [index, count] : times) {
      EXPECT_GE(count, at_least[labels[index]]);
      EXPECT_LE(count, at_most[labels[index]]);
    }
  }
}

TEST(BalancedIndicesTest, EqualClassesGiveAPermutation) {
  const std::map<int64_t, int> times = Times(BalancedIndices(Labels({50, 50}), 2, 1, 2, 3));
  EXPECT_EQ(times.size(), 100u);
}

TEST(BalancedIndicesTest, ClassesWithoutPicturesAreLeftOut) {
  const std::vector<int> labels = Labels({0, 9, 0, 3});
  EXPECT_THAT(DrawsOfClasses(labels, 4, BalancedIndices(labels, 4, 1, 2, 3)), ElementsAre(0, 6, 0, 6));
  EXPECT_THAT(BalancedIndices({}, 3, 1, 2, 3), IsEmpty());
}

TEST(BalancedIndicesTest, ClassesAreMixedOverTheEpoch) {
  const std::vector<int> labels = Labels({500, 500});
  const std::vector<int64_t> indices = BalancedIndices(labels, 2, 1, 2, 3);
  int in_first_half = 0;
  for (size_t i = 0; i < 500; ++i) in_first_half += labels[indices[i]];
  EXPECT_NEAR(in_first_half, 250, 5 * 8) << "five standard deviations of a hypergeometric";
}

TEST(BalancedIndicesTest, EveryPictureOfALargeClassComesUpOverTheEpochs) {
  const std::vector<int> labels = Labels({40, 2});
  std::set<int64_t> seen;
  for (uint64_t epoch = 0; epoch < 30; ++epoch) {
    for (const int64_t index : BalancedIndices(labels, 2, 1, 2, epoch)) seen.insert(index);
  }
  EXPECT_EQ(seen.size(), 42u) << "each is missed with probability (19/40)^30";
}

TEST(BalancedIndicesTest, DependsOnItsArgumentsAlone) {
  const std::vector<int> labels = Labels({30, 10});
  EXPECT_EQ(BalancedIndices(labels, 2, 1, 2, 3), BalancedIndices(labels, 2, 1, 2, 3));
  const std::set<std::vector<int64_t>> different = {
      BalancedIndices(labels, 2, 1, 2, 3), BalancedIndices(labels, 2, 0, 2, 3), BalancedIndices(labels, 2, 1, 0, 3),
      BalancedIndices(labels, 2, 1, 2, 0), BalancedIndices(labels, 2, 1 + (uint64_t{1} << 32), 2, 3)};
  EXPECT_EQ(different.size(), 5u);
}

// A stored training state goes on with the same order in every later version. Produced by a transcription of
// BalancedIndices() and CounterRandom into Python 3.11 integers.
TEST(BalancedIndicesTest, OrderNeverChanges) {
  EXPECT_EQ(BalancedIndices(Labels({5, 1, 3}), 3, 42, 1, 7), (std::vector<int64_t>{0, 6, 8, 7, 3, 5, 5, 5, 2}));
}

// Four pictures: class 0 has three of them, class 1 one, class 2 none, class 3 all.
TEST(PositiveWeightsTest, AreThePicturesWithoutOverThoseWith) {
  const Labelling labels = Labelling::AnyNumber({{0, 1, 3}, {0, 3}, {0, 3}, {3}});
  EXPECT_THAT(PositiveWeights(labels, 4), ElementsAre(1.0 / 3, 3, 1, 0.01));
}

TEST(PositiveWeightsTest, AreAtMostAHundred) {
  std::vector<std::vector<int>> sets(1000);
  sets[3] = {0};
  EXPECT_THAT(PositiveWeights(Labelling::AnyNumber(sets), 1), ElementsAre(100));
}

TEST(CheckForLabelsTest, SamplingWantsOneClassEach) {
  for (const ClassBalance balance : {ClassBalance::kNone, ClassBalance::kWeights, ClassBalance::kSampling}) {
    EXPECT_TRUE(CheckForLabels(balance, /*multi_label=*/false).ok());
  }
  EXPECT_TRUE(CheckForLabels(ClassBalance::kNone, true).ok());
  EXPECT_TRUE(CheckForLabels(ClassBalance::kWeights, true).ok());
  EXPECT_EQ(CheckForLabels(ClassBalance::kSampling, true),
            absl::InvalidArgumentError("class_balance: got sampling, want none or weights: a picture of a multi-label "
                                       "dataset has no one class to be drawn by"));
}

}  // namespace
}  // namespace graft

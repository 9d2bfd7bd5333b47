#include "worker/train/label_review.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace graft {
namespace {

TEST(MostConfidentlyWrongTest, SurestFirst) {
  const std::vector<float> p = {0.6f, 0.4f,   //
                                0.9f, 0.1f,   // right
                                0.2f, 0.8f,   //
                                0.4f, 0.6f};  // as sure as the first one
  const std::vector<Mistake> wrong = MostConfidentlyWrong(p, {1, 0, 0, 0}, 2, 10);
  ASSERT_EQ(wrong.size(), 3u);
  EXPECT_EQ(wrong[0].example, 2);
  EXPECT_EQ(wrong[0].label, 0);
  EXPECT_EQ(wrong[0].predicted, 1);
  EXPECT_EQ(wrong[0].confidence, 0.8f);
  EXPECT_EQ(wrong[1].example, 0);
  EXPECT_EQ(wrong[2].example, 3);
}

TEST(MostConfidentlyWrongTest, AtMostLimit) {
  const std::vector<float> p = {0.6f, 0.4f, 0.9f, 0.1f};
  ASSERT_EQ(MostConfidentlyWrong(p, {1, 1}, 2, 1).size(), 1u);
  EXPECT_EQ(MostConfidentlyWrong(p, {1, 1}, 2, 1)[0].example, 1);
  EXPECT_TRUE(MostConfidentlyWrong(p, {1, 1}, 2, 0).empty());
  EXPECT_TRUE(MostConfidentlyWrong(p, {1, 1}, 2, -1).empty());
}

TEST(MostConfidentlyWrongTest, NothingToShow) {
  EXPECT_TRUE(MostConfidentlyWrong({}, {}, 2, 5).empty());
  EXPECT_TRUE(MostConfidentlyWrong({}, {}, 0, 5).empty());
  EXPECT_TRUE(MostConfidentlyWrong({0.9f, 0.1f}, {0}, 2, 5).empty());
}

// Thresholds: class 0 (0.9 + 0.8 + 0.1 + 0.4) / 4 = 0.55, class 1 (0.9 + 0.7) / 2 = 0.8. Picture 2 reaches class 1's;
// picture 3 is taken for class 1 as well, but with 0.6 reaches neither.
TEST(LikelyLabelErrorsTest, ByHand) {
  const std::vector<float> p = {0.9f, 0.1f, 0.8f, 0.2f, 0.1f, 0.9f, 0.4f, 0.6f, 0.1f, 0.9f, 0.3f, 0.7f};
  const std::vector<LabelIssue> issues = LikelyLabelErrors(p, {0, 0, 0, 0, 1, 1}, 2, 10);
  ASSERT_EQ(issues.size(), 1u);
  EXPECT_EQ(issues[0].example, 2);
  EXPECT_EQ(issues[0].label, 0);
  EXPECT_EQ(issues[0].suggested, 1);
  EXPECT_EQ(issues[0].self_confidence, 0.1f);
  EXPECT_NEAR(issues[0].score, (0.1 - 0.9 + 1) / 2, 1e-6);
}

// Thresholds 0.5, 0.9, 0.3 (pictures 1, 2 and 3; picture 0 makes class 0's (0.1 + 0.9) / 2). Picture 0 is taken for
// class 1 but reaches only class 2's threshold: the paper's equation 1 counts it there.
TEST(LikelyLabelErrorsTest, SuggestsTheConfidentClassNotTheMostProbableOne) {
  const std::vector<float> p = {0.1f, 0.5f, 0.4f, 0.9f, 0.1f, 0.0f, 0.1f, 0.9f, 0.0f, 0.5f, 0.2f, 0.3f};
  const std::vector<LabelIssue> issues = LikelyLabelErrors(p, {0, 0, 1, 2}, 3, 10);
  ASSERT_EQ(issues.size(), 2u);
  EXPECT_EQ(issues[0].example, 0);
  EXPECT_EQ(issues[0].suggested, 2);
  EXPECT_NEAR(issues[0].score, (0.1 - 0.5 + 1) / 2, 1e-6);  // the margin is to the most probable class
  EXPECT_EQ(issues[1].example, 3);  // 0.5 of class 0 wins over its own 0.3, both at their thresholds
  EXPECT_EQ(issues[1].suggested, 0);
}

// Thresholds 0.825 and 0.265: picture 0 misses its own class's with 0.7 and reaches class 1's with 0.3. Its label is
// its most probable class all the same.
TEST(LikelyLabelErrorsTest, MostProbableLabelIsNoIssue) {
  const std::vector<float> p = {0.7f, 0.3f, 0.95f, 0.05f, 0.75f, 0.25f, 0.72f, 0.28f};
  const std::vector<LabelIssue> issues = LikelyLabelErrors(p, {0, 0, 1, 1}, 2, 10);
  for (const LabelIssue& issue : issues) EXPECT_NE(issue.example, 0);
}

TEST(LikelyLabelErrorsTest, ClassWithoutPicturesIsNeverSuggested) {
  const std::vector<float> p = {0.1f, 0.0f, 0.9f, 0.9f, 0.1f, 0.0f, 0.2f, 0.8f, 0.0f};
  EXPECT_TRUE(LikelyLabelErrors(p, {0, 0, 1}, 3, 10).empty());
}

// A class whose pictures all have probability 0 of it would else be everybody's confident class.
TEST(LikelyLabelErrorsTest, ThresholdOfZeroIsNotReachedByZero) {
  const std::vector<float> p = {0.4f, 0.6f, 0.0f, 0.8f, 0.2f, 0.0f, 0.2f, 0.8f, 0.0f, 0.9f, 0.1f, 0.0f};
  for (const LabelIssue& issue : LikelyLabelErrors(p, {0, 0, 1, 2}, 3, 10)) EXPECT_NE(issue.suggested, 2);
}

// A saturated network: the flipped picture is one float step less sure than all others of class 1.
TEST(LikelyLabelErrorsTest, RoundingDoesNotMissAThreshold) {
  const float sure = 0.9999f, step_less = std::nextafter(sure, 0.0f);
  const std::vector<float> p = {1 - sure, sure, 1 - sure, sure, 1 - step_less, step_less, 0.9f, 0.1f};
  const std::vector<LabelIssue> issues = LikelyLabelErrors(p, {1, 1, 0, 0}, 2, 10);
  ASSERT_EQ(issues.size(), 1u);
  EXPECT_EQ(issues[0].example, 2);
}

struct Planted {
  std::vector<float> probabilities;
  std::vector<int> labels;
  std::vector<bool> flipped;
};

// Four classes, 200 pictures each. The true class's logit is `margin` above the others, all uniform within 2;
// every `flip_every`th label is then moved to the next class.
Planted PlantFlips(double margin, int flip_every, uint32_t seed) {
  constexpr int kClasses = 4, kPictures = 800;
  std::mt19937 bits(seed);
  Planted set;
  for (int i = 0; i < kPictures; ++i) {
    const int truth = i % kClasses;
    double sum = 0, odds[kClasses];
    for (int c = 0; c < kClasses; ++c) {
      const double noise = 2 * (static_cast<double>(bits()) / 4294967296.0) - 1;
      sum += odds[c] = std::exp(2 * noise + (c == truth ? margin : 0));
    }
    for (double o : odds) set.probabilities.push_back(static_cast<float>(o / sum));
    const bool flip = flip_every > 0 && (i / kClasses) % flip_every == 0;
    set.flipped.push_back(flip);
    set.labels.push_back(flip ? (truth + 1) % kClasses : truth);
  }
  return set;
}

struct Score {
  double precision, recall;
};

template <typename Row>
Score ScoreOf(const Planted& set, const std::vector<Row>& rows) {
  double hits = 0, planted = 0;
  for (const Row& row : rows) hits += set.flipped[static_cast<size_t>(row.example)] ? 1 : 0;
  for (bool flip : set.flipped) planted += flip ? 1 : 0;
  return {hits / static_cast<double>(rows.size()), hits / planted};
}

// A flipped picture is missed where the network is less sure of it than of the class's other pictures.
TEST(LikelyLabelErrorsTest, FindsPlantedFlipsOfAGoodNetwork) {
  for (uint32_t seed = 1; seed <= 5; ++seed) {
    const Planted set = PlantFlips(5, 10, seed);
    const Score score = ScoreOf(set, LikelyLabelErrors(set.probabilities, set.labels, 4, 800));
    EXPECT_EQ(score.precision, 1) << "seed " << seed;
    EXPECT_GE(score.recall, 0.85) << "seed " << seed;
  }
}

// The network disagrees with about 17 % of the labels, 10 % are wrong. Measured: precision 0.98 to 1, recall 0.59 to
// 0.73; of the disagreements 0.55 to 0.60 are flips.
TEST(LikelyLabelErrorsTest, IsMorePreciseThanDisagreement) {
  for (uint32_t seed = 1; seed <= 5; ++seed) {
    const Planted set = PlantFlips(3, 10, seed);
    const Score score = ScoreOf(set, LikelyLabelErrors(set.probabilities, set.labels, 4, 800));
    EXPECT_GE(score.precision, 0.95) << "seed " << seed;
    EXPECT_GE(score.recall, 0.55) << "seed " << seed;
    EXPECT_LT(ScoreOf(set, MostConfidentlyWrong(set.probabilities, set.labels, 4, 800)).precision, 0.65);
  }
}

// A poor network, with as many mistakes of its own among the issues as flips.
TEST(LikelyLabelErrorsTest, FirstIssuesAreTheMostPrecise) {
  for (uint32_t seed = 1; seed <= 5; ++seed) {
    const Planted set = PlantFlips(2, 10, seed);
    const std::vector<LabelIssue> issues = LikelyLabelErrors(set.probabilities, set.labels, 4, 800);
    const std::vector<LabelIssue> first = LikelyLabelErrors(set.probabilities, set.labels, 4, 20);
    EXPECT_LT(ScoreOf(set, issues).precision, 0.6) << "seed " << seed;
    EXPECT_GE(ScoreOf(set, first).precision, 0.8) << "seed " << seed;
  }
}

TEST(LikelyLabelErrorsTest, NoneInACleanSeparableSet) {
  const Planted set = PlantFlips(5, 0, 1);
  EXPECT_TRUE(LikelyLabelErrors(set.probabilities, set.labels, 4, 800).empty());
}

TEST(LikelyLabelErrorsTest, AtMostLimitSmallestScoreFirst) {
  const Planted set = PlantFlips(2, 10, 1);
  const std::vector<LabelIssue> all = LikelyLabelErrors(set.probabilities, set.labels, 4, 800);
  const std::vector<LabelIssue> five = LikelyLabelErrors(set.probabilities, set.labels, 4, 5);
  ASSERT_EQ(five.size(), 5u);
  for (size_t i = 0; i < five.size(); ++i) EXPECT_EQ(five[i].example, all[i].example);
  for (size_t i = 1; i < all.size(); ++i) EXPECT_LE(all[i - 1].score, all[i].score);
  EXPECT_TRUE(LikelyLabelErrors(set.probabilities, set.labels, 4, 0).empty());
}

TEST(LikelyLabelErrorsTest, NothingToShow) {
  EXPECT_TRUE(LikelyLabelErrors({}, {}, 3, 5).empty());
  EXPECT_TRUE(LikelyLabelErrors({}, {}, 0, 5).empty());
  EXPECT_TRUE(LikelyLabelErrors({0.1f, 0.9f}, {0}, 2, 5).empty());  // class 1 has no picture to compare with
}

}  // namespace
}  // namespace graft

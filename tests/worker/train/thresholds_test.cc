#include "worker/train/thresholds.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace graft {
namespace {

// Two classes; the first one's probabilities are `p`.
std::vector<ClassThreshold> OfTwo(const std::vector<float>& p, const std::vector<int>& labels, double precision) {
  std::vector<float> both;
  for (float first : p) both.insert(both.end(), {first, 1 - first});
  return ThresholdsForPrecision(both, labels, 2, precision);
}

// Class 0 by falling probability: right 1/1, 2/2, then 2/3, 3/4, 3/5, 4/6.
const std::vector<float> kProbabilities = {0.95f, 0.9f, 0.8f, 0.7f, 0.5f, 0.25f};
const std::vector<int> kLabels = {0, 0, 1, 0, 1, 0};

TEST(ThresholdsTest, LargestRecallWithThePrecision) {
  const ClassThreshold t = OfTwo(kProbabilities, kLabels, 0.75)[0];
  EXPECT_TRUE(t.reachable);
  EXPECT_EQ(t.threshold, 0.7f);  // past the dip to 2/3 at 0.8
  EXPECT_EQ(t.predicted, 4);
  EXPECT_DOUBLE_EQ(t.precision, 0.75);
  EXPECT_DOUBLE_EQ(t.recall, 0.75);
  EXPECT_EQ(t.precision_interval.low, WilsonInterval(3, 4).low);
  EXPECT_EQ(t.precision_interval.high, WilsonInterval(3, 4).high);
}

TEST(ThresholdsTest, MorePrecisionCostsRecall) {
  const ClassThreshold all = OfTwo(kProbabilities, kLabels, 0.6)[0];
  EXPECT_EQ(all.threshold, 0.25f);
  EXPECT_DOUBLE_EQ(all.precision, 4.0 / 6);
  EXPECT_DOUBLE_EQ(all.recall, 1);
  const ClassThreshold sure = OfTwo(kProbabilities, kLabels, 1)[0];
  EXPECT_EQ(sure.threshold, 0.9f);
  EXPECT_DOUBLE_EQ(sure.recall, 0.5);
}

// Class 1 by falling probability: 0.75 wrong, 0.5 right, 0.3 wrong, 0.2 right, then two wrong: never above 1/2.
TEST(ThresholdsTest, UnreachablePrecisionSaysSo) {
  const ClassThreshold t = OfTwo(kProbabilities, kLabels, 0.51)[1];
  EXPECT_FALSE(t.reachable);
  EXPECT_EQ(t.predicted, 0);
  EXPECT_TRUE(OfTwo(kProbabilities, kLabels, 0.5)[1].reachable);
}

// The right one at 0.8 cannot be had without the two wrong ones at 0.8.
TEST(ThresholdsTest, TiesAreTakenTogether) {
  for (const std::vector<int>& labels : {std::vector<int>{0, 0, 1, 1}, {0, 1, 0, 1}, {0, 1, 1, 0}}) {
    const ClassThreshold t = OfTwo({0.9f, 0.8f, 0.8f, 0.8f}, labels, 0.6)[0];
    EXPECT_EQ(t.threshold, 0.9f);
    EXPECT_EQ(t.predicted, 1);
    EXPECT_DOUBLE_EQ(t.recall, 0.5);
  }
  EXPECT_EQ(OfTwo({0.9f, 0.8f, 0.8f, 0.8f}, {0, 0, 1, 1}, 0.5)[0].predicted, 4);
}

// 0.6 would be precise enough too, but adds a wrong picture and no right one.
TEST(ThresholdsTest, EqualRecallPrefersThePreciseOne) {
  const ClassThreshold t = OfTwo({0.9f, 0.8f, 0.6f}, {0, 0, 1}, 0.5)[0];
  EXPECT_EQ(t.threshold, 0.8f);
  EXPECT_DOUBLE_EQ(t.precision, 1);
}

TEST(ThresholdsTest, PrecisionThatWasAFloatIsReached) {
  EXPECT_TRUE(OfTwo({0.9f, 0.9f, 0.9f, 0.9f, 0.9f}, {0, 0, 0, 0, 1}, static_cast<double>(0.8f))[0].reachable);
}

TEST(ThresholdsTest, ClassWithoutPicturesIsUnreachable) {
  const std::vector<ClassThreshold> t = ThresholdsForPrecision({0.5f, 0.2f, 0.3f, 0.1f, 0.6f, 0.3f}, {0, 1}, 3, 0);
  ASSERT_EQ(t.size(), 3u);
  EXPECT_TRUE(t[0].reachable);
  EXPECT_TRUE(t[1].reachable);
  EXPECT_FALSE(t[2].reachable);
}

TEST(ThresholdsTest, NoPicturesReachNothing) {
  const std::vector<ClassThreshold> t = ThresholdsForPrecision({}, {}, 2, 0.5);
  ASSERT_EQ(t.size(), 2u);
  EXPECT_FALSE(t[0].reachable);
  EXPECT_TRUE(ThresholdsForPrecision({}, {}, 0, 0.5).empty());
}

TEST(ThresholdsTest, OnePicture) {
  const std::vector<ClassThreshold> t = OfTwo({0.25f}, {0}, 1);
  EXPECT_TRUE(t[0].reachable);
  EXPECT_EQ(t[0].threshold, 0.25f);
  EXPECT_DOUBLE_EQ(t[0].recall, 1);
  EXPECT_FALSE(t[1].reachable);
}

// Every probability of a picture tried as the threshold, on probabilities with many ties.
TEST(ThresholdsTest, AgreesWithTryingEveryThreshold) {
  std::mt19937 bits(5);
  for (int round = 0; round < 200; ++round) {
    std::vector<float> p;
    std::vector<int> labels;
    for (int i = 0; i < 25; ++i) {
      p.push_back(static_cast<float>(bits() % 9) / 8);
      labels.push_back(static_cast<int>(bits() % 2));
    }
    const double wanted = static_cast<double>(bits() % 100) / 100;
    int64_t best_hits = 0;
    for (float threshold : p) {
      int64_t hits = 0, predicted = 0;
      for (size_t i = 0; i < p.size(); ++i) {
        if (p[i] < threshold) continue;
        ++predicted;
        hits += labels[i] == 0;
      }
      const double precision = static_cast<double>(hits) / static_cast<double>(predicted);
      if (precision + 1e-9 >= wanted && hits > best_hits) best_hits = hits;
    }
    const ClassThreshold t = OfTwo(p, labels, wanted)[0];
    EXPECT_EQ(t.reachable, best_hits > 0);
    EXPECT_NEAR(t.precision * static_cast<double>(t.predicted), static_cast<double>(best_hits), 1e-9);
  }
}

TEST(MeasureThresholdsTest, CountsOnOtherPictures) {
  const std::vector<ClassThreshold> chosen = OfTwo(kProbabilities, kLabels, 0.75);
  const std::vector<float> others = {0.9f, 0.1f, 0.7f, 0.3f, 0.8f, 0.2f, 0.6f, 0.4f};
  const std::vector<ClassThreshold> t = MeasureThresholds(chosen, others, {0, 0, 1, 0});
  ASSERT_EQ(t.size(), 2u);
  EXPECT_TRUE(t[0].reachable);
  EXPECT_EQ(t[0].threshold, 0.7f);
  EXPECT_EQ(t[0].predicted, 3);
  EXPECT_DOUBLE_EQ(t[0].precision, 2.0 / 3);
  EXPECT_DOUBLE_EQ(t[0].recall, 2.0 / 3);
  EXPECT_EQ(t[0].precision_interval.low, WilsonInterval(2, 3).low);
  EXPECT_FALSE(t[1].reachable);
}

TEST(MeasureThresholdsTest, WhereNothingPassesAndNothingIsOfTheClassBothAreZero) {
  const std::vector<float> others = {0.1f, 0.9f};
  const ClassThreshold t = MeasureThresholds(OfTwo(kProbabilities, kLabels, 0.75), others, {1})[0];
  EXPECT_TRUE(t.reachable);
  EXPECT_EQ(t.predicted, 0);
  EXPECT_EQ(t.precision, 0);
  EXPECT_EQ(t.recall, 0);
  EXPECT_EQ(t.precision_interval.high, 1);
}

// Class 0 by falling probability: right, wrong, right; class 1: wrong, right, right; class 2 is never there.
TEST(ThresholdsTest, OfAnyNumberOfClasses) {
  const Labelling labels = Labelling::AnyNumber({{0}, {1}, {0, 1}});
  const std::vector<float> p = {0.9f, 0.8f, 0.1f, 0.6f, 0.7f, 0.2f, 0.3f, 0.6f, 0.3f};
  const std::vector<ClassThreshold> t = ThresholdsForPrecision(p, labels, 3, 0.65);
  EXPECT_EQ(t[0].threshold, 0.3f);
  EXPECT_EQ(t[0].predicted, 3);
  EXPECT_DOUBLE_EQ(t[0].precision, 2.0 / 3);
  EXPECT_DOUBLE_EQ(t[0].recall, 1);
  EXPECT_EQ(t[1].threshold, 0.6f);
  EXPECT_FALSE(t[2].reachable);
  EXPECT_EQ(ThresholdsForPrecision(p, labels, 3, 0.9)[0].threshold, 0.9f);
}

}  // namespace
}  // namespace graft

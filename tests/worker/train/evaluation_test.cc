#include "worker/train/evaluation.h"

#include <gtest/gtest.h>

#include <cmath>

namespace graft {
namespace {

struct WilsonCase {
  int64_t successes, trials;
  double low, high;
};

// Published values, 95 %: Newcombe 1998, Two-sided confidence intervals for the single proportion, table I, method 3
// (81/263, 15/148, 0/20, 1/29); the others from R 4.2, prop.test(correct = FALSE).
TEST(WilsonIntervalTest, MatchesPublishedValues) {
  for (const WilsonCase& c : {WilsonCase{81, 263, 0.2553, 0.3662},
                              {15, 148, 0.0624, 0.1605},
                              {0, 20, 0, 0.1611},
                              {1, 29, 0.0061, 0.1718},
                              {8, 10, 0.4902, 0.9433},
                              {0, 10, 0, 0.2775},
                              {10, 10, 0.7225, 1},
                              {50, 100, 0.4038, 0.5962}}) {
    const Interval interval = WilsonInterval(c.successes, c.trials);
    EXPECT_NEAR(interval.low, c.low, 5.1e-5) << c.successes << "/" << c.trials;
    EXPECT_NEAR(interval.high, c.high, 5.1e-5) << c.successes << "/" << c.trials;
  }
}

TEST(WilsonIntervalTest, NoTrialsSayNothing) {
  EXPECT_EQ(WilsonInterval(0, 0).low, 0);
  EXPECT_EQ(WilsonInterval(0, 0).high, 1);
}

// Four pictures, three classes; the last class never occurs and is never predicted.
TEST(EvaluateTest, CountsConfusionAndClassMetrics) {
  const Evaluation e = Evaluate({"a", "b", "c"}, {0, 0, 1, 0},
                                {0.9f, 0.1f, 0.0f,    //
                                 0.6f, 0.4f, 0.0f,    //
                                 0.7f, 0.2f, 0.1f,    // a b taken for an a
                                 0.3f, 0.7f, 0.0f});  // an a taken for a b
  EXPECT_EQ(e.image_count, 4);
  EXPECT_FALSE(e.on_test);
  EXPECT_DOUBLE_EQ(e.accuracy, 0.5);
  EXPECT_EQ(e.confusion, (std::vector<int64_t>{2, 1, 0, 1, 0, 0, 0, 0, 0}));
  EXPECT_NEAR(e.loss, -(std::log(0.9) + std::log(0.6) + std::log(0.2) + std::log(0.3)) / 4, 1e-6);
  ASSERT_EQ(e.classes.size(), 3u);
  EXPECT_EQ(e.classes[0].name, "a");
  EXPECT_EQ(e.classes[0].support, 3);
  EXPECT_DOUBLE_EQ(e.classes[0].precision, 2.0 / 3);
  EXPECT_DOUBLE_EQ(e.classes[0].recall, 2.0 / 3);
  EXPECT_DOUBLE_EQ(e.classes[0].f1, 2.0 / 3);
  EXPECT_EQ(e.classes[1].support, 1);
  EXPECT_EQ(e.classes[1].precision, 0);
  EXPECT_EQ(e.classes[1].f1, 0);
  EXPECT_EQ(e.classes[2].support, 0);
  EXPECT_EQ(e.classes[2].precision, 0);
  EXPECT_EQ(e.classes[2].recall, 0);
}

TEST(EvaluateTest, AccuracyComesWithItsInterval) {
  const Evaluation e = Evaluate({"a", "b"}, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
                                {1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 0, 1, 0, 1});
  EXPECT_DOUBLE_EQ(e.accuracy, 0.8);
  EXPECT_NEAR(e.accuracy_interval.low, 0.4902, 5e-5);
  EXPECT_NEAR(e.accuracy_interval.high, 0.9433, 5e-5);
}

// By hand: bin (9/15, 10/15] has 2 pictures of confidence 0.65, one right: |1 - 1.3| / 4. Bin (14/15, 1] has one
// of 1.0, right: 0. Bin (11/15, 12/15] has one of 0.8, an upper edge, wrong: 0.8 / 4.
TEST(EvaluateTest, ExpectedCalibrationErrorByHand) {
  const Evaluation e = Evaluate({"a", "b"}, {0, 1, 0, 1}, {0.65f, 0.35f, 0.65f, 0.35f, 1.0f, 0.0f, 0.8f, 0.2f});
  EXPECT_NEAR(e.expected_calibration_error, (0.3 + 0 + 0.8) / 4, 1e-6);
}

TEST(EvaluateTest, PerfectConfidenceIsPerfectlyCalibrated) {
  const Evaluation e = Evaluate({"a", "b"}, {0, 1}, {1, 0, 0, 1});
  EXPECT_EQ(e.expected_calibration_error, 0);
  EXPECT_NEAR(e.loss, 0, 1e-9);
}

TEST(EvaluateTest, ImpossibleTruthHasAFiniteLoss) {
  EXPECT_TRUE(std::isfinite(Evaluate({"a", "b"}, {1}, {1, 0}).loss));
}

TEST(EvaluateTest, NoPicturesAreNoDivisionByZero) {
  const Evaluation e = Evaluate({"a", "b"}, {}, {});
  EXPECT_EQ(e.image_count, 0);
  EXPECT_EQ(e.accuracy, 0);
  EXPECT_EQ(e.loss, 0);
}

}  // namespace
}  // namespace graft

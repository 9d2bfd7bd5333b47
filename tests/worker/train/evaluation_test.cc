#include "worker/train/evaluation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <random>
#include <utility>
#include <vector>

#include "worker/train/calibration.h"

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

// scikit-learn's documentation of average_precision_score: y_true [0, 0, 1, 1], y_scores [0.1, 0.4, 0.35, 0.8] give
// 0.83.
TEST(AveragePrecisionTest, IsScikitLearns) {
  EXPECT_NEAR(AveragePrecision({0.1f, 0.4f, 0.35f, 0.8f}, {false, false, true, true}), 0.5 * 1 + 0.5 * 2 / 3, 1e-12);
}

TEST(AveragePrecisionTest, EqualScoresComeTogether) {
  // At 2: one of two is relevant, recall 1/3; at 1: all three of five.
  EXPECT_NEAR(AveragePrecision({1, 2, 1, 2, 1}, {true, true, true, false, false}), 1.0 / 3 * 1 / 2 + 2.0 / 3 * 3 / 5,
              1e-12);
  EXPECT_NEAR(AveragePrecision({0, 0, 0, 0}, {true, false, false, false}), 0.25, 1e-12) << "the share of the relevant";
}

TEST(AveragePrecisionTest, PerfectAndNothingRelevant) {
  EXPECT_EQ(AveragePrecision({3, 2, 1}, {true, true, false}), 1);
  EXPECT_EQ(AveragePrecision({3, 2, 1}, {false, false, false}), 0);
  EXPECT_EQ(AveragePrecision({}, {}), 0);
}

// Four pictures, three classes, the last of which no picture has.
//   class 0: truth 1 1 0 0, logits 2 -1 1 -3: one hit, one miss, one false alarm
//   class 1: truth 0 1 0 1, logits -1 3 -2 0: two hits (a logit of 0 is a yes); ranked 1 1 0 0: AP 1
//   class 2: truth 0 0 0 0, logits -1 -2 -3 1: one false alarm
TEST(EvaluateLogitsTest, MultiLabelByHand) {
  const Labelling labels = Labelling::AnyNumber({{0}, {0, 1}, {}, {1}});
  const std::vector<float> logits = {2, -1, -1, -1, 3, -2, 1, -2, -3, -3, 0, 1};
  const Evaluation e = EvaluateLogits({"a", "b", "c"}, labels, logits, 2);
  EXPECT_EQ(e.image_count, 4);
  EXPECT_EQ(e.accuracy, 0.25) << "only the first picture is right in all";
  EXPECT_EQ(e.accuracy_interval.low, WilsonInterval(1, 4).low);
  EXPECT_TRUE(e.confusion.empty());
  ASSERT_EQ(e.classes.size(), 3u);
  EXPECT_EQ(e.classes[0].name, "a");
  EXPECT_EQ(e.classes[0].support, 2);
  EXPECT_DOUBLE_EQ(e.classes[0].precision, 0.5);
  EXPECT_DOUBLE_EQ(e.classes[0].recall, 0.5);
  EXPECT_DOUBLE_EQ(e.classes[0].f1, 0.5);
  EXPECT_DOUBLE_EQ(e.classes[0].average_precision, 0.5 * 1 + 0.5 * 2 / 3);  // ranked: yes, no, yes, no
  EXPECT_DOUBLE_EQ(e.classes[1].precision, 1);
  EXPECT_DOUBLE_EQ(e.classes[1].recall, 1);
  EXPECT_DOUBLE_EQ(e.classes[1].average_precision, 1);
  EXPECT_EQ(e.classes[2].support, 0);
  EXPECT_EQ(e.classes[2].precision, 0);
  EXPECT_EQ(e.classes[2].f1, 0);
  EXPECT_EQ(e.classes[2].average_precision, 0);
  ASSERT_TRUE(e.multi_label.has_value());
  EXPECT_DOUBLE_EQ(e.multi_label->mean_average_precision, (0.5 + 1.0 / 3 + 1) / 2) << "of the classes with pictures";
  EXPECT_DOUBLE_EQ(e.multi_label->micro_f1, 2.0 * 3 / (2 * 3 + 2 + 1));  // 3 hits, 2 false alarms, 1 miss
  EXPECT_DOUBLE_EQ(e.multi_label->macro_f1, (0.5 + 1 + 0) / 3);
  EXPECT_DOUBLE_EQ(e.multi_label->hamming_loss, 3.0 / 12);
  double loss = 0, error = 0;
  for (int i = 0; i < 12; ++i) {
    const double p = 1 / (1 + std::exp(-logits[i] / 2.0));
    loss -= std::log(labels.Has(i / 3, i % 3) ? p : 1 - p) / 12;
  }
  EXPECT_NEAR(e.loss, loss, 1e-12);
  // Confidences s(|z| / 2), and whether right, by |z|.
  const std::vector<std::pair<double, std::vector<bool>>> bins = {
      {0, {true}},
      {1, {true, true, false, false, false}},
      {2, {true, true, true}},
      {3, {true, true, true}}};
  for (const auto& [z, right] : bins) {
    const double confidence = 1 / (1 + std::exp(-z / 2));
    error += std::abs(static_cast<double>(std::count(right.begin(), right.end(), true)) -
                      confidence * static_cast<double>(right.size())) / 12;
  }
  EXPECT_NEAR(e.expected_calibration_error, error, 1e-7);
}

TEST(EvaluateLogitsTest, OneClassEachIsEvaluate) {
  const std::vector<float> logits = {1, 2, -1, 0, 0.5f, 0.25f};
  const Evaluation got = EvaluateLogits({"a", "b"}, {1, 0, 0}, logits, 3);
  const Evaluation want = Evaluate({"a", "b"}, {1, 0, 0}, Softmax(logits, 2, 3));
  EXPECT_EQ(got.loss, want.loss);
  EXPECT_EQ(got.accuracy, want.accuracy);
  EXPECT_EQ(got.confusion, want.confusion);
  EXPECT_EQ(got.expected_calibration_error, want.expected_calibration_error);
  EXPECT_FALSE(got.multi_label.has_value());
}

// Truth a a b, all said to be a: F1 of a is 2 * 2 / (2 * 2 + 1), of b and of c, which no picture has, 0.
TEST(MacroF1Test, IsTheMeanOfAllClasses) {
  EXPECT_DOUBLE_EQ(MacroF1(EvaluateLogits({"a", "b", "c"}, {0, 0, 1}, {1, 0, 0, 1, 0, 0, 1, 0, 0})), 0.8 / 3);
  EXPECT_EQ(MacroF1(EvaluateLogits({"a", "b"}, {0, 1}, {1, 0, 0, 1})), 1);
}

// Of 50 pictures, from the generator's bits: logits in [-4, 4), two thirds of them right.
std::vector<float> ManyLogits(const Labelling& labels, int classes) {
  std::mt19937 bits(5);
  std::vector<float> logits;
  for (size_t i = 0; i < labels.size(); ++i) {
    for (int c = 0; c < classes; ++c) {
      const float size = static_cast<float>(bits() % 4000) / 1000;
      logits.push_back(labels.Has(i, c) == (bits() % 3 > 0) ? size : -size);
    }
  }
  return logits;
}

// As Evaluate() computed it before there was MeasureLogits(): float32 logarithms, summed in the pictures' order.
TEST(MeasureLogitsTest, OneClassEachIsEvaluatedBitForBit) {
  std::vector<int> one_each;
  for (int i = 0; i < 50; ++i) one_each.push_back(i * 7 % 4);
  const std::vector<float> logits = ManyLogits(one_each, 4), p = Softmax(logits, 4, 1);
  double loss = 0, right = 0;
  for (size_t i = 0; i < 50; ++i) {
    const auto row = p.begin() + 4 * static_cast<std::ptrdiff_t>(i);
    loss -= std::log(std::max(row[one_each[i]], 1e-12f));
    right += std::max_element(row, row + 4) - row == one_each[i];
  }
  const LossAndAccuracy got = MeasureLogits(4, one_each, logits);
  EXPECT_EQ(got.loss, loss / 50);
  EXPECT_EQ(got.accuracy, right / 50);
  const Evaluation all = EvaluateLogits({"a", "b", "c", "d"}, one_each, logits);
  EXPECT_EQ(all.loss, got.loss);
  EXPECT_EQ(all.accuracy, got.accuracy);
}

TEST(MeasureLogitsTest, AnyNumberOfClassesIsEvaluatedBitForBit) {
  std::vector<std::vector<int>> sets(50);
  for (int i = 0; i < 50; ++i) {
    for (int c = 0; c < 4; ++c) {
      if (i % (c + 2) == 0) sets[i].push_back(c);
    }
  }
  const Labelling labels = Labelling::AnyNumber(sets);
  std::vector<float> logits = ManyLogits(labels, 4);
  for (int c = 0; c < 4; ++c) logits[c] = labels.Has(0, c) ? 1 : -1;
  const Evaluation want = EvaluateLogits({"a", "b", "c", "d"}, labels, logits);
  const LossAndAccuracy got = MeasureLogits(4, labels, logits);
  EXPECT_EQ(got.loss, want.loss);
  EXPECT_EQ(got.accuracy, want.accuracy);
  EXPECT_GT(got.accuracy, 0);
  EXPECT_LT(got.accuracy, 1);
}

TEST(MeasureLogitsTest, NoPictures) {
  EXPECT_EQ(MeasureLogits(2, Labelling(), {}).loss, 0);
  EXPECT_EQ(MeasureLogits(2, Labelling::AnyNumber({}), {}).accuracy, 0);
}

TEST(IsExactMatchTest, OfOneClassTheLargestDecides) {
  const std::vector<float> logits = {-1, 3, 3}, first = {0, 1, 0}, second = {0, 0, 1}, mixed = {0.2f, 0.5f, 0.3f};
  EXPECT_TRUE(IsExactMatch(logits.data(), first.data(), 3, false)) << "of equals the first";
  EXPECT_FALSE(IsExactMatch(logits.data(), second.data(), 3, false));
  EXPECT_TRUE(IsExactMatch(logits.data(), mixed.data(), 3, false));
}

TEST(IsExactMatchTest, OfAnyNumberOfClassesEachMustAgree) {
  const std::vector<float> logits = {-1, 0, 3}, same = {0, 1, 1}, mixed = {0.4f, 0.5f, 1}, less = {0, 0, 1}, none(3);
  EXPECT_TRUE(IsExactMatch(logits.data(), same.data(), 3, true)) << "a logit of 0 is a yes";
  EXPECT_TRUE(IsExactMatch(logits.data(), mixed.data(), 3, true));
  EXPECT_FALSE(IsExactMatch(logits.data(), less.data(), 3, true));
  EXPECT_FALSE(IsExactMatch(logits.data(), none.data(), 3, true));
}

TEST(EvaluateLogitsTest, MultiLabelOfSureLogitsHasAFiniteLoss) {
  const Evaluation e = EvaluateLogits({"a", "b"}, Labelling::AnyNumber({{0}}), {-1000, 1000}, 1);
  EXPECT_DOUBLE_EQ(e.loss, 1000);
  EXPECT_EQ(e.accuracy, 0);
}

TEST(EvaluateLogitsTest, MultiLabelOfNoPictures) {
  const Evaluation e = EvaluateLogits({"a", "b"}, Labelling::AnyNumber({}), {}, 1);
  EXPECT_EQ(e.image_count, 0);
  EXPECT_EQ(e.loss, 0);
  EXPECT_EQ(e.multi_label->mean_average_precision, 0);
  EXPECT_EQ(e.multi_label->hamming_loss, 0);
}

}  // namespace
}  // namespace graft

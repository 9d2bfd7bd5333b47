#include "worker/train/calibration.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "worker/train/folds.h"

namespace graft {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

struct Sample {
  std::vector<float> logits;
  std::vector<int> labels;
};

// Labels drawn from softmax(u), u uniform in [-3, 3]; the network says temperature * u. Uniform numbers straight from
// the generator's bits: the standard's distributions differ between libraries.
Sample Overconfident(double temperature, int pictures, int classes, uint32_t seed) {
  std::mt19937 bits(seed);
  const auto uniform = [&bits] { return static_cast<double>(bits()) / 4294967296.0; };
  Sample sample;
  for (int i = 0; i < pictures; ++i) {
    std::vector<float> truth;
    for (int c = 0; c < classes; ++c) truth.push_back(static_cast<float>(6 * uniform() - 3));
    const std::vector<float> p = Softmax(truth, classes, 1);
    double left = uniform();
    int label = 0;
    while (label + 1 < classes && left >= p[label]) left -= p[label++];
    sample.labels.push_back(label);
    for (float u : truth) sample.logits.push_back(static_cast<float>(temperature * u));
  }
  return sample;
}

TEST(SoftmaxTest, ByHand) {
  const float log_3 = std::log(3.0f);
  const std::vector<float> p = Softmax({0, log_3, 2 * log_3, 0}, 2, 1);  // odds 1:3 and 9:1
  EXPECT_NEAR(p[0], 0.25, 1e-6);
  EXPECT_NEAR(p[1], 0.75, 1e-6);
  EXPECT_NEAR(p[2], 0.9, 1e-6);
  EXPECT_NEAR(Softmax({2 * log_3, 0}, 2, 2)[0], 0.75, 1e-6);  // odds 9:1 become 3:1
}

TEST(SoftmaxTest, HugeLogitsDoNotOverflow) {
  EXPECT_EQ(Softmax({1e30f, 1e30f, -1e30f}, 3, 0.05), (std::vector<float>{0.5f, 0.5f, 0.0f}));
}

TEST(NegativeLogLikelihoodTest, ByHand) {
  const float log_3 = std::log(3.0f);
  EXPECT_NEAR(NegativeLogLikelihood({0, log_3, 2 * log_3, 0}, {0, 0}, 2, 1), -(std::log(0.25) + std::log(0.9)) / 2,
              1e-6);
  EXPECT_NEAR(NegativeLogLikelihood({2 * log_3, 0}, {1}, 2, 2), -std::log(0.25), 1e-6);
  EXPECT_NEAR(NegativeLogLikelihood({0, 100}, {0}, 2, 1), 100, 1e-6);  // a probability below the smallest float
}

// Bin (9/15, 10/15] has two pictures of confidence 0.65, one right: |1 - 1.3| / 4. Bin (14/15, 1] has one of 1.0,
// right: 0. Bin (11/15, 12/15] has one of 0.8, an upper edge, wrong: 0.8 / 4.
TEST(ExpectedCalibrationErrorTest, ByHand) {
  const std::vector<float> p = {0.65f, 0.35f, 0.65f, 0.35f, 1.0f, 0.0f, 0.8f, 0.2f};
  EXPECT_NEAR(ExpectedCalibrationError(p, {0, 1, 0, 1}, 2), (0.3 + 0 + 0.8) / 4, 1e-6);
  // One bin: three pictures of four would have to be right for 0.775 on average; two are.
  EXPECT_NEAR(ExpectedCalibrationError(p, {0, 1, 0, 1}, 2, 1), 0.775 - 0.5, 1e-6);
}

TEST(BrierScoreTest, ByHand) {
  EXPECT_NEAR(BrierScore({0.7f, 0.2f, 0.1f, 0.0f, 0.5f, 0.5f}, {0, 2}, 3),
              ((0.09 + 0.04 + 0.01) + (0 + 0.25 + 0.25)) / 2, 1e-6);
  EXPECT_EQ(BrierScore({1, 0, 0, 1}, {0, 1}, 2), 0);
  EXPECT_EQ(BrierScore({0, 1, 1, 0}, {0, 1}, 2), 2);
}

// Odds 9:1 at temperature 1 and three right of four: the best odds are 3:1, half the logit.
TEST(FitTemperatureTest, ByHand) {
  const float z = 2 * std::log(3.0f);
  EXPECT_NEAR(FitTemperature({z, 0, z, 0, z, 0, z, 0}, {0, 0, 0, 1}, 2), 2, 1e-5);
}

// 20000 pictures: over 50 seeds the fitted temperature's standard deviation was below 1.2 % of it; tolerance 5 %.
TEST(FitTemperatureTest, RecoversAKnownTemperature) {
  for (double temperature : {0.1, 0.5, 1.0, 1.7, 3.0, 15.0}) {
    for (int classes : {2, 5}) {
      const Sample sample = Overconfident(temperature, 20000, classes, 7);
      EXPECT_NEAR(FitTemperature(sample.logits, sample.labels, classes) / temperature, 1, 0.05)
          << temperature << ", " << classes << " classes";
    }
  }
}

TEST(FitTemperatureTest, NoTemperatureOfAFineGridIsBetter) {
  for (uint32_t seed = 1; seed <= 10; ++seed) {
    const Sample sample = Overconfident(0.3 * seed, 40, 3, seed);
    const double fitted = FitTemperature(sample.logits, sample.labels, 3);
    const double best = NegativeLogLikelihood(sample.logits, sample.labels, 3, fitted);
    double grid_best = std::numeric_limits<double>::infinity(), grid_temperature = 0;
    for (double s = std::log(0.05); s <= std::log(20.0); s += 1e-3) {
      const double nll = NegativeLogLikelihood(sample.logits, sample.labels, 3, std::exp(s));
      EXPECT_GE(nll, best - 1e-12) << "seed " << seed << ", temperature " << std::exp(s);
      if (nll < grid_best) grid_best = nll, grid_temperature = std::exp(s);
    }
    EXPECT_NEAR(std::log(fitted), std::log(grid_temperature), 1e-3) << "seed " << seed;
  }
}

TEST(FitTemperatureTest, StaysWithinItsBounds) {
  // Wrong more often than right: the flatter the better.
  EXPECT_EQ(FitTemperature({5, 0, 5, 0, 5, 0}, {0, 1, 1}, 2), 20);
  // 99 right of 100 by a thousandth of a logit: wants 0.001 / log(99) = 0.0002.
  std::vector<float> logits;
  for (int i = 0; i < 100; ++i) logits.insert(logits.end(), {0.001f, 0});
  std::vector<int> labels(100, 0);
  labels[42] = 1;
  EXPECT_EQ(FitTemperature(logits, labels, 2), 0.05);
}

TEST(FitTemperatureTest, PicturesThatCannotSayGiveOne) {
  EXPECT_EQ(FitTemperature({}, {}, 2), 1);
  EXPECT_EQ(FitTemperature({}, {}, 0), 1);
  EXPECT_EQ(FitTemperature({0, 3}, {0}, 2), 1);                         // one picture
  EXPECT_EQ(FitTemperature({3, 4}, {0, 0}, 1), 1);                      // one class
  EXPECT_EQ(FitTemperature({3, 0, 0, 1, 5, 1}, {0, 1, 0}, 2), 1);       // all right: no minimum
  EXPECT_EQ(FitTemperature({2, 2, 2, 2}, {0, 1}, 2), 1);                // every temperature is the same
  EXPECT_EQ(FitTemperature({static_cast<float>(kNan), 0, 0, 1}, {0, 0}, 2), 1);
  EXPECT_EQ(FitTemperature({std::numeric_limits<float>::infinity(), 0, 0, 1}, {0, 0}, 2), 1);
}

TEST(FitTemperatureTest, AClassWithoutPicturesIsNoHindrance) {
  const float z = 2 * std::log(3.0f);  // the third class has odds of almost zero everywhere
  EXPECT_NEAR(FitTemperature({z, 0, -99, z, 0, -99, z, 0, -99, z, 0, -99}, {0, 0, 0, 1}, 3), 2, 1e-5);
}

TEST(CrossFitCalibrationTest, ScalingRepairsAnOverconfidentNetwork) {
  const Sample sample = Overconfident(3, 4000, 4, 11);
  const Calibration c = CrossFitCalibration(sample.logits, sample.labels, 4);
  EXPECT_EQ(c.temperature, FitTemperature(sample.logits, sample.labels, 4));
  EXPECT_NEAR(c.temperature, 3, 0.3);
  EXPECT_GT(c.ece_before, 0.1);
  EXPECT_LT(c.ece_after, 0.04);  // a perfectly calibrated network measures about 0.02 on 4000 pictures
  EXPECT_LT(c.brier_after, c.brier_before);
  EXPECT_LT(c.nll_after, c.nll_before);
}

TEST(CrossFitCalibrationTest, BeforeIsTheNetworkAsItIs) {
  const Sample sample = Overconfident(2, 300, 3, 5);
  const Calibration c = CrossFitCalibration(sample.logits, sample.labels, 3);
  const std::vector<float> p = Softmax(sample.logits, 3, 1);
  EXPECT_EQ(c.ece_before, ExpectedCalibrationError(p, sample.labels, 3));
  EXPECT_EQ(c.brier_before, BrierScore(p, sample.labels, 3));
  EXPECT_EQ(c.nll_before, NegativeLogLikelihood(sample.logits, sample.labels, 3, 1));
}

// Each fold has three pictures of class 0 and one of class 1, all taken for class 0. Fold 0 says so with odds 9:1 and
// wants a temperature of 2, fold 1 says 3:1 and wants 1.
TEST(CrossFitCalibrationTest, APictureIsScaledByTheTemperatureOfTheOthers) {
  const std::vector<int> labels = {0, 0, 0, 1, 0, 0, 1, 0};
  std::vector<float> logits;
  for (int fold : StratifiedFolds(labels, 2, 0)) {
    logits.insert(logits.end(), {(fold == 0 ? 2 : 1) * std::log(3.0f), 0});
  }
  const Calibration c = CrossFitCalibration(logits, labels, 2, 2);
  // Fold 0 keeps its odds, fold 1's become sqrt(3):1.
  const double second = std::sqrt(3.0) / (1 + std::sqrt(3.0));
  EXPECT_NEAR(c.nll_after, -(3 * std::log(0.9) + std::log(0.1) + 3 * std::log(second) + std::log(1 - second)) / 8,
              1e-5);
  EXPECT_NEAR(c.brier_after, 2 * (3 * 0.01 + 0.81 + 3 * (1 - second) * (1 - second) + second * second) / 8, 1e-5);
  EXPECT_NEAR(c.ece_after, (4 * (0.9 - 0.75) + 4 * std::abs(second - 0.75)) / 8, 1e-5);
}

// Fitting and measuring on the same few pictures can only look better: the honest loss is larger.
TEST(CrossFitCalibrationTest, IsNotFlatteredByItsOwnPictures) {
  double honest = 0, flattered = 0;
  for (uint32_t seed = 1; seed <= 20; ++seed) {
    const Sample sample = Overconfident(2, 20, 3, seed);
    const Calibration c = CrossFitCalibration(sample.logits, sample.labels, 3);
    honest += c.nll_after;
    flattered += NegativeLogLikelihood(sample.logits, sample.labels, 3, c.temperature);
  }
  EXPECT_GT(honest, flattered);
}

TEST(CrossFitCalibrationTest, TooFewPicturesStayAsTheyAre) {
  const Calibration none = CrossFitCalibration({}, {}, 3);
  EXPECT_EQ(none.temperature, 1);
  EXPECT_EQ(none.ece_before, 0);
  EXPECT_EQ(none.brier_before, 0);
  EXPECT_EQ(none.nll_after, 0);
  const Calibration one = CrossFitCalibration({0, 3}, {0}, 2);
  EXPECT_EQ(one.temperature, 1);
  EXPECT_GT(one.nll_before, 3);
  EXPECT_EQ(one.nll_after, one.nll_before);
  EXPECT_EQ(one.ece_after, one.ece_before);
  EXPECT_EQ(one.brier_after, one.brier_before);
}

TEST(CrossFitCalibrationTest, FewerPicturesThanFoldsAreLeftOutOneByOne) {
  const Calibration c = CrossFitCalibration({4, 0, 4, 0, 4, 0}, {0, 0, 1}, 2);
  EXPECT_NEAR(c.temperature, 4 / std::log(2.0), 1e-4);  // odds 2:1
  // Without picture 2 all are right: 1. Without 0 or 1 it is one of two: flat, 20.
  EXPECT_NEAR(c.nll_after, (2 * std::log1p(std::exp(-4 / 20.0)) + 4 + std::log1p(std::exp(-4))) / 3, 1e-5);
}

struct MultiLabelSample {
  std::vector<float> logits;
  std::vector<std::vector<int>> sets;
};

// Labels drawn from sigmoid(u), u uniform in [-3, 3]; the network says temperature * u.
MultiLabelSample OverconfidentSets(double temperature, int pictures, int classes, uint32_t seed) {
  std::mt19937 bits(seed);
  const auto uniform = [&bits] { return static_cast<double>(bits()) / 4294967296.0; };
  MultiLabelSample sample;
  for (int i = 0; i < pictures; ++i) {
    sample.sets.emplace_back();
    for (int c = 0; c < classes; ++c) {
      const double u = 6 * uniform() - 3;
      if (uniform() < 1 / (1 + std::exp(-u))) sample.sets.back().push_back(c);
      sample.logits.push_back(static_cast<float>(temperature * u));
    }
  }
  return sample;
}

TEST(MultiLabelCalibrationTest, FindsTheTemperatureOfTheSigmoids) {
  for (const double temperature : {0.5, 1.0, 3.0}) {
    const MultiLabelSample sample = OverconfidentSets(temperature, 2000, 5, 1);
    const Calibration c = CrossFitCalibration(sample.logits, Labelling::AnyNumber(sample.sets), 5);
    EXPECT_NEAR(c.temperature, temperature, 0.05 * temperature);
    EXPECT_LT(c.ece_after, 0.015);
    if (temperature == 1) continue;
    EXPECT_LT(c.ece_after, c.ece_before);
    EXPECT_LT(c.brier_after, c.brier_before);
    EXPECT_LT(c.nll_after, c.nll_before);
  }
}

// Logits +-ln 9 that are right in three of four: the odds are 3:1, half of the logits. Brier counts yes and no.
TEST(MultiLabelCalibrationTest, MeasuresDecisionsByHand) {
  const float log_9 = std::log(9.0f);
  const Labelling labels = Labelling::AnyNumber({{0}, {0, 1}});
  const std::vector<float> logits = {log_9, -log_9, -log_9, log_9};  // the third is wrong
  const Calibration c = MeasureCalibration(logits, labels, 2, 2);
  EXPECT_EQ(c.temperature, 2);
  EXPECT_NEAR(c.nll_before, -(3 * std::log(0.9) + std::log(0.1)) / 4, 1e-6);
  EXPECT_NEAR(c.nll_after, -(3 * std::log(0.75) + std::log(0.25)) / 4, 1e-6);
  EXPECT_NEAR(c.ece_before, 0.15, 1e-6);
  EXPECT_NEAR(c.ece_after, 0, 1e-6);
  EXPECT_NEAR(c.brier_before, 2 * (3 * 0.01 + 0.81) / 4, 1e-6);
  EXPECT_NEAR(c.brier_after, 2 * (3 * 0.0625 + 0.5625) / 4, 1e-6);
  EXPECT_NEAR(CrossFitCalibration(logits, labels, 2).temperature, 2, 1e-5);
}

// Two pictures, each left out in turn: all decisions of a picture are scaled by the other's temperature.
TEST(MultiLabelCalibrationTest, DecisionsOfAPictureStayTogether) {
  const float log_9 = std::log(9.0f), log_3 = std::log(3.0f);
  const Labelling labels = Labelling::AnyNumber({{0, 1, 2}, {0, 1, 2}});
  // Each says yes four times with odds 9:1 (wants 2) or 3:1 (wants 1), and is right in three.
  const std::vector<float> logits = {log_9, log_9, log_9, log_9, log_3, log_3, log_3, log_3};
  const Calibration c = CrossFitCalibration(logits, labels, 4, 2);
  const double second = std::sqrt(3.0) / (1 + std::sqrt(3.0));
  EXPECT_NEAR(c.nll_after, -(3 * std::log(0.9) + std::log(0.1) + 3 * std::log(second) + std::log(1 - second)) / 8,
              1e-5);
}

}  // namespace
}  // namespace graft

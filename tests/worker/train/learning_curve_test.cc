#include "worker/train/learning_curve.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

namespace graft {
namespace {

std::vector<CurvePoint> OnCurve(double a, double b, double c, const std::vector<int64_t>& sizes) {
  std::vector<CurvePoint> points;
  for (int64_t n : sizes) points.push_back({n, a + b * std::pow(static_cast<double>(n), -c), 0});
  return points;
}

double SquaredError(const std::vector<CurvePoint>& points, double a, double b, double c) {
  double sum = 0;
  for (const CurvePoint& p : points) sum += std::pow(a + b * std::pow(static_cast<double>(p.images), -c) - p.error, 2);
  return sum;
}

struct Known {
  double a, b, c;
};

TEST(ForecastTwiceTest, RecoversAKnownCurve) {
  for (const Known& k : {Known{0.05, 2, 0.503}, Known{0.1, 30, 1.2}, Known{0.02, 1, 0.337}, Known{0, 0.9, 0.15},
                         Known{0.2, 500, 2}}) {
    const CurveForecast f = ForecastTwice(OnCurve(k.a, k.b, k.c, {50, 100, 200, 400, 800, 1600}));
    ASSERT_TRUE(f.fits);
    EXPECT_NEAR(f.a, k.a, 1e-5) << k.c;
    EXPECT_NEAR(f.b / k.b, 1, 1e-4) << k.c;
    EXPECT_NEAR(f.c, k.c, 1e-5) << k.c;
    EXPECT_NEAR(f.error_at_twice, k.a + k.b * std::pow(3200.0, -k.c), 1e-7) << k.c;
    EXPECT_NEAR(f.low, f.error_at_twice, 1e-6) << k.c;
    EXPECT_NEAR(f.high, f.error_at_twice, 1e-6) << k.c;
  }
}

TEST(ForecastTwiceTest, ThreePointsFixTheCurve) {
  const CurveForecast f = ForecastTwice(OnCurve(0.05, 2, 0.5, {100, 400, 1600}));
  ASSERT_TRUE(f.fits);
  EXPECT_NEAR(f.c, 0.5, 1e-5);
  EXPECT_NEAR(f.error_at_twice, 0.05 + 2 / std::sqrt(3200.0), 1e-7);
}

// Of three points two are left: 0.25 and 0.15, 0.25 and 0.1, 0.15 and 0.1 at 100, 400, 1600. Lowest at 3200: the power
// law through the first two, 0.25 * 32^-log4(0.25 / 0.15). Highest: c = 2 through them, 0.15 - 0.1 / 15 * (1 - 1 / 64).
TEST(ForecastTwiceTest, ThreePointsGiveAWideRange) {
  const CurveForecast f = ForecastTwice(OnCurve(0.05, 2, 0.5, {100, 400, 1600}));
  EXPECT_NEAR(f.low, 0.25 * std::pow(32.0, -std::log(0.25 / 0.15) / std::log(4.0)), 1e-6);
  EXPECT_NEAR(f.high, 0.15 - 0.1 / 15 * (1 - 1.0 / 64), 1e-6);
}

// A measured-looking curve: no curve of a grid around and far from the answer fits better.
TEST(ForecastTwiceTest, NoCurveOfAGridFitsBetter) {
  const std::vector<CurvePoint> points = {{40, 0.41, 0}, {80, 0.3, 0}, {160, 0.26, 0}, {320, 0.19, 0}, {640, 0.17, 0}};
  const CurveForecast f = ForecastTwice(points);
  ASSERT_TRUE(f.fits);
  const double best = SquaredError(points, f.a, f.b, f.c);
  for (double a = 0; a <= 0.2; a += 0.005) {
    for (double c = 0.02; c <= 2; c += 0.02) {
      for (double at_40 = 0; at_40 <= 0.5; at_40 += 0.005) {
        ASSERT_GE(SquaredError(points, a, at_40 * std::pow(40.0, c), c), best - 1e-12) << a << " " << c << " " << at_40;
      }
    }
  }
  for (double c : {f.c * 0.999, f.c * 1.001}) EXPECT_GT(SquaredError(points, f.a, f.b, c), best);
  EXPECT_LT(f.low, f.error_at_twice);
  EXPECT_GT(f.high, f.error_at_twice);
  EXPECT_GT(f.low, 0);
  EXPECT_LT(f.high, 0.19);
}

// Steeper at the end than any power law: a free a would be negative.
TEST(ForecastTwiceTest, AsymptoteIsNeverNegative) {
  const CurveForecast f = ForecastTwice({{100, 0.5, 0}, {200, 0.4, 0}, {400, 0.25, 0}, {800, 0.05, 0}});
  ASSERT_TRUE(f.fits);
  EXPECT_EQ(f.a, 0);
  EXPECT_GT(f.b, 0);
  EXPECT_GE(f.low, 0);
}

TEST(ForecastTwiceTest, RisingErrorsForecastTheirMean) {
  const CurveForecast f = ForecastTwice({{100, 0.2, 0}, {200, 0.25, 0}, {400, 0.3, 0}, {800, 0.35, 0}});
  ASSERT_TRUE(f.fits);
  EXPECT_EQ(f.b, 0);
  EXPECT_NEAR(f.error_at_twice, 0.275, 1e-12);
  EXPECT_NEAR(f.low, 0.25, 1e-12);   // without the last
  EXPECT_NEAR(f.high, 0.3, 1e-12);   // without the first
}

TEST(ForecastTwiceTest, NoErrorStaysNoError) {
  const CurveForecast f = ForecastTwice({{10, 0, 0}, {20, 0, 0}, {40, 0, 0}});
  ASSERT_TRUE(f.fits);
  EXPECT_EQ(f.error_at_twice, 0);
  EXPECT_EQ(f.high, 0);
}

// A point 0.2 off the curve with 1000 times the others' deviation weighs a millionth.
TEST(ForecastTwiceTest, UncertainPointsWeighLess) {
  std::vector<CurvePoint> points = OnCurve(0.05, 2, 0.5, {50, 100, 200, 400, 800, 1600});
  const double truth = 0.05 + 2 / std::sqrt(3200.0);
  points[5].error += 0.2;
  EXPECT_GT(ForecastTwice(points).error_at_twice, truth + 0.05);
  for (CurvePoint& p : points) p.standard_deviation = 0.001;
  points[5].standard_deviation = 1;
  EXPECT_NEAR(ForecastTwice(points).error_at_twice, truth, 1e-3);
  points[0].standard_deviation = 0;  // one is not known: no weights
  EXPECT_GT(ForecastTwice(points).error_at_twice, truth + 0.05);
}

// Weights of 1 / deviation^2 stay in reach of each other, also where every picture was right.
TEST(ForecastTwiceTest, WeightsOfStandardErrorsAreOfUse) {
  std::vector<CurvePoint> points = OnCurve(0, 30, 1.2, {50, 100, 200, 400, 800, 1600});
  for (CurvePoint& p : points) p.standard_deviation = StandardError(p.error, 40);
  EXPECT_NEAR(ForecastTwice(points).error_at_twice, 30 * std::pow(3200.0, -1.2), 1e-6);
  points = {{100, 0.2, 0}, {200, 0, 0}, {400, 0, 0}};
  for (CurvePoint& p : points) p.standard_deviation = StandardError(p.error, 40);
  const CurveForecast f = ForecastTwice(points);
  ASSERT_TRUE(f.fits);
  EXPECT_GE(f.low, 0);
  EXPECT_LT(f.high, 0.2);
}

TEST(StandardErrorTest, IsBinomialWithTwoPicturesMoreOfEachKind) {
  EXPECT_NEAR(StandardError(0.25, 96), std::sqrt(0.26 * 0.74 / 100), 1e-12);
  EXPECT_NEAR(StandardError(0, 16), std::sqrt(0.1 * 0.9 / 20), 1e-12);
  EXPECT_NEAR(StandardError(1, 16), StandardError(0, 16), 1e-12);
}

TEST(ForecastTwiceTest, OrderDoesNotMatter) {
  std::vector<CurvePoint> points = {{40, 0.41, 0}, {80, 0.3, 0}, {160, 0.26, 0}, {320, 0.19, 0}};
  const CurveForecast forward = ForecastTwice(points);
  std::swap(points[0], points[3]);
  std::swap(points[1], points[2]);
  const CurveForecast backward = ForecastTwice(points);
  EXPECT_NEAR(forward.error_at_twice, backward.error_at_twice, 1e-9);
  EXPECT_NEAR(forward.low, backward.low, 1e-9);
  EXPECT_NEAR(forward.high, backward.high, 1e-9);
}

TEST(ForecastTwiceTest, RepeatsOfASizeAreAveraged) {
  std::vector<CurvePoint> points;
  for (const CurvePoint& p : OnCurve(0.05, 2, 0.5, {100, 200, 400, 800})) {
    points.push_back({p.images, p.error + 0.01, 0});
    points.push_back({p.images, p.error - 0.01, 0});
  }
  const CurveForecast f = ForecastTwice(points);
  EXPECT_NEAR(f.error_at_twice, 0.05 + 2 / std::sqrt(1600.0), 1e-6);
  EXPECT_LT(f.low, f.high);
}

TEST(ForecastTwiceTest, TooLittleToGoOnDoesNotFit) {
  EXPECT_FALSE(ForecastTwice({}).fits);
  EXPECT_FALSE(ForecastTwice({{100, 0.3, 0}}).fits);
  EXPECT_FALSE(ForecastTwice({{100, 0.3, 0}, {200, 0.2, 0}}).fits);
  EXPECT_FALSE(ForecastTwice({{100, 0.3, 0}, {200, 0.2, 0}, {200, 0.21, 0}, {100, 0.31, 0}}).fits);  // two sizes
  EXPECT_FALSE(ForecastTwice({{0, 0.9, 0}, {100, 0.3, 0}, {200, 0.2, 0}, {400, 0.1, 0}}).fits);
  EXPECT_FALSE(
      ForecastTwice({{50, std::numeric_limits<double>::quiet_NaN(), 0}, {100, 0.3, 0}, {200, 0.2, 0}, {400, 0.1, 0}})
          .fits);
}

}  // namespace
}  // namespace graft

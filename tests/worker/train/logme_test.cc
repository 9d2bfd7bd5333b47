#include "worker/train/logme.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <limits>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace graft {
namespace {

struct Task {
  at::Tensor features;  // float64
  std::vector<int> labels;
};

// Waves, the first of which knows the label. 3 classes.
Task Waves(int n, int width) {
  Task task;
  task.features = at::empty({n, width}, at::kDouble);
  for (int i = 0; i < n; ++i) {
    task.labels.push_back(i * i % 7 % 3);
    for (int j = 0; j < width; ++j) task.features[i][j] = std::sin(1 + i * (j + 1) + 0.5 * j);
    task.features[i][0] += task.labels[i];
  }
  return task;
}

double MustScore(const at::Tensor& features, const std::vector<int>& labels, int classes = 3) {
  return LogMe(features, labels, classes).value();
}

// Reference: numpy 1.24, float64: the fixed point alpha = gamma / |m|^2, beta = (n - gamma) / (|y - F m|^2 + 1e-5) over
// numpy.linalg.svd(F), then log N(y | 0, F F' / alpha + I / beta) / n by slogdet and solve of the n x n matrix.
TEST(LogMeTest, EqualsTheReference) {
  const Task tall = Waves(30, 4), wide = Waves(12, 20);
  EXPECT_NEAR(MustScore(tall.features, tall.labels), -0.7294499112140018, 1e-6);
  EXPECT_NEAR(MustScore(wide.features, wide.labels), -0.7877861266742586, 1e-6);
}

TEST(LogMeTest, EqualsTheReferenceOnDependentFeatures) {  // producer as above
  const Task task = Waves(30, 4);
  task.features.select(1, 3) = 2 * task.features.select(1, 1) - task.features.select(1, 2);
  EXPECT_NEAR(MustScore(task.features, task.labels), -0.736193632666115, 1e-6);
}

// log N(y | 0, F F' / alpha + I / beta), written down as it is defined.
double LogDensity(const at::Tensor& features, const at::Tensor& y, double alpha, double beta) {
  const at::Tensor covariance = at::mm(features, features.t()) / alpha + at::eye(y.numel(), at::kDouble) / beta;
  const double log_determinant = at::linalg_cholesky(covariance).diagonal().log().sum().item<double>() * 2;
  const double distance = at::dot(y, at::mv(at::linalg_inv(covariance), y)).item<double>();
  return -0.5 * (static_cast<double>(y.numel()) * std::log(2 * M_PI) + log_determinant + distance);
}

// The largest density over alpha and beta: of a grid of their logarithms, then a pattern search from there.
double LargestLogDensity(const at::Tensor& features, const at::Tensor& y) {
  double a = 0, b = 0, best = -std::numeric_limits<double>::infinity();
  for (int i = -3; i < 10; ++i) {
    for (int j = -3; j < 6; ++j) {
      const double density = LogDensity(features, y, std::exp(i), std::exp(j));
      if (density > best) std::tie(best, a, b) = std::tuple(density, i, j);
    }
  }
  for (double step = 0.5; step > 1e-4;) {
    bool moved = false;
    for (const auto& [da, db] : {std::pair(step, 0.0), {-step, 0.0}, {0.0, step}, {0.0, -step}}) {
      const double density = LogDensity(features, y, std::exp(a + da), std::exp(b + db));
      if (density <= best) continue;
      best = density;
      a += da;
      b += db;
      moved = true;
    }
    if (!moved) step /= 2;
  }
  return best;
}

TEST(LogMeTest, IsTheLargestEvidence) {
  for (const int width : {2, 10}) {
    const Task task = Waves(8, width);
    double sum = 0;
    for (int c = 0; c < 3; ++c) {
      const at::Tensor y = at::tensor(task.labels).eq(c).to(at::kDouble);
      sum += LargestLogDensity(task.features, y) / 8;
    }
    EXPECT_NEAR(MustScore(task.features, task.labels), sum / 3, 1e-6) << width;
  }
}

TEST(LogMeTest, FeaturesThatKnowTheLabelScoreHigher) {
  const Task task = Waves(60, 6);
  double before = MustScore(task.features, task.labels);
  const at::Tensor label = at::one_hot(at::tensor(task.labels).to(at::kLong), 6);
  for (const double strength : {1.0, 2.0, 4.0}) {
    const double score = MustScore(task.features + strength * label, task.labels);
    EXPECT_GT(score, before + 0.05) << strength;
    before = score;
  }
}

TEST(LogMeTest, ScaleAndPrecisionDoNotMatter) {
  const Task task = Waves(30, 4);
  const double score = MustScore(task.features, task.labels);
  EXPECT_NEAR(MustScore(task.features * 1e4, task.labels), score, 1e-9);
  EXPECT_NEAR(MustScore(task.features * 1e-4, task.labels), score, 1e-9);
  EXPECT_NEAR(MustScore(task.features.to(at::kFloat), task.labels), score, 1e-6);
}

TEST(LogMeTest, ClassesWithoutExamplesDoNotCount) {
  const Task task = Waves(30, 4);
  EXPECT_EQ(MustScore(task.features, task.labels, 7), MustScore(task.features, task.labels, 3));
}

TEST(LogMeTest, FeaturesThatSayNothingGiveTheNoisesEvidence) {
  // y ~ N(0, I / beta) at beta = n / |y|^2, up to the floor of 1e-5 under |y|^2.
  const auto noise = [](double n, double count) { return 0.5 * (std::log(n / count / (2 * M_PI)) - 1); };
  const std::vector<int> labels = {0, 0, 1, 1, 1, 1};
  const double want = (noise(6, 2) + noise(6, 4)) / 2;
  EXPECT_NEAR(MustScore(at::zeros({6, 2}), labels, 2), want, 1e-9);
  const at::Tensor orthogonal = at::tensor({1.0, -1.0, 1.0, -1.0, 1.0, -1.0}).reshape({6, 1});
  EXPECT_NEAR(MustScore(orthogonal, labels, 2), want, 1e-8);
}

TEST(LogMeTest, AnExactFitIsFinite) {
  const std::vector<int> labels = {0, 1, 2, 0, 1, 2, 0, 1};
  const at::Tensor one_hot = at::one_hot(at::tensor(labels).to(at::kLong)).to(at::kDouble);
  const double score = MustScore(one_hot, labels);
  EXPECT_TRUE(std::isfinite(score));
  EXPECT_GT(score, 1) << "far above any noisy fit: a density, not a probability";
}

TEST(LogMeTest, BadArgumentsAreInvalid) {
  const std::vector<int> labels = {0, 1, 2};
  const auto expect_invalid = [](const at::Tensor& features, const std::vector<int>& of, const std::string& message) {
    EXPECT_EQ(LogMe(features, of, 3).status(), absl::InvalidArgumentError(message));
  };
  const std::string want = ", want CPUFloatType or CPUDoubleType of 2";
  expect_invalid({}, labels, "features: got UndefinedType of 0 dimensions" + want);
  expect_invalid(at::zeros({3}), labels, "features: got CPUFloatType of 1 dimensions" + want);
  expect_invalid(at::zeros({3, 2}, at::kLong), labels,
                 "features: got CPULongType of 2 dimensions" + want);
  expect_invalid(at::zeros({0, 2}), {}, "features: got [0, 2], want rows and columns");
  expect_invalid(at::zeros({3, 0}), labels, "features: got [3, 0], want rows and columns");
  expect_invalid(at::zeros({2, 2}), labels, "labels: got 3, want one for each of 2 rows");
  expect_invalid(at::zeros({3, 2}), {0, -1, 2}, "labels: got -1, want 0 to 2");
  expect_invalid(at::zeros({3, 2}), {0, 1, 3}, "labels: got 3, want 0 to 2");
  expect_invalid(at::full({3, 2}, std::nan("")), labels,
                 "features: got values that are infinite or not numbers, want finite ones");
}

// A row's classes are regressed one by one: a set for each row that has one class is the same problem.
TEST(LogMeTest, OfSetsOfOneClassIsThatOfTheClasses) {
  const Task task = Waves(30, 4);
  std::vector<std::vector<int>> sets;
  for (const int label : task.labels) sets.push_back({label});
  EXPECT_EQ(LogMe(task.features, Labelling::AnyNumber(sets), 3).value(), MustScore(task.features, task.labels));
}

// Class 1 of three is what class 0 is of two, and class 0 likewise; class 2 is never there.
TEST(LogMeTest, OfAnyNumberOfClassesIsTheirMean) {
  const Task task = Waves(30, 4);
  const auto score = [&](const std::vector<std::vector<int>>& sets, int classes) {
    return LogMe(task.features, Labelling::AnyNumber(sets), classes).value();
  };
  std::vector<std::vector<int>> first, second, both;
  for (int i = 0; i < 30; ++i) {
    const bool a = task.labels[i] == 1, b = i % 4 < 3;
    first.push_back(a ? std::vector<int>{0} : std::vector<int>{});
    second.push_back(b ? std::vector<int>{0} : std::vector<int>{});
    both.emplace_back();
    if (a) both.back().push_back(0);
    if (b) both.back().push_back(1);
  }
  EXPECT_NEAR(score(both, 3), (score(first, 1) + score(second, 1)) / 2, 1e-12);
}

TEST(LogMeTest, RowsWithoutAnyLabelAreInvalid) {
  const Task task = Waves(5, 2);
  EXPECT_EQ(LogMe(task.features, Labelling::AnyNumber(std::vector<std::vector<int>>(5)), 2).status(),
            absl::InvalidArgumentError("labels: got none, want some"));
}

}  // namespace
}  // namespace graft

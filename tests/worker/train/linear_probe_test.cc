#include "worker/train/linear_probe.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "worker/train/folds.h"

namespace graft {
namespace {

WorkerPool::Options Threads(int threads) {
  WorkerPool::Options options;
  options.threads = threads;
  options.on_thread_start = [] { at::set_num_threads(1); };
  return options;
}

struct Task {
  at::Tensor features;
  std::vector<int> labels;
  int classes = 4;
};

// Classes around random means `signal` standard deviations from zero, on features of unequal scales.
Task RandomTask(int64_t n, int64_t width, double signal, uint64_t seed) {
  at::Generator generator = at::detail::createCPUGenerator(seed);
  Task task;
  const at::Tensor means = at::randn({task.classes, width}, generator) * signal;
  const at::Tensor labels = at::randint(task.classes, {n}, generator, at::kLong);
  task.features = (means.index_select(0, labels) + at::randn({n, width}, generator)) * at::logspace(-1, 1, width) + 3;
  for (int64_t i = 0; i < n; ++i) task.labels.push_back(static_cast<int>(labels[i].item<int64_t>()));
  return task;
}

LinearProbe MustFit(const Task& task, const LinearProbeOptions& options = {}) {
  return FitLinearProbe(task.features, task.labels, task.classes, options).value();
}

CrossValidation MustCrossValidate(const Task& task, WorkerPool* pool, int folds = 5) {
  return CrossValidateProbe(task.features, task.labels, task.classes, folds, 1, {}, pool, CancelToken()).value();
}

at::Tensor Logits(const LinearProbe& probe, const at::Tensor& features) {
  return at::addmm(probe.bias, features, probe.weight.t());
}

// Reference: the same objective by Newton's method in float64, numpy 1.24 (Hessian sum_i kron(diag(p) - pp', zz')/n,
// 50 steps, gradient norm 9e-17), on these features and labels. Tolerance: gradient 1e-6 over curvature l2.
TEST(LinearProbeTest, EqualsNewtonsMethod) {
  Task task;
  task.classes = 3;
  task.features = at::empty({12, 3});
  for (int i = 0; i < 12; ++i) {
    for (int j = 0; j < 3; ++j) task.features[i][j] = std::sin(1.0 + i * (j + 1)) + j;
    task.labels.push_back(i * i % 7 % 3);
  }
  LinearProbeOptions options;
  options.l2 = 0.1;
  options.tolerance = 1e-6;
  const LinearProbe probe = MustFit(task, options);
  EXPECT_TRUE(probe.converged);
  const at::Tensor weight = at::tensor({0.98680561, 0.78448977, 0.71537049, 0.4226568, -0.89528037, -0.58634526,
                                        -1.4094624, 0.1107906, -0.12902523}).reshape({3, 3});
  const at::Tensor bias = at::tensor({-3.11050093, 2.8992673, 0.21123363});
  EXPECT_LT((probe.weight - weight).abs().max().item<double>(), 5e-5) << probe.weight;
  EXPECT_LT((probe.bias - bias).abs().max().item<double>(), 5e-5) << probe.bias;
}

TEST(LinearProbeTest, GradientIsZeroAtTheOptimum) {
  const Task task = RandomTask(300, 20, 0.3, 1);
  const LinearProbe probe = MustFit(task);
  ASSERT_TRUE(probe.converged);
  // Autograd's gradient in float64 of the objective that the header states.
  const at::Tensor raw = task.features.to(at::kDouble);
  const auto [deviation, mean] = at::std_mean(raw, 0, /*unbiased=*/false);
  const at::Tensor weight = (probe.weight * deviation).requires_grad_(true);
  const at::Tensor bias = (probe.bias + at::mv(probe.weight.to(at::kDouble), mean)).requires_grad_(true);
  const at::Tensor labels = at::tensor(task.labels).to(at::kLong);
  const at::Tensor loss = at::cross_entropy_loss(at::addmm(bias, (raw - mean) / deviation, weight.t()), labels) +
                          0.5 * LinearProbeOptions().l2 * weight.square().sum();
  loss.backward();
  EXPECT_LT(weight.grad().norm().item<double>(), 1e-4);
  EXPECT_LT(bias.grad().norm().item<double>(), 1e-4);
  EXPECT_GT(weight.norm().item<double>(), 0.1);
}

TEST(LinearProbeTest, UnitsOfTheFeaturesDoNotMatter) {
  Task task = RandomTask(200, 10, 0.5, 2);
  const at::Tensor logits = Logits(MustFit(task), task.features);
  task.features = task.features * 100 - 7;
  EXPECT_LT((Logits(MustFit(task), task.features) - logits).abs().max().item<double>(), 1e-2);
}

TEST(LinearProbeTest, ConstantFeatureGetsNoWeight) {
  Task task = RandomTask(100, 5, 1, 3);
  task.features.select(1, 2).fill_(0.1f);
  const LinearProbe probe = MustFit(task);
  EXPECT_TRUE(probe.converged);
  EXPECT_EQ(probe.weight.select(1, 2).abs().max().item<float>(), 0);
}

TEST(LinearProbeTest, ClassWithoutRowsIsNeverPredicted) {
  Task task = RandomTask(100, 5, 1, 4);
  for (int& label : task.labels) label = std::min(label, 2);
  const LinearProbe probe = MustFit(task);
  EXPECT_TRUE(probe.converged);
  EXPECT_LT(at::softmax(Logits(probe, task.features), 1).select(1, 3).max().item<double>(), 1e-3);
}

TEST(LinearProbeTest, MoreFeaturesThanRows) {
  const Task task = RandomTask(20, 200, 1, 5);
  const LinearProbe probe = MustFit(task);
  EXPECT_TRUE(probe.converged);
  EXPECT_TRUE(at::equal(Logits(probe, task.features).argmax(1), at::tensor(task.labels).to(at::kLong)));
}

TEST(LinearProbeTest, SaysWhenTheIterationsWereTooFew) {
  LinearProbeOptions options;
  options.max_iterations = 2;
  const LinearProbe probe = MustFit(RandomTask(100, 5, 1, 6), options);
  EXPECT_FALSE(probe.converged);
  EXPECT_EQ(probe.iterations, 2);
}

TEST(LinearProbeTest, BadArgumentsAreInvalid) {
  const Task good = RandomTask(10, 3, 1, 7);
  const auto expect_invalid = [](const Task& task, const LinearProbeOptions& options, const char* message) {
    const absl::Status status = FitLinearProbe(task.features, task.labels, task.classes, options).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(status.message(), message);
  };
  const auto with = [&](const at::Tensor& features) { return Task{features, good.labels, good.classes}; };
  expect_invalid(with({}), {}, "features: got UndefinedType of 0 dimensions, want CPUFloatType of 2");
  expect_invalid(with(at::zeros({10})), {}, "features: got CPUFloatType of 1 dimensions, want CPUFloatType of 2");
  expect_invalid(with(at::zeros({10, 3}, at::kDouble)), {},
                 "features: got CPUDoubleType of 2 dimensions, want CPUFloatType of 2");
  expect_invalid({at::zeros({0, 3}), {}, 4}, {}, "features: got [0, 3], want rows and columns");
  expect_invalid(with(at::zeros({10, 0})), {}, "features: got [10, 0], want rows and columns");
  expect_invalid(with(at::zeros({9, 3})), {}, "labels: got 10, want one for each of 9 rows");
  expect_invalid(with(at::full({10, 3}, std::numeric_limits<float>::infinity())), {},
                 "features: got values that are infinite or not numbers, want finite ones");
  Task task = good;
  task.classes = 1;
  expect_invalid(task, {}, "classes: got 1, want at least 2");
  for (const int label : {-1, 4}) {
    task = good;
    task.labels[5] = label;
    expect_invalid(task, {}, label < 0 ? "labels: got -1, want 0 to 3" : "labels: got 4, want 0 to 3");
  }
  expect_invalid(good, {0, 200, 1e-5}, "l2: got 0, want > 0");
  expect_invalid(good, {1, 0, 1e-5}, "max_iterations: got 0, want >= 1");
  expect_invalid(good, {1, 200, -1}, "tolerance: got -1, want > 0");
}

TEST(LinearProbeTest, StopsWhenCancelled) {
  const Task task = RandomTask(10, 3, 1, 8);
  CancelToken cancel;
  cancel.Stop(StopReason::kCancelled);
  WorkerPool pool(Threads(1));
  EXPECT_EQ(FitLinearProbe(task.features, task.labels, 4, {}, cancel).status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(CrossValidateProbe(task.features, task.labels, 4, 2, 1, {}, &pool, cancel).status().code(),
            absl::StatusCode::kCancelled);
}

TEST(CrossValidateProbeTest, PredictsEachFoldWithoutIt) {
  const Task task = RandomTask(60, 6, 0.5, 9);
  WorkerPool pool(Threads(2));
  const CrossValidation validation = MustCrossValidate(task, &pool, 3);
  const std::vector<int> fold_of = StratifiedFolds(task.labels, 3, 1);
  double sum = 0, squares = 0, loss = 0;
  for (int fold = 0; fold < 3; ++fold) {
    std::vector<int64_t> others;
    Task rest;
    for (int64_t i = 0; i < 60; ++i) {
      if (fold_of[i] == fold) continue;
      others.push_back(i);
      rest.labels.push_back(task.labels[i]);
    }
    rest.features = task.features.index_select(0, at::tensor(others));
    const at::Tensor logits = Logits(MustFit(rest), task.features);
    int correct = 0, size = 0;
    for (int64_t i = 0; i < 60; ++i) {
      if (fold_of[i] != fold) continue;
      for (int c = 0; c < 4; ++c) EXPECT_NEAR(validation.logits[4 * i + c], logits[i][c].item<float>(), 1e-5);
      loss -= at::log_softmax(logits[i], 0)[task.labels[i]].item<double>();
      correct += logits[i].argmax().item<int64_t>() == task.labels[i];
      ++size;
    }
    EXPECT_DOUBLE_EQ(validation.fold_accuracy.at(fold), static_cast<double>(correct) / size);
    sum += validation.fold_accuracy[fold];
    squares += validation.fold_accuracy[fold] * validation.fold_accuracy[fold];
  }
  EXPECT_NEAR(validation.mean, sum / 3, 1e-12);
  EXPECT_NEAR(validation.log_loss, loss / 60, 1e-5);
  EXPECT_NEAR(validation.standard_deviation, std::sqrt((squares - sum * sum / 3) / 2), 1e-7);
}

// A probe that had seen the rows would get nearly all of them right: there are more features than rows.
TEST(CrossValidateProbeTest, RandomLabelsGiveChance) {
  const Task task = RandomTask(400, 500, 0, 10);
  WorkerPool pool(Threads(2));
  EXPECT_NEAR(MustCrossValidate(task, &pool).mean, 0.25, 4 * std::sqrt(0.25 * 0.75 / 400)) << "four standard errors";
}

TEST(CrossValidateProbeTest, FarClassesAreAllRight) {
  WorkerPool pool(Threads(2));
  const CrossValidation validation = MustCrossValidate(RandomTask(100, 20, 5, 11), &pool);
  EXPECT_EQ(validation.mean, 1);
  EXPECT_EQ(validation.standard_deviation, 0);
}

TEST(CrossValidateProbeTest, PoolSizeDoesNotMatter) {
  const Task task = RandomTask(60, 6, 0.5, 12);
  WorkerPool one(Threads(1)), three(Threads(3));
  EXPECT_EQ(MustCrossValidate(task, &one).logits, MustCrossValidate(task, &three).logits);
}

TEST(CrossValidateProbeTest, BadArgumentsAreInvalid) {
  const Task task = RandomTask(10, 3, 1, 13);
  WorkerPool pool(Threads(1));
  for (const int folds : {1, 11}) {
    const absl::Status status =
        CrossValidateProbe(task.features, task.labels, 4, folds, 1, {}, &pool, CancelToken()).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(status.message(), folds == 1 ? "folds: got 1, want 2 to 10" : "folds: got 11, want 2 to 10");
  }
  EXPECT_EQ(CrossValidateProbe(task.features, {0}, 4, 2, 1, {}, &pool, CancelToken()).status().message(),
            "labels: got 1, want one for each of 10 rows");
}

// The rows of a task, each with the classes that a plane through the features gives it, and noise.
Labelling RandomSets(const Task& task, double noise, uint64_t seed) {
  at::Generator generator = at::detail::createCPUGenerator(seed);
  const int64_t n = task.features.size(0), width = task.features.size(1);
  const at::Tensor rows = (task.features - task.features.mean(0)) / task.features.std(0);
  const at::Tensor scores = at::mm(rows, at::randn({width, task.classes}, generator)) +
                            noise * at::randn({n, task.classes}, generator) - 1;
  std::vector<std::vector<int>> sets(n);
  for (int64_t i = 0; i < n; ++i) {
    for (int c = 0; c < task.classes; ++c) {
      if (scores[i][c].item<float>() > 0) sets[i].push_back(c);
    }
  }
  return Labelling::AnyNumber(sets);
}

at::Tensor MultiHot(const Labelling& labels, int classes) {
  at::Tensor targets = at::zeros({static_cast<int64_t>(labels.size()), classes}, at::kDouble);
  for (size_t i = 0; i < labels.size(); ++i) {
    for (const int label : labels.sets()[i]) targets[static_cast<int64_t>(i)][label] = 1;
  }
  return targets;
}

TEST(MultiLabelProbeTest, GradientIsZeroAtTheOptimum) {
  const Task task = RandomTask(300, 20, 0.3, 1);
  const Labelling labels = RandomSets(task, 3, 2);
  const LinearProbe probe = FitLinearProbe(task.features, labels, task.classes, {}).value();
  ASSERT_TRUE(probe.converged);
  const at::Tensor raw = task.features.to(at::kDouble);
  const auto [deviation, mean] = at::std_mean(raw, 0, /*unbiased=*/false);
  const at::Tensor weight = (probe.weight * deviation).requires_grad_(true);
  const at::Tensor bias = (probe.bias + at::mv(probe.weight.to(at::kDouble), mean)).requires_grad_(true);
  const at::Tensor logits = at::addmm(bias, (raw - mean) / deviation, weight.t());
  const at::Tensor loss = at::binary_cross_entropy_with_logits(logits, MultiHot(labels, task.classes), {}, {},
                                                               at::Reduction::Sum) / 300 +
                          0.5 * LinearProbeOptions().l2 * weight.square().sum();
  loss.backward();
  EXPECT_LT(weight.grad().norm().item<double>(), 1e-4);
  EXPECT_LT(bias.grad().norm().item<double>(), 1e-4);
  EXPECT_GT(weight.norm().item<double>(), 0.1);
}

// Each class is a problem of its own: the probe of two classes is that of four, without two.
TEST(MultiLabelProbeTest, ClassesDoNotInfluenceEachOther) {
  const Task task = RandomTask(200, 10, 0.5, 3);
  const Labelling labels = RandomSets(task, 1, 4);
  std::vector<std::vector<int>> two;
  for (const std::vector<int>& set : labels.sets()) {
    two.emplace_back();
    for (const int label : set) {
      if (label < 2) two.back().push_back(label);
    }
  }
  const LinearProbe all = FitLinearProbe(task.features, labels, 4, {}).value();
  const LinearProbe part = FitLinearProbe(task.features, Labelling::AnyNumber(two), 2, {}).value();
  EXPECT_TRUE(at::allclose(all.weight.narrow(0, 0, 2), part.weight, 1e-2, 1e-3));
}

TEST(MultiLabelProbeTest, CrossValidationMeasuresExactMatchesAndTheMeanLoss) {
  const Task task = RandomTask(240, 8, 0.5, 5);
  const Labelling labels = RandomSets(task, 0.3, 6);
  WorkerPool one(Threads(1)), three(Threads(3));
  const CrossValidation result =
      CrossValidateProbe(task.features, labels, 4, 4, 1, {}, &three, CancelToken()).value();
  EXPECT_EQ(result.logits, CrossValidateProbe(task.features, labels, 4, 4, 1, {}, &one, CancelToken())->logits);
  const at::Tensor logits = at::tensor(result.logits).view({240, 4}), targets = MultiHot(labels, 4);
  EXPECT_NEAR(result.log_loss, at::binary_cross_entropy_with_logits(logits.to(at::kDouble), targets).item<double>(),
              1e-9);
  const at::Tensor right = logits.ge(0).eq(targets.ge(0.5)).all(1);
  const std::vector<int> fold_of = StratifiedFolds(labels, 4, 1);
  double mean = 0;
  for (int fold = 0; fold < 4; ++fold) {
    const at::Tensor inside = at::tensor(fold_of).eq(fold);
    EXPECT_NEAR(result.fold_accuracy[fold], right.masked_select(inside).to(at::kDouble).mean().item<double>(), 1e-12);
    mean += result.fold_accuracy[fold] / 4;
  }
  EXPECT_NEAR(result.mean, mean, 1e-12);
  EXPECT_GT(result.mean, 0.5);
}

TEST(MultiLabelProbeTest, BadLabelsAreInvalid) {
  const Task task = RandomTask(3, 3, 1, 7);
  const auto message = [&](std::vector<std::vector<int>> sets) {
    const absl::Status status = FitLinearProbe(task.features, Labelling::AnyNumber(std::move(sets)), 4, {}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  EXPECT_EQ(FitLinearProbe(task.features, Labelling::AnyNumber({{}, {}, {}}), 0, {}).status().message(),
            "classes: got 0, want at least 1");
  EXPECT_EQ(message({{0}, {}}), "labels: got 2, want one for each of 3 rows");
  EXPECT_EQ(message({{0}, {}, {1, 4}}), "labels: got 4, want 0 to 3");
  EXPECT_EQ(message({{0}, {-1, 2}, {}}), "labels: got -1, want 0 to 3");
}

}  // namespace
}  // namespace graft

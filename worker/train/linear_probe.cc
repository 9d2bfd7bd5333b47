#include "worker/train/linear_probe.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <deque>
#include <limits>
#include <numeric>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "worker/backbone/torch_status.h"
#include "worker/base/status.h"
#include "worker/train/folds.h"
#include "worker/train/label_tensors.h"

namespace graft {
namespace {

using Vector = std::vector<double>;

constexpr size_t kHistory = 10;               // pairs; Nocedal & Wright: 3 to 20
constexpr double kSufficientDecrease = 1e-4;  // Nocedal & Wright, section 3.1
constexpr double kSmallestStep = 1e-9;        // moves no float32 weight
// Relative error of a loss that is computed in float32: close to the optimum the true decrease drowns in it (Hager &
// Zhang 2005, "approximate Wolfe" conditions).
constexpr double kLossRounding = 1e-7;

double Dot(const Vector& a, const Vector& b) { return std::inner_product(a.begin(), a.end(), b.begin(), 0.0); }

// a + factor * b; an empty a is zero.
Vector Sum(Vector sum, double factor, const Vector& b) {
  sum.resize(b.size());
  for (size_t i = 0; i < b.size(); ++i) sum[i] += factor * b[i];
  return sum;
}

// The penalised loss of theta: W row by row, then b. The matrices are float32, sums over rows and theta are double.
class Objective {
 public:
  // `rows` are standardised, float32 [n, width].
  Objective(const at::Tensor& rows, const Labelling& labels, int classes, double l2)
      : rows_(rows), labels_(labels), classes_(classes), width_(rows.size(1)), l2_(l2) {
    if (labels.multi_label()) targets_ = TargetsOf(labels, classes, at::kFloat).t().contiguous();
  }

  int64_t size() const { return classes_ * (width_ + 1); }

  at::Tensor Weight(const Vector& theta) const { return Float(theta, 0, {classes_, width_}); }
  at::Tensor Bias(const Vector& theta) const { return Float(theta, classes_ * width_, {classes_}); }

  double operator()(const Vector& theta, Vector* gradient) const {
    const auto n = static_cast<int64_t>(labels_.size());
    const at::Tensor logits =  // [classes, n]: the faster order of OpenBLAS, and softmax works on whole vectors
        at::mm(Weight(theta), rows_.t()).add_(Bias(theta).unsqueeze(1));
    at::Tensor residual;
    double loss = (labels_.multi_label() ? SigmoidLoss(logits, &residual) : SoftmaxLoss(logits, &residual)) /
                  static_cast<double>(n);
    const float* const residual_data = residual.data_ptr<float>();
    const at::Tensor slope = at::mm(residual, rows_);  // [classes, width]
    const float* const slope_data = slope.data_ptr<float>();
    gradient->resize(size());
    for (int64_t i = 0; i < classes_ * width_; ++i) {
      (*gradient)[i] = slope_data[i] / static_cast<double>(n) + l2_ * theta[i];
      loss += 0.5 * l2_ * theta[i] * theta[i];
    }
    for (int64_t c = 0; c < classes_; ++c) {
      const float* row = residual_data + c * n;
      (*gradient)[classes_ * width_ + c] = std::accumulate(row, row + n, 0.0) / static_cast<double>(n);
    }
    return loss;
  }

 private:
  // Both: the loss, summed over rows, and its derivative by the logits [classes, n].
  double SoftmaxLoss(const at::Tensor& logits, at::Tensor* residual) const {
    const auto n = static_cast<int64_t>(labels_.size());
    const at::Tensor log_p = at::log_softmax(logits, 0);
    *residual = log_p.exp();  // softmax - onehot
    double loss = 0;
    const float* const log_p_data = log_p.data_ptr<float>();
    float* const residual_data = residual->data_ptr<float>();
    const std::vector<int>& labels = labels_.one_each();
    for (int64_t i = 0; i < n; ++i) {
      loss -= log_p_data[labels[i] * n + i];
      residual_data[labels[i] * n + i] -= 1;
    }
    return loss;
  }

  double SigmoidLoss(const at::Tensor& logits, at::Tensor* residual) const {
    *residual = at::sigmoid(logits) - targets_;
    return -at::log_sigmoid(logits * (targets_ * 2 - 1)).sum(at::kDouble).item<double>();
  }

  static at::Tensor Float(const Vector& theta, int64_t begin, at::IntArrayRef shape) {
    at::Tensor values = at::empty(shape, at::kFloat);
    std::copy_n(theta.begin() + begin, values.numel(), values.data_ptr<float>());
    return values;
  }

  const at::Tensor rows_;
  const Labelling& labels_;
  at::Tensor targets_;  // [classes, n], of a multi-label problem
  const int64_t classes_, width_;
  const double l2_;
};

// The last steps and what they did to the gradient: an approximation of the inverse Hessian.
class History {
 public:
  void Add(Vector step, Vector change) {
    const double curvature = Dot(step, change);
    // Rounding alone makes it negative: the objective is convex.
    if (curvature <= std::numeric_limits<double>::epsilon() * Dot(change, change)) return;
    if (pairs_.size() == kHistory) pairs_.pop_front();
    pairs_.push_back({std::move(step), std::move(change), curvature});
  }

  // The direction of descent at `gradient`: Nocedal & Wright, algorithm 7.4.
  Vector Direction(const Vector& gradient) const {
    // The first step has length 1.
    Vector direction = Sum({}, pairs_.empty() ? -1 / std::sqrt(Dot(gradient, gradient)) : -1, gradient);
    if (pairs_.empty()) return direction;
    Vector alpha;
    for (auto pair = pairs_.rbegin(); pair != pairs_.rend(); ++pair) {
      alpha.push_back(Dot(pair->step, direction) / pair->curvature);
      direction = Sum(std::move(direction), -alpha.back(), pair->change);
    }
    const double scale = pairs_.back().curvature / Dot(pairs_.back().change, pairs_.back().change);
    for (double& d : direction) d *= scale;
    for (const Pair& pair : pairs_) {
      const double beta = Dot(pair.change, direction) / pair.curvature;
      direction = Sum(std::move(direction), alpha.back() - beta, pair.step);
      alpha.pop_back();
    }
    return direction;
  }

 private:
  struct Pair {
    Vector step, change;
    double curvature;
  };
  std::deque<Pair> pairs_;
};

struct Point {
  Vector theta, gradient;
  double loss = 0;
};

// Moves `point` along `direction` to a sufficient decrease (Armijo). False: there is none that float32 can show.
bool LineSearch(const Objective& objective, const Vector& direction, Point* point) {
  const double slope = Dot(point->gradient, direction);
  if (!(slope < 0)) return false;
  Point next;
  for (double step = 1; step >= kSmallestStep; step /= 2) {
    next.theta = Sum(point->theta, step, direction);
    next.loss = objective(next.theta, &next.gradient);
    if (next.loss <= point->loss + kSufficientDecrease * step * slope + kLossRounding * std::abs(point->loss)) {
      *point = std::move(next);
      return true;
    }
  }
  return false;
}

// What every function of this file is called with.
struct Problem {
  const at::Tensor& features;
  const Labelling& labels;
  const int classes;
  const LinearProbeOptions& options;
};

absl::Status CheckArguments(const Problem& problem) {
  const auto& [features, labels, classes, options] = problem;
  const auto invalid = [](auto&&... parts) { return absl::InvalidArgumentError(absl::StrCat(parts...)); };
  if (!features.defined() || features.dim() != 2 || features.scalar_type() != at::kFloat || !features.is_cpu()) {
    return invalid("features: got ", features.toString(), " of ", features.defined() ? features.dim() : 0,
                   " dimensions, want CPUFloatType of 2");
  }
  const int64_t n = features.size(0), width = features.size(1);
  if (n == 0 || width == 0) return invalid("features: got [", n, ", ", width, "], want rows and columns");
  const int fewest = labels.multi_label() ? 1 : 2;
  if (classes < fewest) return invalid("classes: got ", classes, ", want at least ", fewest);
  RETURN_IF_ERROR(CheckLabels(labels, n, classes));
  if (!(options.l2 > 0) || !std::isfinite(options.l2)) return invalid("l2: got ", options.l2, ", want > 0");
  if (options.max_iterations < 1) return invalid("max_iterations: got ", options.max_iterations, ", want >= 1");
  if (!(options.tolerance > 0)) return invalid("tolerance: got ", options.tolerance, ", want > 0");
  return absl::OkStatus();
}

absl::Status Fit(const Problem& problem, const CancelToken& cancel, LinearProbe* probe) {
  const auto& [features, labels, classes, options] = problem;
  auto [deviation, mean] = at::std_mean(features, at::IntArrayRef{0}, /*unbiased=*/false);  // [width] each
  if (!deviation.isfinite().all().item<bool>()) {
    return absl::InvalidArgumentError("features: got values that are infinite or not numbers, want finite ones");
  }
  deviation.masked_fill_(deviation.eq(0), 1);
  const Objective objective((features - mean).div_(deviation), labels, classes, options.l2);
  Point point;
  point.theta.resize(objective.size());
  point.loss = objective(point.theta, &point.gradient);
  History history;
  while (true) {
    RETURN_IF_ERROR(cancel.status());
    probe->converged = Dot(point.gradient, point.gradient) <= options.tolerance * options.tolerance;
    if (probe->converged || probe->iterations == options.max_iterations) break;
    const Point last = point;
    if (!LineSearch(objective, history.Direction(last.gradient), &point)) break;
    history.Add(Sum(point.theta, -1, last.theta), Sum(point.gradient, -1, last.gradient));
    ++probe->iterations;
  }
  probe->weight = objective.Weight(point.theta).div_(deviation);
  probe->bias = objective.Bias(point.theta) - at::mv(probe->weight, mean);
  return absl::OkStatus();
}

struct FoldScore {
  double accuracy = 0;
  double loss = 0;  // sum over rows
};

// Sum over rows of the cross-entropy, or of the mean over classes of the binary one.
double LogLoss(const at::Tensor& logits, const Labelling& labels) {
  const at::Tensor wide = logits.to(at::kDouble);
  if (!labels.multi_label()) {
    const at::Tensor target = at::tensor(labels.one_each(), at::kLong);
    return at::cross_entropy_loss(wide, target, {}, at::Reduction::Sum).item<double>();
  }
  const auto classes = static_cast<int>(logits.size(1));
  const at::Tensor targets = TargetsOf(labels, classes, at::kDouble);
  return at::binary_cross_entropy_with_logits(wide, targets, {}, {}, at::Reduction::Sum).item<double>() / classes;
}

// Fits on the rows outside `fold` and predicts those inside: their rows of `logits`.
absl::StatusOr<FoldScore> ValidateFold(const Problem& problem, const std::vector<int>& fold_of, int fold,
                                       const CancelToken& cancel, float* logits) {
  const auto& [features, labels, classes, options] = problem;
  std::vector<int64_t> inside, outside;
  for (size_t i = 0; i < labels.size(); ++i) {
    (fold_of[i] == fold ? inside : outside).push_back(static_cast<int64_t>(i));
  }
  const Labelling inside_labels = labels.At(inside);
  ASSIGN_OR_RETURN(const LinearProbe probe, FitLinearProbe(features.index_select(0, at::tensor(outside, at::kLong)),
                                                           labels.At(outside), classes, options, cancel));
  const at::Tensor predicted =  // [inside.size(), classes]
      at::addmm(probe.bias, features.index_select(0, at::tensor(inside, at::kLong)), probe.weight.t());
  for (size_t i = 0; i < inside.size(); ++i) {
    std::copy_n(predicted.data_ptr<float>() + i * classes, classes, logits + inside[i] * classes);
  }
  return FoldScore{ExactMatchRatio(predicted, inside_labels), LogLoss(predicted, inside_labels)};
}

}  // namespace

absl::StatusOr<LinearProbe> FitLinearProbe(const at::Tensor& features, const Labelling& labels, int classes,
                                           const LinearProbeOptions& options, const CancelToken& cancel) {
  const Problem problem{features, labels, classes, options};
  RETURN_IF_ERROR(CheckArguments(problem));
  LinearProbe probe;
  RETURN_IF_ERROR(TryTorch("fit a linear probe", [&] {
    c10::NoGradGuard no_grad;
    return Fit(problem, cancel, &probe);
  }));
  return probe;
}

absl::StatusOr<CrossValidation> CrossValidateProbe(const at::Tensor& features, const Labelling& labels, int classes,
                                                   int folds, uint64_t seed, const LinearProbeOptions& options,
                                                   WorkerPool* pool, const CancelToken& cancel) {
  const Problem problem{features, labels, classes, options};
  RETURN_IF_ERROR(CheckArguments(problem));
  const auto n = static_cast<int64_t>(labels.size());
  if (folds < 2 || folds > n) return absl::InvalidArgumentError(absl::StrCat("folds: got ", folds, ", want 2 to ", n));
  const std::vector<int> fold_of = StratifiedFolds(labels, folds, seed);
  CrossValidation result;
  result.logits.resize(n * classes);
  std::vector<FoldScore> scores(folds);
  RETURN_IF_ERROR(pool->ParallelFor(folds, [&](int, int64_t fold) {
    return TryTorch("cross-validate a linear probe", [&]() -> absl::Status {
      c10::NoGradGuard no_grad;
      ASSIGN_OR_RETURN(scores[fold],
                       ValidateFold(problem, fold_of, static_cast<int>(fold), cancel, result.logits.data()));
      return absl::OkStatus();
    });
  }));
  for (const FoldScore& score : scores) {
    result.fold_accuracy.push_back(score.accuracy);
    result.mean += score.accuracy / folds;
    result.log_loss += score.loss / static_cast<double>(n);
  }
  double squares = 0;
  for (const double a : result.fold_accuracy) squares += (a - result.mean) * (a - result.mean);
  result.standard_deviation = std::sqrt(squares / (folds - 1));
  return result;
}

}  // namespace graft

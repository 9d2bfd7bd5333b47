#include "worker/train/logme.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "worker/backbone/torch_status.h"
#include "worker/base/status.h"
#include "worker/train/label_tensors.h"

namespace graft {
namespace {

constexpr double kResidualFloor = 1e-5;  // the authors' code: keeps the noise finite where the features fit exactly
constexpr int kMaxIterations = 300;      // a handful suffices, unless the features explain nothing
constexpr double kTolerance = 1e-6;      // relative; the evidence is flat at its maximum, so its error is the square
// alpha / beta over the largest eigenvalue, from which on the features explain nothing: the evidence is off by < 1e-9.
constexpr double kNoSignal = 1e9;

// One class's one-hot labels y, seen from the features' principal axes.
struct Target {
  const double* squares = nullptr;  // [rank]: (u_j' y)^2
  double unexplained = 0;           // |y|^2 outside the axes
};

struct Spectrum {
  std::vector<double> eigenvalues;  // [rank] of F F', all > 0
  std::vector<double> squares;      // [classes][rank]
};

// Of F = `features` (float64 [n, width]) by the smaller of F'F and FF', whose non-zero eigenvalues are the same.
Spectrum Decompose(const at::Tensor& features, const at::Tensor& targets /* [n, classes] */) {
  const bool tall = features.size(0) > features.size(1);
  const at::Tensor gram = tall ? at::mm(features.t(), features) : at::mm(features, features.t());
  auto [eigenvalues, vectors] = at::linalg_eigh(gram);  // ascending
  // u = F v / sqrt(eigenvalue) for the eigenvectors v of F'F.
  at::Tensor squares = at::mm(vectors.t(), tall ? at::mm(features.t(), targets) : targets).square_();  // [k, classes]
  if (tall) squares.div_(eigenvalues.unsqueeze(1));
  const double rounding = std::numeric_limits<double>::epsilon() * static_cast<double>(gram.size(0));
  const at::Tensor kept = eigenvalues.gt(eigenvalues.max() * rounding).nonzero().squeeze(1);
  const at::Tensor values = eigenvalues.index_select(0, kept);
  const at::Tensor rows = squares.t().index_select(1, kept).contiguous();  // [classes, rank]
  return {{values.data_ptr<double>(), values.data_ptr<double>() + values.numel()},
          {rows.data_ptr<double>(), rows.data_ptr<double>() + rows.numel()}};
}

// The ratio alpha / beta of the weights' to the noise's precision that maximises the evidence: alpha = gamma / |m|^2
// and beta = (n - gamma) / |y - F m|^2 in turn, where m are the mean weights and gamma their effective number.
double FixedPoint(const std::vector<double>& eigenvalues, const Target& target, int64_t n) {
  if (eigenvalues.empty()) return 1;  // nothing to weigh
  const double limit = kNoSignal * eigenvalues.back();
  // The authors start at 1; the features' own scale gives the same score to the same features in other units.
  double ratio = std::accumulate(eigenvalues.begin(), eigenvalues.end(), 0.0) / static_cast<double>(eigenvalues.size());
  for (int i = 0; i < kMaxIterations && ratio <= limit; ++i) {
    double gamma = 0, weights = 0, residual = target.unexplained;
    auto rest = static_cast<double>(n - static_cast<int64_t>(eigenvalues.size()));  // n - gamma, without cancellation
    for (size_t j = 0; j < eigenvalues.size(); ++j) {
      const double shrunk = ratio / (eigenvalues[j] + ratio);
      gamma += 1 - shrunk;
      rest += shrunk;
      weights += target.squares[j] * (1 - shrunk) / (eigenvalues[j] + ratio);
      residual += target.squares[j] * shrunk * shrunk;
    }
    const double next = gamma * (residual + kResidualFloor) / (weights * rest);  // infinite when no weight is needed
    if (std::abs(next - ratio) <= kTolerance * ratio) return next;
    ratio = next;
  }
  return std::min(ratio, limit);
}

// log N(y | 0, F F' / alpha + I / beta) / n at alpha = ratio beta and the best beta for that ratio, which is exact
// wherever the fixed point's iteration stopped. (The authors' code takes width / 2 log alpha, where this has the rank:
// they agree for features of full column rank.)
double Evidence(const std::vector<double>& eigenvalues, const Target& target, int64_t n, double ratio) {
  double misfit = target.unexplained;  // |y - F m|^2 + ratio |m|^2
  double log_volume = 0;
  for (size_t j = 0; j < eigenvalues.size(); ++j) {
    misfit += target.squares[j] * ratio / (eigenvalues[j] + ratio);
    log_volume += std::log1p(eigenvalues[j] / ratio);
  }
  const auto count = static_cast<double>(n);
  const double beta = count / (misfit + kResidualFloor);
  return 0.5 * (std::log(beta / (2 * M_PI)) - beta * misfit / count - log_volume / count);
}

absl::Status CheckArguments(const at::Tensor& features, const Labelling& labels, int classes) {
  const auto invalid = [](auto&&... parts) { return absl::InvalidArgumentError(absl::StrCat(parts...)); };
  if (!features.defined() || features.dim() != 2 || !features.is_cpu() ||
      (features.scalar_type() != at::kFloat && features.scalar_type() != at::kDouble)) {
    return invalid("features: got ", features.toString(), " of ", features.defined() ? features.dim() : 0,
                   " dimensions, want CPUFloatType or CPUDoubleType of 2");
  }
  const int64_t n = features.size(0), width = features.size(1);
  if (n == 0 || width == 0) return invalid("features: got [", n, ", ", width, "], want rows and columns");
  return CheckLabels(labels, n, classes);
}

absl::Status Score(const at::Tensor& features, const Labelling& labels, int classes, double* score) {
  const auto n = static_cast<int64_t>(labels.size());
  const at::Tensor wide = features.to(at::kDouble);
  if (!wide.isfinite().all().item<bool>()) {
    return absl::InvalidArgumentError("features: got values that are infinite or not numbers, want finite ones");
  }
  const std::vector<int64_t> counts = labels.Counts(classes);
  const auto present = static_cast<int64_t>(counts.size()) - std::count(counts.begin(), counts.end(), 0);
  if (present == 0) return absl::InvalidArgumentError("labels: got none, want some");
  const Spectrum spectrum = Decompose(wide, TargetsOf(labels, classes, at::kDouble));
  const size_t rank = spectrum.eigenvalues.size();
  double sum = 0;
  for (int c = 0; c < classes; ++c) {
    if (counts[c] == 0) continue;  // nothing to explain: a constant for every backbone
    Target target{spectrum.squares.data() + c * rank, static_cast<double>(counts[c])};
    for (size_t j = 0; j < rank; ++j) target.unexplained -= target.squares[j];
    target.unexplained = std::max(target.unexplained, 0.0);
    sum += Evidence(spectrum.eigenvalues, target, n, FixedPoint(spectrum.eigenvalues, target, n));
  }
  *score = sum / static_cast<double>(present);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<double> LogMe(const at::Tensor& features, const Labelling& labels, int classes) {
  RETURN_IF_ERROR(CheckArguments(features, labels, classes));
  double score = 0;
  RETURN_IF_ERROR(TryTorch("compute LogME", [&] {
    c10::NoGradGuard no_grad;
    return Score(features, labels, classes, &score);
  }));
  return score;
}

}  // namespace graft

#include "worker/train/calibration.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "worker/base/status.h"
#include "worker/train/decisions.h"
#include "worker/train/folds.h"

namespace graft {
namespace {

// A 20-fold error of scale either way. Logits that want more carry no information (20) or leave too few mistakes to
// judge by (0.05).
constexpr double kMinTemperature = 0.05, kMaxTemperature = 20;
constexpr double kLogTemperatureTolerance = 1e-10;
constexpr uint64_t kFoldSeed = 0;   // the same pictures always give the same result
constexpr int kMaxIterations = 100;  // bisection alone needs 36 for the tolerance

void CheckShape(const std::vector<float>& matrix, const std::vector<int>& labels, int classes) {
  GRAFT_CHECK(classes >= 0 && matrix.size() == labels.size() * static_cast<size_t>(classes));
}

struct Slope {
  double first = 0, second = 0;
};

// Derivatives of the summed NLL by s = log(temperature). With u = exp(-s), the NLL of a row is logsumexp(u z) - u z_y:
// by u its slope is E[z] - z_y and its curvature Var[z] >= 0 under the softmax, so it has one valley in u and in s.
Slope SlopeAt(const std::vector<float>& logits, const std::vector<int>& labels, size_t k, double s) {
  const double u = std::exp(-s);
  double by_u = 0, by_u_twice = 0;
  for (size_t i = 0; i < labels.size(); ++i) {
    const float* row = logits.data() + i * k;
    const double top = *std::max_element(row, row + k);
    double sum = 0, mean = 0, square = 0;  // of z - top, weighted
    for (size_t c = 0; c < k; ++c) {
      const double z = row[c] - top, weight = std::exp(u * z);
      sum += weight;
      mean += weight * z;
      square += weight * z * z;
    }
    mean /= sum;
    by_u += mean - (row[labels[i]] - top);
    by_u_twice += square / sum - mean * mean;
  }
  return {-u * by_u, u * by_u + u * u * by_u_twice};
}

bool CanFit(const std::vector<float>& logits, const std::vector<int>& labels, size_t k) {
  if (labels.size() < 2) return false;
  if (!std::all_of(logits.begin(), logits.end(), [](float z) { return std::isfinite(z); })) return false;
  for (size_t i = 0; i < labels.size(); ++i) {
    const float* row = logits.data() + i * k;
    if (row[labels[i]] < *std::max_element(row, row + k)) return true;
  }
  return false;
}

// Each row divided by the temperature that the other folds' rows want. The rows of one picture are in its fold.
std::vector<float> ScaledByOtherFolds(const Decisions& decisions, const std::vector<int>& fold_of_picture, int folds) {
  const auto& [logits, labels, classes, each] = decisions;
  const size_t n = labels.size(), k = static_cast<size_t>(classes);
  const auto rows = static_cast<size_t>(each);  // of a picture
  const auto is_in = [&fold_of_picture, rows](size_t row, int fold) { return fold_of_picture[row / rows] == fold; };
  std::vector<float> scaled(logits.size()), other_logits;
  std::vector<int> other_labels;
  other_logits.reserve(logits.size());
  other_labels.reserve(n);
  for (int fold = 0; fold < folds; ++fold) {
    other_logits.clear();
    other_labels.clear();
    for (size_t i = 0; i < n; ++i) {
      if (is_in(i, fold)) continue;
      other_logits.insert(other_logits.end(), logits.data() + i * k, logits.data() + (i + 1) * k);
      other_labels.push_back(labels[i]);
    }
    const double temperature = FitTemperature(other_logits, other_labels, classes);
    for (size_t i = 0; i < n; ++i) {
      if (!is_in(i, fold)) continue;
      for (size_t j = i * k; j < (i + 1) * k; ++j) scaled[j] = static_cast<float>(logits[j] / temperature);
    }
  }
  return scaled;
}

// The decisions' own logits, and `scaled` ones at `temperature`.
Calibration Compare(const Decisions& decisions, const std::vector<float>& scaled, double temperature) {
  const auto& [logits, labels, classes, each] = decisions;
  const std::vector<float> before = Softmax(logits, classes, 1), after = Softmax(scaled, classes, temperature);
  Calibration result;
  result.temperature = temperature;
  result.ece_before = ExpectedCalibrationError(before, labels, classes);
  result.ece_after = ExpectedCalibrationError(after, labels, classes);
  result.brier_before = BrierScore(before, labels, classes);
  result.brier_after = BrierScore(after, labels, classes);
  result.nll_before = NegativeLogLikelihood(logits, labels, classes, 1);
  result.nll_after = NegativeLogLikelihood(scaled, labels, classes, temperature);
  return result;
}

}  // namespace

std::vector<float> Softmax(const std::vector<float>& logits, int classes, double temperature) {
  const auto k = static_cast<size_t>(classes);
  GRAFT_CHECK(logits.empty() || (classes > 0 && logits.size() % k == 0));
  std::vector<float> probabilities(logits.size());
  for (size_t row = 0; row < logits.size(); row += k) {
    const float* z = logits.data() + row;
    const double top = *std::max_element(z, z + k);
    double sum = 0;
    for (size_t c = 0; c < k; ++c) sum += std::exp((z[c] - top) / temperature);
    for (size_t c = 0; c < k; ++c) {
      probabilities[row + c] = static_cast<float>(std::exp((z[c] - top) / temperature) / sum);
    }
  }
  return probabilities;
}

double NegativeLogLikelihood(const std::vector<float>& logits, const std::vector<int>& labels, int classes,
                             double temperature) {
  CheckShape(logits, labels, classes);
  const auto k = static_cast<size_t>(classes);
  double total = 0;
  for (size_t i = 0; i < labels.size(); ++i) {
    const float* z = logits.data() + i * k;
    const double top = *std::max_element(z, z + k);
    double sum = 0;
    for (size_t c = 0; c < k; ++c) sum += std::exp((z[c] - top) / temperature);
    total += std::log(sum) - (z[labels[i]] - top) / temperature;
  }
  return labels.empty() ? 0 : total / static_cast<double>(labels.size());
}

double ExpectedCalibrationError(const std::vector<float>& probabilities, const std::vector<int>& labels, int classes,
                                int bins) {
  CheckShape(probabilities, labels, classes);
  const auto k = static_cast<size_t>(classes);
  struct Bin {
    int64_t right = 0;
    double confidence = 0;
  };
  std::vector<Bin> histogram(static_cast<size_t>(bins));
  for (size_t i = 0; i < labels.size(); ++i) {
    const float* row = probabilities.data() + i * k;
    const float* best = std::max_element(row, row + k);
    Bin& bin = histogram[std::clamp(static_cast<int>(std::ceil(*best * bins)) - 1, 0, bins - 1)];
    bin.right += best - row == labels[i];
    bin.confidence += *best;
  }
  double error = 0;
  const auto n = static_cast<double>(std::max<size_t>(labels.size(), 1));
  for (const Bin& bin : histogram) error += std::abs(static_cast<double>(bin.right) - bin.confidence) / n;
  return error;
}

double BrierScore(const std::vector<float>& probabilities, const std::vector<int>& labels, int classes) {
  CheckShape(probabilities, labels, classes);
  double total = 0;
  const auto k = static_cast<size_t>(classes);
  for (size_t i = 0; i < labels.size(); ++i) {
    for (int c = 0; c < classes; ++c) {
      const double difference = probabilities[i * k + c] - (c == labels[i] ? 1.0 : 0.0);
      total += difference * difference;
    }
  }
  return labels.empty() ? 0 : total / static_cast<double>(labels.size());
}

double FitTemperature(const std::vector<float>& logits, const std::vector<int>& labels, int classes) {
  CheckShape(logits, labels, classes);
  const auto k = static_cast<size_t>(classes);
  if (!CanFit(logits, labels, k)) return 1;
  double low = std::log(kMinTemperature), high = std::log(kMaxTemperature);
  if (SlopeAt(logits, labels, k, low).first >= 0) return kMinTemperature;
  if (SlopeAt(logits, labels, k, high).first <= 0) return kMaxTemperature;
  double s = 0;
  for (int i = 0; i < kMaxIterations; ++i) {
    const Slope slope = SlopeAt(logits, labels, k, s);
    (slope.first < 0 ? low : high) = s;
    double next = s - slope.first / slope.second;  // Newton
    if (!(slope.second > 0 && low < next && next < high)) next = (low + high) / 2;
    const double step = std::abs(next - s);
    s = next;
    if (step < kLogTemperatureTolerance) break;
  }
  return std::exp(s);
}

Calibration MeasureCalibration(const std::vector<float>& logits, const Labelling& labels, int classes,
                               double temperature) {
  const Decisions decisions = DecisionsOf(labels, logits, classes);
  return Compare(decisions, decisions.logits, temperature);
}

Calibration CrossFitCalibration(const std::vector<float>& logits, const Labelling& labels, int classes, int folds) {
  const Decisions decisions = DecisionsOf(labels, logits, classes);
  folds = std::max(1, std::min(folds, static_cast<int>(labels.size())));
  const std::vector<float> scaled = ScaledByOtherFolds(decisions, StratifiedFolds(labels, folds, kFoldSeed), folds);
  Calibration result = Compare(decisions, scaled, 1);
  result.temperature = FitTemperature(decisions.logits, decisions.labels, decisions.classes);
  return result;
}

}  // namespace graft

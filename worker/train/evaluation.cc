#include "worker/train/evaluation.h"

#include <algorithm>
#include <cmath>

#include "worker/train/calibration.h"

namespace graft {
namespace {

double Ratio(double a, double b) { return b == 0 ? 0 : a / b; }

void FillClassMetrics(Evaluation* e) {
  const size_t k = e->classes.size();
  for (size_t c = 0; c < k; ++c) {
    int64_t support = 0, predicted = 0;
    for (size_t other = 0; other < k; ++other) {
      support += e->confusion[c * k + other];
      predicted += e->confusion[other * k + c];
    }
    const auto hits = static_cast<double>(e->confusion[c * k + c]);
    ClassMetrics& m = e->classes[c];
    m.support = support;
    m.precision = Ratio(hits, static_cast<double>(predicted));
    m.recall = Ratio(hits, static_cast<double>(support));
    m.f1 = Ratio(2 * m.precision * m.recall, m.precision + m.recall);
  }
}

}  // namespace

Interval WilsonInterval(int64_t successes, int64_t trials, double z) {
  if (trials <= 0) return {};
  const double n = static_cast<double>(trials), p = static_cast<double>(successes) / n;
  const double centre = (p + z * z / (2 * n)) / (1 + z * z / n);
  const double half = z / (1 + z * z / n) * std::sqrt(p * (1 - p) / n + z * z / (4 * n * n));
  return {std::max(0.0, centre - half), std::min(1.0, centre + half)};
}

Evaluation Evaluate(const std::vector<std::string>& class_names, const std::vector<int>& labels,
                    const std::vector<float>& probabilities) {
  const size_t k = class_names.size(), n = labels.size();
  Evaluation e;
  e.image_count = static_cast<int64_t>(n);
  e.confusion.assign(k * k, 0);
  for (const std::string& name : class_names) e.classes.push_back({name});
  int64_t right = 0;
  for (size_t i = 0; i < n; ++i) {
    const float* row = probabilities.data() + i * k;
    const auto best = static_cast<size_t>(std::max_element(row, row + k) - row);
    const auto label = static_cast<size_t>(labels[i]);
    e.loss -= std::log(std::max(row[label], 1e-12f));
    ++e.confusion[label * k + best];
    right += best == label;
  }
  e.loss = Ratio(e.loss, static_cast<double>(n));
  e.accuracy = Ratio(static_cast<double>(right), static_cast<double>(n));
  e.accuracy_interval = WilsonInterval(right, static_cast<int64_t>(n));
  e.expected_calibration_error = ExpectedCalibrationError(probabilities, labels, static_cast<int>(k));
  FillClassMetrics(&e);
  return e;
}

}  // namespace graft

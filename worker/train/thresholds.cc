#include "worker/train/thresholds.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "worker/base/status.h"

namespace graft {
namespace {

constexpr double kFloatRounding = 1e-7;  // a wanted precision that was a float once: 0.8f > 4.0 / 5

struct Scored {
  float probability;
  bool is_class;
};

ClassThreshold ThresholdForClass(std::vector<Scored> scored, double precision) {
  std::sort(scored.begin(), scored.end(),
            [](const Scored& a, const Scored& b) { return a.probability > b.probability; });
  const auto support = std::count_if(scored.begin(), scored.end(), [](const Scored& s) { return s.is_class; });
  ClassThreshold best;
  int64_t hits = 0, best_hits = 0;
  for (size_t i = 0; i < scored.size(); ++i) {
    hits += scored[i].is_class;
    if (i + 1 < scored.size() && scored[i + 1].probability == scored[i].probability) continue;
    const auto predicted = static_cast<int64_t>(i + 1);
    const double reached = static_cast<double>(hits) / static_cast<double>(predicted);
    if (hits <= best_hits || reached + kFloatRounding < precision) continue;
    best_hits = hits;
    best = {true, scored[i].probability, reached, static_cast<double>(hits) / static_cast<double>(support), predicted,
            WilsonInterval(hits, predicted)};
  }
  return best;
}

}  // namespace

std::vector<ClassThreshold> ThresholdsForPrecision(const std::vector<float>& probabilities, const Labelling& labels,
                                                   int classes, double precision) {
  const auto k = static_cast<size_t>(classes);
  GRAFT_CHECK(classes >= 0 && probabilities.size() == labels.size() * k);
  std::vector<ClassThreshold> thresholds;
  for (int c = 0; c < classes; ++c) {
    std::vector<Scored> scored;
    for (size_t i = 0; i < labels.size(); ++i) scored.push_back({probabilities[i * k + c], labels.Has(i, c)});
    thresholds.push_back(ThresholdForClass(std::move(scored), precision));
  }
  return thresholds;
}

std::vector<ClassThreshold> MeasureThresholds(std::vector<ClassThreshold> thresholds,
                                              const std::vector<float>& probabilities, const Labelling& labels) {
  const size_t k = thresholds.size();
  GRAFT_CHECK(probabilities.size() == labels.size() * k);
  for (size_t c = 0; c < k; ++c) {
    ClassThreshold& t = thresholds[c];
    if (!t.reachable) continue;
    int64_t hits = 0, predicted = 0, support = 0;
    for (size_t i = 0; i < labels.size(); ++i) {
      const bool is_class = labels.Has(i, static_cast<int>(c)), passes = probabilities[i * k + c] >= t.threshold;
      hits += is_class && passes;
      predicted += passes;
      support += is_class;
    }
    t.precision = predicted > 0 ? static_cast<double>(hits) / static_cast<double>(predicted) : 0;
    t.recall = support > 0 ? static_cast<double>(hits) / static_cast<double>(support) : 0;
    t.predicted = predicted;
    t.precision_interval = WilsonInterval(hits, predicted);
  }
  return thresholds;
}

}  // namespace graft

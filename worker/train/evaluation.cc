#include "worker/train/evaluation.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "worker/base/status.h"
#include "worker/train/calibration.h"
#include "worker/train/decisions.h"

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

// Decisions about one class, or all.
struct Counts {
  int64_t true_positives = 0, false_positives = 0, false_negatives = 0;

  void Add(bool truth, bool said) {
    true_positives += truth && said;
    false_positives += !truth && said;
    false_negatives += truth && !said;
  }
  int64_t wrong() const { return false_positives + false_negatives; }
  double f1() const {
    return Ratio(2.0 * static_cast<double>(true_positives), static_cast<double>(2 * true_positives + wrong()));
  }
};

// log(1 + exp(z)), without overflow.
double Softplus(double z) { return std::max(z, 0.0) + std::log1p(std::exp(-std::abs(z))); }

void FillClass(const std::vector<float>& scores, const std::vector<bool>& truth, ClassMetrics* m, Counts* counts) {
  for (size_t i = 0; i < scores.size(); ++i) counts->Add(truth[i], scores[i] >= 0);
  const auto true_positives = static_cast<double>(counts->true_positives);
  m->support = counts->true_positives + counts->false_negatives;
  m->precision = Ratio(true_positives, static_cast<double>(counts->true_positives + counts->false_positives));
  m->recall = Ratio(true_positives, static_cast<double>(m->support));
  m->f1 = counts->f1();
  m->average_precision = AveragePrecision(scores, truth);
}

// Of each class, and of them together.
void FillMultiLabel(const std::vector<float>& logits, const Labelling& labels, Evaluation* e) {
  const size_t n = labels.size(), k = e->classes.size();
  MultiLabelMetrics& all = e->multi_label.emplace();
  Counts total;
  int64_t classes_with_pictures = 0;
  for (size_t c = 0; c < k; ++c) {
    std::vector<float> scores(n);
    std::vector<bool> truth(n);
    for (size_t i = 0; i < n; ++i) {
      scores[i] = logits[i * k + c];
      truth[i] = labels.Has(i, static_cast<int>(c));
    }
    Counts counts;
    ClassMetrics& m = e->classes[c];
    FillClass(scores, truth, &m, &counts);
    total.true_positives += counts.true_positives;
    total.false_positives += counts.false_positives;
    total.false_negatives += counts.false_negatives;
    classes_with_pictures += m.support > 0;
    all.mean_average_precision += m.average_precision;
  }
  all.mean_average_precision = Ratio(all.mean_average_precision, static_cast<double>(classes_with_pictures));
  all.micro_f1 = total.f1();
  all.macro_f1 = MacroF1(*e);
  all.hamming_loss = Ratio(static_cast<double>(total.wrong()), static_cast<double>(n * k));
}

// What pictures add up to.
struct Sums {
  double loss = 0;   // of so many terms
  size_t terms = 0;
  int64_t right = 0;
  size_t pictures = 0;

  LossAndAccuracy Mean() const {
    return {Ratio(loss, static_cast<double>(terms)),
            Ratio(static_cast<double>(right), static_cast<double>(pictures))};
  }
};

// Of one class each: a loss for each picture.
Sums SumOneEach(const std::vector<float>& probabilities, const std::vector<int>& labels, size_t k,
                std::vector<int64_t>* confusion) {
  Sums sums;
  sums.terms = sums.pictures = labels.size();
  for (size_t i = 0; i < labels.size(); ++i) {
    const float* row = probabilities.data() + i * k;
    const auto best = static_cast<size_t>(std::max_element(row, row + k) - row);
    const auto label = static_cast<size_t>(labels[i]);
    sums.loss -= std::log(std::max(row[label], 1e-12f));
    sums.right += best == label;
    if (confusion != nullptr) ++(*confusion)[label * k + best];
  }
  return sums;
}

// Of any number of classes each: a loss for each picture and class.
Sums SumAnyNumber(const std::vector<float>& logits, const Labelling& labels, size_t k, double temperature) {
  Sums sums;
  sums.pictures = labels.size();
  sums.terms = labels.size() * k;
  std::vector<float> targets(k);
  for (size_t i = 0; i < labels.size(); ++i) {
    const float* row = logits.data() + i * k;
    std::fill(targets.begin(), targets.end(), 0.0f);
    for (const int label : labels.sets()[i]) targets[label] = 1;
    for (size_t c = 0; c < k; ++c) {
      const double z = row[c] / temperature;
      sums.loss += Softplus(targets[c] == 1 ? -z : z);
    }
    sums.right += IsExactMatch(row, targets.data(), static_cast<int64_t>(k), true);
  }
  return sums;
}

void Fill(const Sums& sums, Evaluation* e) {
  e->image_count = static_cast<int64_t>(sums.pictures);
  e->loss = sums.Mean().loss;
  e->accuracy = sums.Mean().accuracy;
  e->accuracy_interval = WilsonInterval(sums.right, e->image_count);
}

Evaluation EvaluateMultiLabel(const std::vector<std::string>& class_names, const Labelling& labels,
                              const std::vector<float>& logits, double temperature) {
  const size_t k = class_names.size();
  Evaluation e;
  for (const std::string& name : class_names) e.classes.push_back({name});
  Fill(SumAnyNumber(logits, labels, k, temperature), &e);
  const Decisions decisions = DecisionsOf(labels, logits, static_cast<int>(k));
  e.expected_calibration_error =
      ExpectedCalibrationError(Softmax(decisions.logits, 2, temperature), decisions.labels, 2);
  FillMultiLabel(logits, labels, &e);
  return e;
}

}  // namespace

Interval WilsonInterval(int64_t successes, int64_t trials, double z) {
  if (trials <= 0) return {};
  const double n = static_cast<double>(trials), p = static_cast<double>(successes) / n;
  const double centre = (p + z * z / (2 * n)) / (1 + z * z / n);
  const double half = z / (1 + z * z / n) * std::sqrt(p * (1 - p) / n + z * z / (4 * n * n));
  return {std::max(0.0, centre - half), std::min(1.0, centre + half)};
}

bool IsExactMatch(const float* logits, const float* targets, int64_t classes, bool multi_label) {
  const float *end = logits + classes, *targets_end = targets + classes;
  if (!multi_label) return std::max_element(logits, end) - logits == std::max_element(targets, targets_end) - targets;
  return std::equal(logits, end, targets, [](float z, float target) { return (z >= 0) == (target >= 0.5f); });
}

Evaluation Evaluate(const std::vector<std::string>& class_names, const std::vector<int>& labels,
                    const std::vector<float>& probabilities) {
  const size_t k = class_names.size();
  Evaluation e;
  e.confusion.assign(k * k, 0);
  for (const std::string& name : class_names) e.classes.push_back({name});
  Fill(SumOneEach(probabilities, labels, k, &e.confusion), &e);
  e.expected_calibration_error = ExpectedCalibrationError(probabilities, labels, static_cast<int>(k));
  FillClassMetrics(&e);
  return e;
}

Evaluation EvaluateLogits(const std::vector<std::string>& class_names, const Labelling& labels,
                          const std::vector<float>& logits, double temperature) {
  if (labels.multi_label()) return EvaluateMultiLabel(class_names, labels, logits, temperature);
  return Evaluate(class_names, labels.one_each(), Softmax(logits, static_cast<int>(class_names.size()), temperature));
}

LossAndAccuracy MeasureLogits(int classes, const Labelling& labels, const std::vector<float>& logits) {
  const auto k = static_cast<size_t>(classes);
  GRAFT_CHECK(logits.size() == labels.size() * k);
  if (labels.multi_label()) return SumAnyNumber(logits, labels, k, 1).Mean();
  return SumOneEach(Softmax(logits, classes, 1), labels.one_each(), k, nullptr).Mean();
}

double MacroF1(const Evaluation& evaluation) {
  double mean = 0;
  for (const ClassMetrics& m : evaluation.classes) mean += m.f1 / static_cast<double>(evaluation.classes.size());
  return mean;
}

double AveragePrecision(const std::vector<float>& scores, const std::vector<bool>& relevant) {
  std::vector<size_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return scores[a] > scores[b]; });
  const auto support = std::count(relevant.begin(), relevant.end(), true);
  double area = 0;
  int64_t hits = 0, hits_before = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    hits += relevant[order[i]];
    if (i + 1 < order.size() && scores[order[i + 1]] == scores[order[i]]) continue;  // equal scores come together
    const double precision = static_cast<double>(hits) / static_cast<double>(i + 1);
    area += precision * static_cast<double>(hits - hits_before) / static_cast<double>(support);
    hits_before = hits;
  }
  return support == 0 ? 0 : area;
}

}  // namespace graft

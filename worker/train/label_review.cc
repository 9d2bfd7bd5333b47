#include "worker/train/label_review.h"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <tuple>

#include "worker/base/status.h"

namespace graft {
namespace {

// cleanlab/internal/constants.py: FLOATING_POINT_COMPARISON and CONFIDENT_THRESHOLDS_LOWER_BOUND. The probabilities of
// a saturated network differ by rounding only, and a threshold of 0 would be reached by every picture.
constexpr double kRounding = 1e-6, kSmallestThreshold = 2e-6;
constexpr int kNone = -1;

void CheckShape(const std::vector<float>& probabilities, const std::vector<int>& labels, int classes) {
  GRAFT_CHECK(classes >= 0 && probabilities.size() == labels.size() * static_cast<size_t>(classes));
}

int MostProbable(const float* row, int classes) { return static_cast<int>(std::max_element(row, row + classes) - row); }

template <typename T>
void KeepFirst(int64_t limit, std::vector<T>* rows) {
  if (static_cast<int64_t>(rows->size()) > limit) rows->resize(static_cast<size_t>(std::max<int64_t>(limit, 0)));
}

// Mean self-confidence of each class (equation 2); infinity for a class without pictures.
std::vector<double> ClassThresholds(const std::vector<float>& probabilities, const std::vector<int>& labels,
                                    int classes) {
  std::vector<double> sums(classes, 0);
  std::vector<int64_t> counts(classes, 0);
  for (size_t i = 0; i < labels.size(); ++i) {
    sums[labels[i]] += probabilities[i * static_cast<size_t>(classes) + labels[i]];
    ++counts[labels[i]];
  }
  for (int c = 0; c < classes; ++c) {
    sums[c] = counts[c] == 0 ? std::numeric_limits<double>::infinity()
                             : std::max(sums[c] / static_cast<double>(counts[c]), kSmallestThreshold);
  }
  return sums;
}

// The class this picture is confidently counted for (equation 1), or kNone.
int ConfidentClass(const float* row, const std::vector<double>& thresholds) {
  int best = kNone;
  for (int c = 0; c < static_cast<int>(thresholds.size()); ++c) {
    if (row[c] >= thresholds[c] - kRounding && (best == kNone || row[c] > row[best])) best = c;
  }
  return best;
}

}  // namespace

std::vector<Mistake> MostConfidentlyWrong(const std::vector<float>& probabilities, const std::vector<int>& labels,
                                          int classes, int64_t limit) {
  CheckShape(probabilities, labels, classes);
  std::vector<Mistake> mistakes;
  for (size_t i = 0; i < labels.size(); ++i) {
    const float* row = probabilities.data() + i * static_cast<size_t>(classes);
    const int predicted = MostProbable(row, classes);
    if (predicted != labels[i]) mistakes.push_back({static_cast<int64_t>(i), labels[i], predicted, row[predicted]});
  }
  std::sort(mistakes.begin(), mistakes.end(), [](const Mistake& a, const Mistake& b) {
    return std::make_tuple(-a.confidence, a.example) < std::make_tuple(-b.confidence, b.example);
  });
  KeepFirst(limit, &mistakes);
  return mistakes;
}

std::vector<LabelIssue> LikelyLabelErrors(const std::vector<float>& probabilities, const std::vector<int>& labels,
                                          int classes, int64_t limit) {
  CheckShape(probabilities, labels, classes);
  const std::vector<double> thresholds = ClassThresholds(probabilities, labels, classes);
  std::vector<LabelIssue> issues;
  for (size_t i = 0; i < labels.size(); ++i) {
    const float* row = probabilities.data() + i * static_cast<size_t>(classes);
    const int label = labels[i], suggested = ConfidentClass(row, thresholds), predicted = MostProbable(row, classes);
    if (suggested == kNone || suggested == label || predicted == label) continue;
    const double self_confidence = row[label];  // the largest other probability is that of `predicted`
    issues.push_back({static_cast<int64_t>(i), label, suggested, self_confidence,
                      (self_confidence - row[predicted] + 1) / 2});
  }
  std::sort(issues.begin(), issues.end(), [](const LabelIssue& a, const LabelIssue& b) {
    return std::make_tuple(a.score, a.example) < std::make_tuple(b.score, b.example);
  });
  KeepFirst(limit, &issues);
  return issues;
}

}  // namespace graft

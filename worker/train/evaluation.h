#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "worker/data/labelling.h"

namespace graft {

struct ClassMetrics {
  std::string name;
  double precision = 0;  // 0 when nothing was predicted as this class
  double recall = 0;
  double f1 = 0;
  int64_t support = 0;   // images
  // Of a multi-label dataset: area under precision over recall (Everingham et al. 2010, section 4.2's continuous form =
  // scikit-learn's average_precision_score); 0 when no picture has the class.
  double average_precision = 0;
};

struct MultiLabelMetrics {
  double mean_average_precision = 0;        // over the classes that some picture has
  double micro_f1 = 0, macro_f1 = 0;        // of all decisions; mean over all classes (scikit-learn's f1_score)
  double hamming_loss = 0;                  // share of wrong decisions
};

struct Interval {
  double low = 0, high = 1;
};

// Score interval of a proportion (Wilson 1927), z = 1.96 for 95 %.
Interval WilsonInterval(int64_t successes, int64_t trials, double z = 1.959963984540054);

// Whether a picture counts as right: the largest of its `logits` [classes] is at the largest of its `targets`
// [classes], of equals the first; of a multi-label dataset, the logits that are not negative are those of the targets
// of 1/2 or more (exact match).
bool IsExactMatch(const float* logits, const float* targets, int64_t classes, bool multi_label);

// What a network did on a labelled split. Of a multi-label dataset, where a decision is that a picture has a class or
// has it not, by its probability being at least 0.5, accuracy is the share of pictures whose decisions are all right
// (exact-match ratio, scikit-learn's accuracy_score), and a class's precision, recall and F1 are of its decisions.
struct Evaluation {
  bool on_test = false;  // the test split, else validation
  int64_t image_count = 0;
  double accuracy = 0;
  Interval accuracy_interval;            // 95 %
  double loss = 0;                       // mean cross-entropy, nats; multi-label: binary, mean over classes too
  std::vector<ClassMetrics> classes;
  std::vector<int64_t> confusion;        // [true][predicted], row-major; multi-label: empty
  // 15 equal-width bins (Guo et al. 2017, arXiv:1706.04599); multi-label: over all decisions.
  double expected_calibration_error = 0;
  std::optional<MultiLabelMetrics> multi_label;
};

// `probabilities` is row-major [labels.size()][class_names.size()].
Evaluation Evaluate(const std::vector<std::string>& class_names, const std::vector<int>& labels,
                    const std::vector<float>& probabilities);

// Of a network's `logits`, row-major [labels.size()][class_names.size()], multi-label or not, at a temperature.
Evaluation EvaluateLogits(const std::vector<std::string>& class_names, const Labelling& labels,
                          const std::vector<float>& logits, double temperature = 1);

// Two numbers of EvaluateLogits() at temperature 1, without the work of the others.
struct LossAndAccuracy {
  double loss = 0, accuracy = 0;
};
LossAndAccuracy MeasureLogits(int classes, const Labelling& labels, const std::vector<float>& logits);

// Mean over all classes of their F1: scikit-learn's f1_score(average="macro").
double MacroF1(const Evaluation& evaluation);

// Sum over the distinct scores, from the highest, of the precision at it times the recall that it adds: scikit-learn's
// average_precision_score. 0 when none is relevant. `scores` without NaN.
double AveragePrecision(const std::vector<float>& scores, const std::vector<bool>& relevant);

}  // namespace graft

#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace graft {

struct ClassMetrics {
  std::string name;
  double precision = 0;  // 0 when nothing was predicted as this class
  double recall = 0;
  double f1 = 0;
  int64_t support = 0;   // images
};

struct Interval {
  double low = 0, high = 1;
};

// Score interval of a proportion (Wilson 1927), z = 1.96 for 95 %.
Interval WilsonInterval(int64_t successes, int64_t trials, double z = 1.959963984540054);

// What a network did on a labelled split.
struct Evaluation {
  bool on_test = false;  // the test split, else validation
  int64_t image_count = 0;
  double accuracy = 0;
  Interval accuracy_interval;            // 95 %
  double loss = 0;                       // mean cross-entropy, nats
  std::vector<ClassMetrics> classes;
  std::vector<int64_t> confusion;        // [true][predicted], row-major
  double expected_calibration_error = 0; // 15 equal-width bins (Guo et al. 2017, arXiv:1706.04599)
};

// `probabilities` is row-major [labels.size()][class_names.size()].
Evaluation Evaluate(const std::vector<std::string>& class_names, const std::vector<int>& labels,
                    const std::vector<float>& probabilities);

}  // namespace graft

#pragma once

#include <vector>

#include "worker/data/labelling.h"

namespace graft {

// Temperature scaling: probabilities are softmax(logits / temperature), one number for the whole network, which never
// changes the predicted class. Matrices are row-major [labels.size()][classes], labels are in [0, classes). Of a
// multi-label dataset probabilities are sigmoid(logits / temperature), and everything is said about the decisions of a
// picture for or against a class (worker/train/decisions.h), which count alike.
//
// Threads:  pure functions.
// Source:   Guo et al. 2017, On calibration of modern neural networks (arXiv:1706.04599), sections 2 and 4.2.
struct Calibration {
  double temperature = 1;  // > 1: the network was too sure
  double ece_before = 0, ece_after = 0;
  double brier_before = 0, brier_after = 0;
  double nll_before = 0, nll_after = 0;
};

// Row-wise softmax(logits / temperature), temperature > 0. No finite logit overflows.
std::vector<float> Softmax(const std::vector<float>& logits, int classes, double temperature);

// Mean cross-entropy of softmax(logits / temperature), nats; 0 for no pictures. From logits, so never cut off at a
// smallest probability.
double NegativeLogLikelihood(const std::vector<float>& logits, const std::vector<int>& labels, int classes,
                             double temperature);

// Mean distance between confidence and accuracy over equal-width bins of the confidence, weighted by the pictures in
// a bin (Guo et al. 2017, section 2). Bin m holds ((m - 1) / bins, m / bins]. 0 for no pictures.
double ExpectedCalibrationError(const std::vector<float>& probabilities, const std::vector<int>& labels, int classes,
                                int bins = 15);

// Mean over pictures of the sum over classes of (probability - truth)^2 (Brier 1950): 0 is perfect, 2 the worst.
double BrierScore(const std::vector<float>& probabilities, const std::vector<int>& labels, int classes);

// The temperature in [0.05, 20] with the smallest NegativeLogLikelihood; deterministic. 1 where the pictures cannot
// say: fewer than 2 of them, logits that are not finite, or every label already has its row's largest logit (the
// likelihood then grows for ever as the temperature falls, but a perfect score on a few pictures proves no certainty).
double FitTemperature(const std::vector<float>& logits, const std::vector<int>& labels, int classes);

// What scaling by `temperature` does to these pictures, which it was not fitted on.
Calibration MeasureCalibration(const std::vector<float>& logits, const Labelling& labels, int classes,
                               double temperature);

// What scaling does to pictures its temperature was not fitted on: the pictures of each fold, StratifiedFolds(labels,
// folds, 0), are scaled by the temperature of the others; before and after are over all pictures. `temperature` is
// fitted on all. Fewer pictures than folds are left out one by one.
Calibration CrossFitCalibration(const std::vector<float>& logits, const Labelling& labels, int classes, int folds = 5);

}  // namespace graft

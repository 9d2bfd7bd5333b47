#pragma once

#include <cstdint>
#include <vector>

namespace graft {

// A list of pictures worth a person's look. `example` is the row in `probabilities`, which is row-major
// [labels.size()][classes], without NaN; labels are in [0, classes). A limit of 0 or less gives an empty list.
struct Mistake {
  int64_t example = 0;
  int label = 0, predicted = 0;
  double confidence = 0;  // probability of `predicted`
};

// The pictures whose most probable class is not their label, the surest first; at most `limit`.
std::vector<Mistake> MostConfidentlyWrong(const std::vector<float>& probabilities, const std::vector<int>& labels,
                                          int classes, int64_t limit);

struct LabelIssue {
  int64_t example = 0;
  int label = 0;               // as given
  int suggested = 0;           // the class it is confidently counted for
  double self_confidence = 0;  // probability of the given label
  double score = 0;            // normalised margin (p[label] - max p[other] + 1) / 2: 0 is the surest error, 0.5 a draw
};

// Pictures whose label is probably wrong, the smallest score first; at most `limit`. `probabilities` must be out of
// sample (cross-validation): a network that has seen a wrong label may have learnt it.
//
// Method:  off-diagonals of the confident joint. A class's threshold is the mean probability its own pictures give it;
//          a picture is counted for the most probable of the classes whose threshold it reaches (within 1e-6), for none
//          if it reaches none. It is an issue when that class is not its label, unless its label is its most probable
//          class. A class without pictures has no threshold and is never suggested.
// Source:  Northcutt et al. 2021, Confident learning (arXiv:1911.00068), equations 1 and 2, and section 3.2, "CL
//          method 2: C(y~, y*)"; cleanlab's filter_by="confident_learning", from which the exception and the order
//          (return_indices_ranked_by="normalized_margin") come. Where a picture reaches several thresholds, the paper's
//          equation 1 is followed; cleanlab takes the most probable class of all, even below its threshold.
std::vector<LabelIssue> LikelyLabelErrors(const std::vector<float>& probabilities, const std::vector<int>& labels,
                                          int classes, int64_t limit);

}  // namespace graft

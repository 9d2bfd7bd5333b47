#pragma once

#include <string>

#include "graft/v1/job.pb.h"

namespace graft {

// An evaluation for people: accuracy with its interval, a table of the classes and, where the evaluation has them,
// calibration, thresholds, cross-validation, learning curve, suspect pictures. With `terminal` the table is aligned.
std::string FormatEvaluation(const v1::Evaluation& evaluation, bool terminal);

}  // namespace graft

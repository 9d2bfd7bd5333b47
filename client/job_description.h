#pragma once

#include <string>

#include "graft/v1/job.pb.h"

namespace graft {

// The effective settings of a job as YAML that ParseJobSpec reads back to the same message. A value that is a default has
// a comment "# default: SOURCE". Comments at the end: defaults of what has no field of its own, and the phases.
std::string FormatJobDescription(const v1::JobDescription& description);

}  // namespace graft

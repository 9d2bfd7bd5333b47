#pragma once

#include "absl/status/status.h"
#include "worker/data/dataset.h"
#include "worker/train/trainer.h"

namespace graft {

//   InvalidArgument  of Train(), but for losses
absl::Status CheckTraining(const TrainOptions& options, const Dataset& data);

}  // namespace graft

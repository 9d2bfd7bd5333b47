#pragma once

#include <map>
#include <string>

#include <ATen/core/Tensor.h>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace graft {

// Where a job stands after an epoch: enough to go on bit for bit. Shuffling depends on (seed, phase, epoch) alone, so
// no random state is stored.
struct TrainState {
  std::string fingerprint;  // of the job's options; a state of another job is refused
  int phase = 0;            // index
  int epoch = 0;            // finished epochs of that phase
  std::map<std::string, at::Tensor> weights;   // Suffix::State()
  std::map<std::string, at::Tensor> momentum;  // of the optimizer
};

std::string SerializeTrainState(const TrainState& state);
//   DataLoss  damaged
absl::StatusOr<TrainState> ParseTrainState(absl::string_view bytes);

}  // namespace graft

#pragma once

#include <cstdint>
#include <map>
#include <string>

#include <ATen/core/Tensor.h>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/train/phase_run.h"

namespace graft {

// Where a job stands: enough to go on bit for bit. Every random choice is a function of (seed, phase, epoch, picture),
// so no random state is stored.
struct TrainState {
  using Tensors = std::map<std::string, at::Tensor>;

  std::string fingerprint;  // of the job's options; a state of another job is refused
  int phase = 0;            // index
  int epoch = 0;            // finished epochs of that phase
  bool rate_tested = false; // the phase's learning rate finder has done its work
  double found_rate = 0;    // of the head, that the phase trains at; 0: its own
  std::map<std::string, double> found_rates;  // of all phases so far that train at one, by name
  EpochTotals totals;       // of the epoch that is under way
  double epoch_seconds = 0; // that it has taken
  Tensors weights;          // Suffix::State()
  Tensors optimizer;        // Optimizer::State()
  Tensors averages;         // of the weights
  int64_t average_steps = 0;
  double loss_scale = 1;
  int64_t sound_steps = 0;  // LossScaler's
  // Of early stopping, in this phase.
  Tensors best_weights;     // empty: no epoch has ended
  double best_metric = 0;
  int best_epoch = 0;       // from 1
  int stale_epochs = 0;     // since then
};

std::string SerializeTrainState(const TrainState& state);
//   DataLoss  damaged, or of a version that kept less
absl::StatusOr<TrainState> ParseTrainState(absl::string_view bytes);

}  // namespace graft

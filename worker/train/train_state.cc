#include "worker/train/train_state.h"

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "worker/backbone/safetensors.h"
#include "worker/base/status.h"

namespace graft {
namespace {

constexpr char kWeights[] = "weights.";
constexpr char kMomentum[] = "momentum.";

}  // namespace

std::string SerializeTrainState(const TrainState& state) {
  SafeTensors file;
  for (const auto& [name, tensor] : state.weights) file.tensors.emplace(kWeights + name, tensor);
  for (const auto& [name, tensor] : state.momentum) file.tensors.emplace(kMomentum + name, tensor);
  file.metadata = {{"fingerprint", state.fingerprint},
                   {"phase", absl::StrCat(state.phase)},
                   {"epoch", absl::StrCat(state.epoch)}};
  return SerializeSafeTensors(file);
}

absl::StatusOr<TrainState> ParseTrainState(absl::string_view bytes) {
  ASSIGN_OR_RETURN(SafeTensors file, ParseSafeTensors(bytes));
  TrainState state;
  state.fingerprint = file.metadata["fingerprint"];
  if (!absl::SimpleAtoi(file.metadata["phase"], &state.phase) ||
      !absl::SimpleAtoi(file.metadata["epoch"], &state.epoch)) {
    return absl::DataLossError("training state: no phase or epoch in it");
  }
  for (auto& [name, tensor] : file.tensors) {
    if (absl::StartsWith(name, kWeights)) state.weights.emplace(name.substr(sizeof(kWeights) - 1), tensor);
    if (absl::StartsWith(name, kMomentum)) state.momentum.emplace(name.substr(sizeof(kMomentum) - 1), tensor);
  }
  return state;
}

}  // namespace graft

#include "worker/train/train_state.h"

#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "worker/backbone/safetensors.h"
#include "worker/base/status.h"

namespace graft {
namespace {

// Calls visit(prefix, tensors) for each group, visit(name, number) for each number.
template <typename State, typename Visit>
void ForEachField(State& s, Visit&& visit) {
  visit("weights.", s.weights);
  visit("optimizer.", s.optimizer);
  visit("averages.", s.averages);
  visit("best.", s.best_weights);
  visit("phase", s.phase);
  visit("epoch", s.epoch);
  visit("rate_tested", s.rate_tested);
  visit("found_rate", s.found_rate);
  visit("found_rate.", s.found_rates);
  visit("loss", s.totals.loss);
  visit("weight", s.totals.weight);
  visit("correct", s.totals.correct);
  visit("images", s.totals.images);
  visit("rate_factor", s.totals.last_rate_factor);
  visit("epoch_seconds", s.epoch_seconds);
  visit("average_steps", s.average_steps);
  visit("loss_scale", s.loss_scale);
  visit("sound_steps", s.sound_steps);
  visit("best_metric", s.best_metric);
  visit("best_epoch", s.best_epoch);
  visit("stale_epochs", s.stale_epochs);
}

class Writer {
 public:
  explicit Writer(SafeTensors* file) : file_(file) {}
  void operator()(const char* prefix, const TrainState::Tensors& tensors) {
    for (const auto& [name, tensor] : tensors) file_->tensors.emplace(prefix + name, tensor);
  }
  void operator()(const char* prefix, const std::map<std::string, double>& values) {
    for (const auto& [name, value] : values) (*this)((prefix + name).c_str(), value);
  }
  void operator()(const char* name, double value) { file_->metadata[name] = absl::StrFormat("%.17g", value); }
  void operator()(const char* name, int64_t value) { file_->metadata[name] = absl::StrCat(value); }
  void operator()(const char* name, bool value) { file_->metadata[name] = value ? "1" : "0"; }
  void operator()(const char* name, int value) { file_->metadata[name] = absl::StrCat(value); }

 private:
  SafeTensors* const file_;
};

class Reader {
 public:
  explicit Reader(SafeTensors* file) : file_(file) {}
  void operator()(const char* prefix, TrainState::Tensors& tensors) {
    const absl::string_view begins(prefix);
    for (const auto& [name, tensor] : file_->tensors) {
      if (absl::StartsWith(name, begins)) tensors.emplace(name.substr(begins.size()), tensor);
    }
  }
  void operator()(const char* prefix, std::map<std::string, double>& values) {
    const std::map<std::string, std::string> metadata = file_->metadata;  // reading a number may add to it
    for (const auto& [name, text] : metadata) {
      if (absl::StartsWith(name, prefix)) (*this)(name.c_str(), values[name.substr(std::strlen(prefix))]);
    }
  }
  void operator()(const char* name, double& value) {
    sound_ = sound_ && absl::SimpleAtod(file_->metadata[name], &value) && !std::isnan(value);
  }
  void operator()(const char* name, bool& value) {
    const std::string& text = file_->metadata[name];
    sound_ = sound_ && (text == "0" || text == "1");
    value = text == "1";
  }
  template <typename Integer>
  void operator()(const char* name, Integer& value) {
    sound_ = sound_ && absl::SimpleAtoi(file_->metadata[name], &value) && value >= 0;
  }
  bool sound() const { return sound_; }

 private:
  SafeTensors* const file_;
  bool sound_ = true;
};

}  // namespace

std::string SerializeTrainState(const TrainState& state) {
  SafeTensors file;
  file.metadata["fingerprint"] = state.fingerprint;
  ForEachField(state, Writer(&file));
  return SerializeSafeTensors(file);
}

absl::StatusOr<TrainState> ParseTrainState(absl::string_view bytes) {
  ASSIGN_OR_RETURN(SafeTensors file, ParseSafeTensors(bytes));
  TrainState state;
  state.fingerprint = file.metadata["fingerprint"];
  Reader reader(&file);
  ForEachField(state, reader);
  const bool sound_rate = std::isfinite(state.found_rate) && state.found_rate >= 0 &&
                          (state.rate_tested || state.found_rate == 0);
  if (!reader.sound() || !sound_rate) return absl::DataLossError("training state: a number is missing or damaged");
  return state;
}

}  // namespace graft

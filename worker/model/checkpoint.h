#pragma once

#include <map>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/backbone/backbone.h"
#include "worker/image/preprocess.h"
#include "worker/model/head.h"

namespace graft {

// What a model's file holds: the suffix only; the backbone is named by digest. A safetensors file whose metadata has
// one key, "graft", with the rest as JSON.
struct Checkpoint {
  std::string backbone, backbone_digest;
  int split_point = 0;
  HeadOptions head;
  std::vector<std::string> class_names;
  PreprocessSpec preprocessing;
  bool multi_label = false;                   // sigmoid for each class instead of softmax
  double temperature = 1;                     // logits are divided by it before softmax or sigmoid
  std::string training_config;                // JSON object, for the record
  std::map<std::string, double> found_rates;  // learning rates that finders found, by phase, for the record
  std::map<std::string, at::Tensor> weights;  // Suffix::State()
  at::Tensor golden_logits;                   // of GoldenInputs(): float32 [n, classes]
};

std::string SerializeCheckpoint(const Checkpoint& checkpoint);
//   DataLoss  not a checkpoint of ours, or damaged: says what
absl::StatusOr<Checkpoint> ParseCheckpoint(absl::string_view bytes);

// Fixed synthetic pictures, float32 [2, 3, crop_px, crop_px], channels-last: a loaded model must reproduce the logits
// that the trained one gave for them.
at::Tensor GoldenInputs(const PreprocessSpec& preprocessing);

}  // namespace graft

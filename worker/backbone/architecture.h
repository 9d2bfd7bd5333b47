#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "worker/image/preprocess.h"

namespace graft {

class Stage;         // worker/backbone/stage.h
struct TensorNames;  // worker/backbone/tensor_names.h

// Properties of the weights that change the computation.
struct BuildOptions {
  bool tensorflow_same_padding = false;
  double norm_epsilon = 1e-5;   // of batch norms
  int64_t position_tokens = 0;  // vision transformers: rows of the position embedding; 0: the architecture's own
  int64_t register_tokens = 0;  // vision transformers: Darcet et al. 2024 (arXiv:2309.16588)
};

// A unit that can be frozen or trained. Its tensors are "<prefix>.<their names>", or their names where prefix is empty.
struct StageInfo {
  std::string name;    // what a user unfreezes up to: "layer4", "block5", "features.16"
  std::string prefix;
};

// Activations grow with the square of an input's side, and attention with its fourth power: no network takes more.
constexpr int kMaxInputPx = 512;

// Which square inputs a network computes.
struct InputRule {
  int min_px = 32;
  int multiple_px = 1;
  int max_px = kMaxInputPx;

  bool Allows(int side_px) const;
  //   InvalidArgument  "<field>: got 100, want " and Describe()
  absl::Status Check(absl::string_view field, int side_px) const;
  std::string Describe() const;  // "multiples of 16 px, from 32 px to 512 px"
};

// A network of the field, as an ordered list of stages: the last one gives features [n, feature_width].
struct Architecture {
  std::string name;                 // torchvision's, where it has the network
  std::string paper;
  std::vector<StageInfo> stages;
  int64_t feature_width = 0;
  std::string output_layer;         // name of its own last layer: "fc", "classifier.3"; empty: it has no classes
  int64_t parameter_count = 0;      // with its own classifier of 1000 classes, when it has one
  double gflops = 0;                // 1e9 multiply-adds for one picture of the default size (torchvision's "GFLOPS")
  double dropout = 0;               // probability, before its own last layer
  PreprocessSpec preprocessing;     // what its reference weights were evaluated with
  InputRule input;

  // New stages, one for each of `stages`. The weights of convolutions and linear layers are not initialised.
  std::function<std::vector<std::shared_ptr<Stage>>(const BuildOptions&)> build_stages;
  // Its own classifier: features [n, feature_width] -> logits [n, classes]. Tensors have their full names.
  std::function<std::shared_ptr<Stage>(int64_t classes)> build_classifier;

  // Other publishers' name of a layer or tensor (timm's, old torchvision files') -> ours. Their shape may be another
  // with as many values.
  std::map<std::string, std::string> aliases;
  double norm_epsilon = 1e-5;       // of its batch norms; 0: it has none
  double alias_norm_epsilon = 0;    // of batch norms in weights that use aliases; 0: as ours
  std::vector<std::string> ignored; // names that begin so are not used: auxiliary heads, training-only tokens
  // Reads from the tensors' shapes what they need; null: nothing.
  std::function<void(const TensorNames&, BuildOptions*)> inspect;

  bool has_pretrained_weights = true;  // false: made to be trained from scratch
  bool has_same_padding = false;        // BuildOptions::tensorflow_same_padding can be asked of it
  bool trainable = true;               // false: can only be used frozen

  std::vector<std::string> stage_names() const;
};

// nullptr when unknown.
const Architecture* FindArchitecture(const std::string& name);
// All names, sorted.
std::vector<std::string> ArchitectureNames();

}  // namespace graft

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "worker/backbone/safetensors.h"
#include "worker/image/preprocess.h"

namespace graft {

class Stage;  // worker/backbone/stage.h

// Properties of the weights that change the computation.
struct BuildOptions {
  bool tensorflow_same_padding = false;
};

// A family member: how to build it and what its field calls its parts.
struct Architecture {
  std::string name;                       // torchvision's
  std::string paper;
  std::vector<std::string> stage_names;   // in order; the last, "avgpool", has no parameters
  int64_t feature_width = 0;              // after "avgpool"
  PreprocessSpec preprocessing;           // default of its torchvision weights
  // New stages with untrained weights; stage i's tensors are "<stage_names[i]>.<its own name>".
  std::function<std::vector<std::shared_ptr<Stage>>(const BuildOptions&)> build_stages;
  // torchvision's classifier for `classes` classes: [n, feature_width] -> [n, classes]; tensors "classifier.*".
  std::function<std::shared_ptr<Stage>(int64_t classes)> build_classifier;
};

// nullptr when unknown.
const Architecture* FindArchitecture(const std::string& name);
// All names, sorted.
std::vector<std::string> ArchitectureNames();

}  // namespace graft

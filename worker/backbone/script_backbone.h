#pragma once

#include <string>

#include <ATen/core/Tensor.h>

#include "absl/status/statusor.h"
#include "worker/backbone/architecture.h"

namespace graft {

// An operator's TorchScript network as an architecture of one frozen stage.
struct ScriptBackbone {
  Architecture architecture;
  std::string digest, source;
};

// See Backbone::LoadScript(). May throw c10::Error: call it inside TryTorch().
absl::StatusOr<ScriptBackbone> ReadScriptBackbone(const std::string& path, const std::string& manifest,
                                                  const std::string& name, const at::Device& device);

}  // namespace graft

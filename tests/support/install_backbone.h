#pragma once

#include <fstream>
#include <ios>
#include <string>

#include "tests/support/tiny_backbone.h"
#include "worker/backbone/safetensors.h"
#include "worker/base/status.h"

namespace graft {

// Writes DIRECTORY/mobilenet_v3_small.safetensors with TinyWeights(), as an operator would install a backbone.
inline void InstallTinyBackbone(const std::string& directory) {
  const std::string bytes = SerializeSafeTensors(TinyWeights());
  std::ofstream out(directory + "/mobilenet_v3_small.safetensors", std::ios::binary);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  GRAFT_CHECK(out.flush().good());
}

}  // namespace graft

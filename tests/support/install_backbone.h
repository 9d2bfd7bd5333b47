#pragma once

#include <fstream>
#include <ios>
#include <string>

#include "tests/support/tiny_backbone.h"
#include "worker/backbone/safetensors.h"
#include "worker/base/status.h"

namespace graft {

// Writes DIRECTORY/NAME.safetensors, as an operator would install a backbone.
inline void InstallWeights(const SafeTensors& weights, const std::string& directory, const std::string& name) {
  const std::string bytes = SerializeSafeTensors(weights);
  std::ofstream out(directory + "/" + name + ".safetensors", std::ios::binary);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  GRAFT_CHECK(out.flush().good());
}

// TinyWeights() as mobilenet_v3_small.
inline void InstallTinyBackbone(const std::string& directory) {
  InstallWeights(TinyWeights(), directory, "mobilenet_v3_small");
}

}  // namespace graft

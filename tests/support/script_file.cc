#include "tests/support/script_file.h"

#include <torch/script.h>

#include <fstream>

#include "worker/base/status.h"

namespace graft {

void InstallScript(const std::string& directory, const std::string& name) {
  torch::jit::Module module("MeanColour");
  module.define("def forward(self, x):\n    return x.mean([2, 3])\n");
  module.save(directory + "/" + name + ".pt");
  std::ofstream manifest(directory + "/" + name + ".json");
  manifest << R"({"feature_width": 3, "resize_px": 8, "crop_px": 8, "source": "a test"})";
  GRAFT_CHECK(manifest.flush().good());
}

}  // namespace graft

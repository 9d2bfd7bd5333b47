#include "tests/support/tiny_backbone.h"

#include <torch/torch.h>

#include <cmath>
#include <map>
#include <mutex>
#include <string>

#include "absl/strings/match.h"
#include "worker/backbone/stage.h"
#include "worker/backbone/tensor_names.h"
#include "worker/base/status.h"

namespace graft {
namespace {

constexpr char kArchitecture[] = "mobilenet_v3_small";

// He et al. 2015 for matrices and convolutions; norms near, but not at, the identity.
void FillTensor(const std::string& name, at::Tensor tensor, const at::Generator& generator) {
  if (tensor.dim() > 1) {
    const auto fan_in = static_cast<double>(tensor.numel() / tensor.size(0));
    tensor.normal_(0, std::sqrt(2 / fan_in), generator);
  } else if (absl::EndsWith(name, "running_var")) {
    tensor.uniform_(0.5, 1.5, generator);
  } else if (absl::EndsWith(name, "weight")) {
    tensor.uniform_(0.8, 1.2, generator);
  } else {
    tensor.uniform_(-0.1, 0.1, generator);
  }
}

}  // namespace

SafeTensors TinyWeights(uint64_t seed) {
  torch::NoGradGuard no_grad;
  const Architecture* architecture = FindArchitecture(kArchitecture);
  at::Generator generator = at::detail::createCPUGenerator(seed);
  SafeTensors file;
  file.metadata["architecture"] = kArchitecture;
  const auto stages = architecture->build_stages({});
  for (size_t i = 0; i < stages.size(); ++i) {
    for (const auto& [name, tensor] : StateOf(*stages[i])) {
      FillTensor(name, tensor, generator);
      file.tensors.emplace(FullName(architecture->stages[i].prefix, name), tensor.detach());
    }
  }
  return file;
}

std::shared_ptr<const Backbone> TinyBackbone(uint64_t seed) {
  static std::mutex mu;
  static auto* const made = new std::map<uint64_t, std::shared_ptr<const Backbone>>;
  const std::lock_guard<std::mutex> lock(mu);
  std::shared_ptr<const Backbone>& backbone = (*made)[seed];
  if (backbone == nullptr) {
    auto created = Backbone::Create(TinyWeights(seed), kArchitecture);
    GRAFT_CHECK(created.ok());
    backbone = *created;
  }
  return backbone;
}

}  // namespace graft

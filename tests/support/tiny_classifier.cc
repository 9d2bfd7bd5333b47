#include "tests/support/tiny_classifier.h"

#include <torch/torch.h>

#include <cmath>

#include "tests/support/tiny_backbone.h"
#include "worker/backbone/stage.h"
#include "worker/base/status.h"

namespace graft {
namespace {

constexpr char kArchitecture[] = "mobilenet_v3_small";

}  // namespace

SafeTensors TinyClassifierWeights() {
  torch::NoGradGuard no_grad;
  SafeTensors file = TinyWeights();
  file.metadata["classes"] = R"(["ant", "bee", "cat"])";
  at::Generator generator = at::detail::createCPUGenerator(/*seed_val=*/7);
  const auto classifier = FindArchitecture(kArchitecture)->build_classifier(3);
  for (const auto& [name, tensor] : StateOf(*classifier)) {
    const bool matrix = tensor.dim() > 1;
    const double deviation = matrix ? std::sqrt(2.0 / static_cast<double>(tensor.size(1))) : 0.1;
    file.tensors.emplace(name, at::empty(tensor.sizes(), at::kFloat).normal_(0, deviation, generator));
  }
  return file;
}

std::shared_ptr<const Backbone> TinyClassifier() {
  static const auto* const made = [] {
    auto created = Backbone::Create(TinyClassifierWeights(), kArchitecture);
    GRAFT_CHECK(created.ok());
    return new std::shared_ptr<const Backbone>(*std::move(created));
  }();
  return *made;
}

}  // namespace graft

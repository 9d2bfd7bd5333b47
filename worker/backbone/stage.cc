#include "worker/backbone/stage.h"

#include <torch/torch.h>

#include "absl/strings/str_split.h"

namespace graft {

void Stage::Fold() {
  for (const auto& fold : std::exchange(folds_, {})) fold();
  for (const auto& child : modules(/*include_self=*/false)) {
    if (auto* part = dynamic_cast<Stage*>(child.get())) part->Fold();  // does nothing the second time
  }
}

torch::nn::Module* Stage::ContainerOf(const std::vector<std::string>& path) {
  torch::nn::Module* container = this;
  for (size_t i = 0; i + 1 < path.size(); ++i) {
    const auto children = container->named_children();
    const auto* next = children.find(path[i]);
    container = next != nullptr
                    ? next->get()
                    : container->register_module(path[i], std::make_shared<torch::nn::Module>(path[i])).get();
  }
  return container;
}

void Stage::RegisterAt(const std::string& path, std::shared_ptr<torch::nn::Module> child) {
  const std::vector<std::string> parts = absl::StrSplit(path, '.');
  ContainerOf(parts)->register_module(parts.back(), std::move(child));
}

at::Tensor Stage::RegisterTensorAt(const std::string& path, const at::Tensor& initial) {
  const std::vector<std::string> parts = absl::StrSplit(path, '.');
  return ContainerOf(parts)->register_parameter(parts.back(), initial);
}

std::vector<std::pair<std::string, at::Tensor>> StateOf(const Stage& stage) {
  std::vector<std::pair<std::string, at::Tensor>> state;
  for (const auto& item : stage.named_parameters()) state.emplace_back(item.key(), item.value());
  for (const auto& item : stage.named_buffers()) {
    if (item.value().is_floating_point()) state.emplace_back(item.key(), item.value());
  }
  return state;
}

void PrepareToPredict(Stage* stage) {
  torch::NoGradGuard no_grad;
  stage->eval();
  stage->Fold();
  ToChannelsLast(stage);
  for (at::Tensor& parameter : stage->parameters()) parameter.set_requires_grad(false);
}

void ToChannelsLast(Stage* stage) {
  torch::NoGradGuard no_grad;
  for (at::Tensor& parameter : stage->parameters()) {
    if (parameter.dim() == 4) parameter.set_data(parameter.contiguous(at::MemoryFormat::ChannelsLast));
  }
}

}  // namespace graft

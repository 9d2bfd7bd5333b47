#include "worker/backbone/stage.h"

#include <torch/torch.h>

namespace graft {

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

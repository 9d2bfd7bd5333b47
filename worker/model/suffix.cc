#include "worker/model/suffix.h"

#include <torch/torch.h>

#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "worker/backbone/stage.h"
#include "worker/base/status.h"

namespace graft {

struct Suffix::Parts {
  std::vector<std::string> names;  // of the stages
  std::vector<std::shared_ptr<Stage>> stages;
  torch::nn::Linear head{nullptr};
};

Suffix::Suffix(const Backbone* backbone, int split_point, int64_t num_classes)
    : backbone_(backbone), split_point_(split_point), num_classes_(num_classes), parts_(std::make_unique<Parts>()) {
  parts_->stages = backbone->CopyStages(split_point, backbone->num_stages());
  parts_->names.assign(backbone->stage_names().begin() + split_point, backbone->stage_names().end());
  parts_->head = torch::nn::Linear(backbone->feature_width(), num_classes);
  parts_->head->to(backbone->device());
  for (const auto& stage : parts_->stages) {
    stage->eval();
    ToChannelsLast(stage.get());
  }
}

Suffix::Suffix(const Backbone& backbone, int split_point, int64_t num_classes, uint64_t seed)
    : Suffix(&backbone, split_point, num_classes) {
  torch::NoGradGuard no_grad;
  at::Generator generator = at::detail::createCPUGenerator(seed);
  const double bound = 1.0 / std::sqrt(static_cast<double>(backbone.feature_width()));
  for (at::Tensor parameter : {parts_->head->weight, parts_->head->bias}) {
    parameter.copy_(
        at::empty(parameter.sizes(), at::kFloat).uniform_(-bound, bound, generator));  // alike on every device
  }
}

Suffix::~Suffix() = default;

at::Tensor Suffix::Forward(const at::Tensor& activations) {
  at::Tensor x = activations.to(backbone_->device(), /*non_blocking=*/true);
  for (const auto& stage : parts_->stages) x = stage->Forward(x);
  return parts_->head->forward(x);  // [n, classes]
}

std::unique_ptr<Suffix> Suffix::Replicate() const {
  torch::NoGradGuard no_grad;
  std::unique_ptr<Suffix> replica(new Suffix(backbone_, split_point_, num_classes_));
  const auto share = [](const torch::nn::Module& from, torch::nn::Module* to) {
    const auto sources = from.parameters();
    auto targets = to->parameters();
    for (size_t i = 0; i < sources.size(); ++i) targets[i].set_data(sources[i].detach());
    const auto source_buffers = from.buffers();
    auto target_buffers = to->buffers();
    for (size_t i = 0; i < source_buffers.size(); ++i) target_buffers[i].set_data(source_buffers[i]);
  };
  for (size_t i = 0; i < parts_->stages.size(); ++i) share(*parts_->stages[i], replica->parts_->stages[i].get());
  share(*parts_->head, replica->parts_->head.get());
  return replica;
}

void Suffix::SetBatchNormTraining(bool training) {
  for (const auto& stage : parts_->stages) stage->train(training);
}

void Suffix::PrepareToPredict() {
  for (const auto& stage : parts_->stages) graft::PrepareToPredict(stage.get());
  for (at::Tensor& parameter : parts_->head->parameters()) parameter.set_requires_grad(false);
}

std::vector<Suffix::Parameter> Suffix::Parameters() const {
  std::vector<Parameter> parameters;
  const auto add = [&](const std::string& prefix, const torch::nn::Module& module, bool in_head) {
    for (const auto& item : module.named_parameters()) {
      const bool decays = item.value().dim() > 1 && absl::EndsWith(item.key(), "weight");
      parameters.push_back({absl::StrCat(prefix, ".", item.key()), item.value(), in_head, decays});
    }
  };
  for (size_t i = 0; i < parts_->stages.size(); ++i) add(parts_->names[i], *parts_->stages[i], false);
  add("head", *parts_->head, true);
  return parameters;
}

std::map<std::string, at::Tensor> Suffix::State() const {
  std::map<std::string, at::Tensor> state;
  for (size_t i = 0; i < parts_->stages.size(); ++i) {
    for (const auto& [name, tensor] : StateOf(*parts_->stages[i])) {
      state.emplace(absl::StrCat(parts_->names[i], ".", name), tensor.detach());
    }
  }
  state.emplace("head.weight", parts_->head->weight.detach());
  state.emplace("head.bias", parts_->head->bias.detach());
  return state;
}

absl::StatusOr<int> Suffix::LoadState(const std::map<std::string, at::Tensor>& state) {
  torch::NoGradGuard no_grad;
  int absent = 0;
  for (auto& [name, target] : State()) {
    const auto it = state.find(name);
    if (it == state.end()) {
      ++absent;
    } else if (it->second.sizes() != target.sizes()) {
      return absl::DataLossError(absl::StrCat(name, ": stored with another shape"));
    } else {
      at::Tensor(target).copy_(it->second);
    }
  }
  return absent;
}

}  // namespace graft

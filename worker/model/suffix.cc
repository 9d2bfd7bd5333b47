#include "worker/model/suffix.h"

#include <torch/torch.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "worker/backbone/copy_stream.h"
#include "worker/backbone/stage.h"
#include "worker/base/status.h"

namespace graft {

struct Suffix::Parts {
  std::vector<std::string> names;  // of the stages
  std::vector<std::shared_ptr<Stage>> stages;
  Head head;
};

Suffix::Suffix(const Backbone* backbone, int split_point, const HeadOptions& head, int64_t num_classes)
    : backbone_(backbone), split_point_(split_point), head_options_(head), num_classes_(num_classes),
      parts_(new Parts{{}, {}, Head(head, backbone->feature_width(), num_classes)}) {
  parts_->stages = backbone->CopyStages(split_point, backbone->num_stages());
  parts_->names.assign(backbone->stage_names().begin() + split_point, backbone->stage_names().end());
  parts_->head.stage()->to(backbone->device());
  for (const auto& stage : parts_->stages) {
    stage->eval();
    ToChannelsLast(stage.get());
  }
}

Suffix::Suffix(const Backbone& backbone, int split_point, const HeadOptions& head, int64_t num_classes, uint64_t seed)
    : Suffix(&backbone, split_point, head, num_classes) {
  parts_->head.Initialise(seed);
}

Suffix::~Suffix() = default;

Head& Suffix::head() { return parts_->head; }

at::Tensor Suffix::Forward(const at::Tensor& activations, const at::Tensor& head_mask) {
  at::Tensor x = ToDevice(activations, backbone_->device());
  for (const auto& stage : parts_->stages) x = stage->Forward(x);
  return parts_->head.Forward(x, head_mask);  // [n, classes]
}

void Suffix::Backpropagate(const at::Tensor& activations, const at::Tensor& head_mask,
                           const std::function<at::Tensor(const at::Tensor& logits)>& derivative) {
  Head& head = parts_->head;
  if (parts_->stages.empty() && head.is_one_linear_layer()) {
    torch::NoGradGuard no_grad;
    const at::Tensor inputs = head.LastInputs(ToDevice(activations, backbone_->device()), head_mask);
    head.AddGradients(inputs, derivative(head.Last(inputs)));
    return;
  }
  at::AutoGradMode enable_grad(true);
  const at::Tensor logits = Forward(activations, head_mask);
  logits.backward(derivative(logits));
}

std::unique_ptr<Suffix> Suffix::Replicate() const {
  torch::NoGradGuard no_grad;
  std::unique_ptr<Suffix> replica(new Suffix(backbone_, split_point_, head_options_, num_classes_));
  const auto share = [](const torch::nn::Module& from, torch::nn::Module* to) {
    const auto sources = from.parameters();
    auto targets = to->parameters();
    for (size_t i = 0; i < sources.size(); ++i) targets[i].set_data(sources[i].detach());
    const auto source_buffers = from.buffers();
    auto target_buffers = to->buffers();
    for (size_t i = 0; i < source_buffers.size(); ++i) target_buffers[i].set_data(source_buffers[i]);
  };
  for (size_t i = 0; i < parts_->stages.size(); ++i) share(*parts_->stages[i], replica->parts_->stages[i].get());
  share(*parts_->head.stage(), replica->parts_->head.stage().get());
  return replica;
}

void Suffix::SetBatchNormTraining(bool training) {
  for (const auto& stage : parts_->stages) stage->train(training);
}

void Suffix::PrepareToPredict() {
  for (const auto& stage : parts_->stages) graft::PrepareToPredict(stage.get());
  for (at::Tensor& parameter : parts_->head.stage()->parameters()) parameter.set_requires_grad(false);
}

std::vector<Suffix::Parameter> Suffix::Parameters() const {
  std::vector<Parameter> parameters;
  const auto add = [&](const std::string& prefix, const torch::nn::Module& module, int stage, bool in_head) {
    for (const auto& item : module.named_parameters()) {
      const bool decays = item.value().dim() > 1 && absl::EndsWith(item.key(), "weight");
      parameters.push_back({absl::StrCat(prefix, ".", item.key()), item.value(), stage, in_head, decays});
    }
  };
  const auto count = static_cast<int>(parts_->stages.size());
  for (int i = 0; i < count; ++i) add(parts_->names[i], *parts_->stages[i], split_point_ + i, false);
  add("head", *parts_->head.stage(), split_point_ + count, true);
  return parameters;
}

std::map<std::string, at::Tensor> Suffix::State() const {
  std::map<std::string, at::Tensor> state;
  const auto add = [&](const std::string& prefix, const Stage& stage) {
    for (const auto& [name, tensor] : StateOf(stage)) state.emplace(absl::StrCat(prefix, ".", name), tensor.detach());
  };
  for (size_t i = 0; i < parts_->stages.size(); ++i) add(parts_->names[i], *parts_->stages[i]);
  add("head", *parts_->head.stage());
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

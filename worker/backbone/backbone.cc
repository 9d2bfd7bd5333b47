#include "worker/backbone/backbone.h"

#include <torch/torch.h>

#include <algorithm>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "worker/backbone/stage.h"
#include "worker/backbone/torch_status.h"
#include "worker/base/sha256.h"
#include "worker/base/status.h"

namespace graft {
namespace {

// Names, shapes and values in name order.
std::string DigestOf(const std::map<std::string, at::Tensor>& tensors) {
  Sha256 sha;
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor plain = tensor.contiguous();
    sha.Update(absl::StrCat(name, " ", c10::toString(plain.scalar_type()), " ", absl::StrJoin(plain.sizes(), ","), "\n"));
    sha.Update(absl::string_view(static_cast<const char*>(plain.data_ptr()), plain.nbytes()));
  }
  return sha.Finish();
}

std::string ShapeText(const at::Tensor& tensor) { return absl::StrCat("[", absl::StrJoin(tensor.sizes(), ", "), "]"); }

// Copies tensors "<prefix>.<name>" into `stage` and takes them off `unused`; what is wrong goes to `problems`.
void CopyInto(const std::map<std::string, at::Tensor>& tensors, const std::string& prefix, Stage* stage,
              std::set<std::string>* unused, std::vector<std::string>* problems) {
  torch::NoGradGuard no_grad;
  for (auto& [name, target] : StateOf(*stage)) {
    const std::string full = absl::StrCat(prefix, ".", name);
    const auto it = tensors.find(full);
    unused->erase(full);
    if (it == tensors.end()) {
      problems->push_back(absl::StrCat(full, ": missing"));
    } else if (it->second.sizes() != target.sizes()) {
      problems->push_back(absl::StrCat(full, ": got ", ShapeText(it->second), ", want ", ShapeText(target)));
    } else if (!it->second.is_floating_point()) {
      problems->push_back(absl::StrCat(full, ": got integers, want floating point"));
    } else {
      target.copy_(it->second);
    }
  }
}

absl::Status ParseTriple(const std::string& key, const std::string& text, std::array<float, 3>* out) {
  const std::vector<std::string> parts = absl::StrSplit(text, ',');
  for (size_t i = 0; i < 3; ++i) {
    if (parts.size() != 3 || !absl::SimpleAtof(parts[i], &(*out)[i])) {
      return absl::InvalidArgumentError(absl::StrCat("metadata ", key, ": got \"", text, "\", want three numbers"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

// Stages twice: as loaded, to copy from, and prepared, to run. The first share the file's memory budget with nobody
// and are small beside activations.
struct Backbone::Prepared {
  std::vector<std::shared_ptr<Stage>> original, prepared;
  std::shared_ptr<Stage> classifier;  // null when the file has none
};

Backbone::Backbone() : prepared_(std::make_unique<Prepared>()) {}
Backbone::~Backbone() = default;

absl::StatusOr<std::shared_ptr<const Backbone>> Backbone::Load(const std::string& path,
                                                               const std::string& fallback_architecture,
                                                               const std::string& device) {
  absl::StatusOr<SafeTensors> file = absl::UnknownError("");
  RETURN_IF_ERROR(TryTorch("read the weights", [&] {
    file = ReadSafeTensors(path);
    return file.status();
  }));
  return Create(*file, fallback_architecture, device);
}

absl::StatusOr<std::shared_ptr<const Backbone>> Backbone::Create(const SafeTensors& file,
                                                                 const std::string& fallback_architecture,
                                                                 const std::string& device) {
  const auto get = [&](const char* key, const std::string& otherwise) {
    const auto it = file.metadata.find(key);
    return it == file.metadata.end() ? otherwise : it->second;
  };
  std::shared_ptr<Backbone> backbone(new Backbone);
  const std::string name = get("architecture", fallback_architecture);
  backbone->architecture_ = FindArchitecture(name);
  if (backbone->architecture_ == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("architecture: got \"", name, "\", want one of ",
                                                   absl::StrJoin(ArchitectureNames(), ", ")));
  }
  const Architecture& architecture = *backbone->architecture_;
  const std::string padding = get("padding", "");
  if (!padding.empty() && padding != "tensorflow_same") {
    return absl::InvalidArgumentError(absl::StrCat("metadata padding: got \"", padding, "\", want tensorflow_same or none"));
  }
  backbone->build_options_.tensorflow_same_padding = !padding.empty();
  backbone->preprocessing_ = architecture.preprocessing;
  if (file.metadata.count("mean") > 0) RETURN_IF_ERROR(ParseTriple("mean", get("mean", ""), &backbone->preprocessing_.mean));
  if (file.metadata.count("std") > 0) RETURN_IF_ERROR(ParseTriple("std", get("std", ""), &backbone->preprocessing_.std));
  RETURN_IF_ERROR(backbone->preprocessing_.Validate());
  backbone->source_ = get("source", "");

  std::vector<std::string> problems;
  std::set<std::string> unused;
  for (const auto& [tensor_name, unused_tensor] : file.tensors) {
    if (!absl::EndsWith(tensor_name, "num_batches_tracked")) unused.insert(tensor_name);
  }
  const absl::Status built = TryTorch("build the backbone", [&] {
    backbone->device_ = at::Device(device);
    Prepared& parts = *backbone->prepared_;
    parts.original = architecture.build_stages(backbone->build_options_);
    GRAFT_CHECK(parts.original.size() == architecture.stage_names.size());
    for (size_t i = 0; i < parts.original.size(); ++i) {
      CopyInto(file.tensors, architecture.stage_names[i], parts.original[i].get(), &unused, &problems);
    }
    const auto bias = std::find_if(file.tensors.rbegin(), file.tensors.rend(), [](const auto& item) {
      return absl::StartsWith(item.first, "classifier.") && absl::EndsWith(item.first, ".bias");
    });  // the last layer's: it says how many classes
    if (bias != file.tensors.rend() && bias->second.dim() == 1) {
      parts.classifier = architecture.build_classifier(bias->second.size(0));
      CopyInto(file.tensors, "classifier", parts.classifier.get(), &unused, &problems);
      parts.classifier->eval();
      parts.classifier->to(backbone->device_);
    }
    return absl::OkStatus();
  });
  RETURN_IF_ERROR(built);
  for (const std::string& extra : unused) problems.push_back(extra + ": unexpected");
  if (!problems.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("weights do not fit ", name, ":\n", absl::StrJoin(problems, "\n")));
  }
  return Finish(std::move(backbone), file);
}

absl::StatusOr<std::shared_ptr<const Backbone>> Backbone::Finish(std::shared_ptr<Backbone> backbone,
                                                                         const SafeTensors& file) {
  RETURN_IF_ERROR(TryTorch("prepare the backbone", [&] {
    backbone->digest_ = DigestOf(file.tensors);
    Prepared& parts = *backbone->prepared_;
    parts.prepared = backbone->CopyStages(0, backbone->num_stages());
    for (const auto& stage : parts.prepared) PrepareToPredict(stage.get());
    return absl::OkStatus();
  }));
  return std::shared_ptr<const Backbone>(std::move(backbone));
}

int64_t Backbone::parameter_count(int begin, int end) const {
  int64_t count = 0;
  for (int i = begin; i < end; ++i) {
    for (const at::Tensor& parameter : prepared_->original[i]->parameters()) count += parameter.numel();
  }
  return count;
}

at::Tensor Backbone::Forward(const at::Tensor& x, int begin, int end) const {
  GRAFT_CHECK(0 <= begin && begin <= end && end <= num_stages());
  torch::NoGradGuard no_grad;
  at::Tensor y = x.to(device_, /*non_blocking=*/true);
  if (begin == 0) y = y.contiguous(at::MemoryFormat::ChannelsLast);
  for (int i = begin; i < end; ++i) y = prepared_->prepared[i]->Forward(y);
  return y;
}

at::TensorOptions Backbone::input_options() const {
  return at::TensorOptions(at::kFloat).memory_format(at::MemoryFormat::ChannelsLast).pinned_memory(device_.is_cuda());
}

at::Tensor Backbone::OwnLogits(const at::Tensor& x) const {
  if (prepared_->classifier == nullptr) return at::Tensor();
  torch::NoGradGuard no_grad;
  return prepared_->classifier->Forward(Forward(x, 0, num_stages()));
}

std::vector<std::shared_ptr<Stage>> Backbone::CopyStages(int begin, int end) const {
  torch::NoGradGuard no_grad;
  std::vector<std::shared_ptr<Stage>> stages = architecture_->build_stages(build_options_);
  for (int i = begin; i < end; ++i) {
    stages[i]->to(device_);
    const auto from = StateOf(*prepared_->original[i]);
    auto to = StateOf(*stages[i]);
    for (size_t j = 0; j < from.size(); ++j) to[j].second.copy_(from[j].second);
  }
  return {stages.begin() + begin, stages.begin() + end};
}

}  // namespace graft

#include "worker/backbone/backbone.h"

#include <torch/torch.h>

#include <cmath>
#include <map>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "worker/backbone/backbone_metadata.h"
#include "worker/backbone/copy_stream.h"
#include "worker/backbone/gguf.h"
#include "worker/backbone/script_backbone.h"
#include "worker/backbone/stage.h"
#include "worker/backbone/tensor_names.h"
#include "worker/backbone/torch_status.h"
#include "worker/base/mutex.h"
#include "worker/base/sha256.h"
#include "worker/base/status.h"

namespace graft {
namespace {

std::string ShapeText(const at::Tensor& tensor) { return absl::StrCat("[", absl::StrJoin(tensor.sizes(), ", "), "]"); }

// Copies `from` to `target`; what is wrong with it goes to `problems`.
void CopyTensor(const NamedTensor& from, const std::string& name, at::Tensor target,
                std::vector<std::string>* problems) {
  const bool aliased = from.file_name != name;
  const std::string shown = aliased ? absl::StrCat(name, " (", from.file_name, ")") : name;
  // An alias may be of a layer that its publisher wrote otherwise: a linear one as a 1x1 convolution.
  const bool same = from.tensor.sizes() == target.sizes() ||
                    (aliased && from.tensor.dim() > 0 && from.tensor.numel() == target.numel() &&
                     from.tensor.size(0) == target.size(0));
  if (!same) {
    problems->push_back(absl::StrCat(shown, ": got ", ShapeText(from.tensor), ", want ", ShapeText(target)));
  } else if (!from.tensor.is_floating_point()) {
    problems->push_back(absl::StrCat(shown, ": got integers, want floating point"));
  } else {
    target.copy_(from.tensor.reshape(target.sizes()));
  }
}

// Copies the stage's tensors, whose names begin with `prefix`, and takes them off `unused`.
void CopyInto(const TensorNames& tensors, const std::string& prefix, Stage* stage, std::set<std::string>* unused,
              std::vector<std::string>* problems) {
  torch::NoGradGuard no_grad;
  for (auto& [name, target] : StateOf(*stage)) {
    const std::string full = FullName(prefix, name);
    const auto it = tensors.by_name.find(full);
    unused->erase(full);
    if (it == tensors.by_name.end()) {
      problems->push_back(absl::StrCat(full, ": missing"));
    } else {
      CopyTensor(it->second, full, target, problems);
    }
  }
}

void Digest(const std::string& prefix, const Stage& stage, Sha256* sha) {
  for (const auto& [name, tensor] : StateOf(stage)) {
    const at::Tensor plain = tensor.detach().cpu().contiguous();
    sha->Update(absl::StrCat(FullName(prefix, name), " ", absl::StrJoin(plain.sizes(), ","), "\n"));
    sha->Update(absl::string_view(static_cast<const char*>(plain.data_ptr()), plain.nbytes()));
  }
}

// He et al. 2015 (arXiv:1502.01852) for convolutions and linear layers; norms and scales keep what they begin with.
void Initialise(Stage* stage, const at::Generator& generator) {
  torch::NoGradGuard no_grad;
  for (auto& [name, tensor] : StateOf(*stage)) {
    if (absl::EndsWith(name, "weight") && tensor.dim() > 1) {
      const auto fan_in = static_cast<double>(tensor.numel() / tensor.size(0));
      tensor.normal_(0, std::sqrt(2 / fan_in), generator);
    } else if (absl::EndsWith(name, "pos_embedding")) {
      tensor.normal_(0, 0.02, generator);  // Dosovitskiy et al. 2020, as in BERT
    }
  }
}

absl::StatusOr<const Architecture*> ArchitectureNamed(const std::string& name) {
  const Architecture* architecture = FindArchitecture(name);
  if (architecture != nullptr) return architecture;
  return absl::InvalidArgumentError(
      absl::StrCat("architecture: got \"", name, "\", want one of ", absl::StrJoin(ArchitectureNames(), ", ")));
}

// What weights ask for that the network cannot do would change their answers without a word.
absl::Status CheckBuild(const BackboneMetadata& weights, const Architecture& architecture) {
  if (weights.tensorflow_same_padding && !architecture.has_same_padding) {
    return absl::InvalidArgumentError(absl::StrCat("metadata padding: got \"tensorflow_same\", want none: ",
                                                   architecture.name, " is only built with its own padding"));
  }
  if (weights.norm_epsilon && architecture.norm_epsilon == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("metadata norm_epsilon: got ", *weights.norm_epsilon, ", want none: ", architecture.name,
                     " has no batch norm"));
  }
  return absl::OkStatus();
}

std::shared_ptr<const Architecture> Unowned(const Architecture* architecture) {
  return {std::shared_ptr<const Architecture>(), architecture};  // the registry lives as long as the process
}

}  // namespace

// Stages twice: as loaded, to copy from, and prepared, to run; and once more in each lower precision that was asked for.
struct Backbone::Parts {
  std::vector<std::shared_ptr<Stage>> original, prepared;
  Mutex lower_mu;
  std::map<Precision, std::vector<std::shared_ptr<Stage>>> lower ABSL_GUARDED_BY(lower_mu);  // never erased
  std::shared_ptr<Stage> classifier;  // null when the file has none
};

Backbone::Backbone() : parts_(std::make_unique<Parts>()) {}
Backbone::~Backbone() = default;

absl::StatusOr<std::shared_ptr<const Backbone>> Backbone::Load(const std::string& path, const std::string& name,
                                                               const std::string& device) {
  SafeTensors file;
  RETURN_IF_ERROR(TryTorch("read the weights", [&]() -> absl::Status {
    ASSIGN_OR_RETURN(file, absl::EndsWith(path, ".gguf") ? ReadGguf(path) : ReadSafeTensors(path));
    return absl::OkStatus();
  }));
  return Create(file, name, device);
}

absl::StatusOr<std::shared_ptr<const Backbone>> Backbone::Create(const SafeTensors& file, const std::string& name,
                                                                 const std::string& device) {
  std::shared_ptr<Backbone> backbone(new Backbone);
  backbone->name_ = name;
  ASSIGN_OR_RETURN(const BackboneMetadata metadata, ParseBackboneMetadata(file.metadata));
  ASSIGN_OR_RETURN(const Architecture* architecture,
                   ArchitectureNamed(metadata.architecture.empty() ? name : metadata.architecture));
  backbone->architecture_ = Unowned(architecture);
  backbone->stage_names_ = architecture->stage_names();
  backbone->source_ = metadata.source;
  ASSIGN_OR_RETURN(backbone->preprocessing_, metadata.Over(architecture->preprocessing));
  RETURN_IF_ERROR(backbone->preprocessing_.Validate());
  RETURN_IF_ERROR(architecture->input.Check("metadata crop_px", backbone->preprocessing_.crop_px));
  RETURN_IF_ERROR(CheckBuild(metadata, *architecture));
  ASSIGN_OR_RETURN(const TensorNames tensors, OurNames(file.tensors, *architecture));
  const bool as_alias = tensors.used_aliases && architecture->alias_norm_epsilon > 0;
  backbone->build_options_.tensorflow_same_padding = metadata.tensorflow_same_padding;
  backbone->build_options_.norm_epsilon =
      metadata.norm_epsilon.value_or(as_alias ? architecture->alias_norm_epsilon : architecture->norm_epsilon);
  RETURN_IF_ERROR(TryTorch("build the backbone", [&]() -> absl::Status {
    backbone->device_ = at::Device(device);
    RETURN_IF_ERROR(backbone->Build(tensors));
    const int64_t classes = backbone->parts_->classifier == nullptr ? 0 : tensors.classes;
    ASSIGN_OR_RETURN(backbone->class_names_, metadata.ClassNames(classes));
    backbone->digest_ = backbone->ComputeDigest();
    backbone->Prepare();
    return absl::OkStatus();
  }));
  return std::shared_ptr<const Backbone>(std::move(backbone));
}

absl::Status Backbone::Build(const TensorNames& tensors) {
  std::vector<std::string> problems;
  std::set<std::string> unused;
  for (const auto& [name, unused_tensor] : tensors.by_name) unused.insert(name);
  if (architecture_->inspect) architecture_->inspect(tensors, &build_options_);
  parts_->original = architecture_->build_stages(build_options_);
  GRAFT_CHECK(parts_->original.size() == architecture_->stages.size());
  for (size_t i = 0; i < parts_->original.size(); ++i) {
    CopyInto(tensors, architecture_->stages[i].prefix, parts_->original[i].get(), &unused, &problems);
  }
  if (tensors.classes > 0) {
    parts_->classifier = architecture_->build_classifier(tensors.classes);
    CopyInto(tensors, "", parts_->classifier.get(), &unused, &problems);
  }
  for (const std::string& name : unused) {
    problems.push_back(absl::StrCat(tensors.by_name.at(name).file_name, ": unexpected"));
  }
  if (problems.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("weights do not fit ", architecture_->name, ":\n", absl::StrJoin(problems, "\n")));
}

std::string Backbone::ComputeDigest() const {
  Sha256 sha;
  sha.Update(absl::StrCat(architecture_->name, " ", build_options_.tensorflow_same_padding, " ",
                          build_options_.norm_epsilon, "\n"));
  for (size_t i = 0; i < parts_->original.size(); ++i) {
    Digest(architecture_->stages[i].prefix, *parts_->original[i], &sha);
  }
  if (parts_->classifier != nullptr) Digest("", *parts_->classifier, &sha);
  return sha.Finish();
}

void Backbone::Prepare() {
  parts_->prepared = CopyStages(0, num_stages());
  for (const auto& stage : parts_->prepared) PrepareToPredict(stage.get());
  if (parts_->classifier != nullptr) {
    parts_->classifier->to(device_);
    PrepareToPredict(parts_->classifier.get());
  }
}

int64_t Backbone::classifier_bytes() const {
  int64_t bytes = 0;
  if (parts_->classifier == nullptr) return bytes;
  for (const at::Tensor& p : parts_->classifier->parameters()) bytes += static_cast<int64_t>(p.nbytes());
  return bytes;
}

absl::StatusOr<std::shared_ptr<const Backbone>> Backbone::Untrained(const std::string& name,
                                                                    const std::string& device, uint64_t seed) {
  ASSIGN_OR_RETURN(const Architecture* architecture, ArchitectureNamed(name));
  std::shared_ptr<Backbone> backbone(new Backbone);
  backbone->name_ = name;
  backbone->architecture_ = Unowned(architecture);
  backbone->stage_names_ = architecture->stage_names();
  backbone->preprocessing_ = architecture->preprocessing;
  backbone->source_ = "random weights";
  backbone->digest_ = kUntrained + name;
  RETURN_IF_ERROR(TryTorch("build the backbone", [&] {
    backbone->device_ = at::Device(device);
    backbone->build_options_.norm_epsilon = architecture->norm_epsilon;
    backbone->parts_->original = architecture->build_stages(backbone->build_options_);
    const at::Generator generator = at::detail::createCPUGenerator(seed);
    for (const auto& stage : backbone->parts_->original) Initialise(stage.get(), generator);
    backbone->Prepare();
    return absl::OkStatus();
  }));
  return std::shared_ptr<const Backbone>(std::move(backbone));
}

absl::StatusOr<std::shared_ptr<const Backbone>> Backbone::LoadScript(const std::string& path,
                                                                     const std::string& manifest,
                                                                     const std::string& name,
                                                                     const std::string& device) {
  std::shared_ptr<Backbone> backbone(new Backbone);
  backbone->name_ = name;
  RETURN_IF_ERROR(TryTorch("read the TorchScript file", [&]() -> absl::Status {
    backbone->device_ = at::Device(device);
    ASSIGN_OR_RETURN(ScriptBackbone script, ReadScriptBackbone(path, manifest, name, backbone->device_));
    backbone->architecture_ = std::make_shared<const Architecture>(std::move(script.architecture));
    backbone->digest_ = script.digest;
    backbone->source_ = script.source;
    return absl::OkStatus();
  }));
  backbone->stage_names_ = backbone->architecture_->stage_names();
  backbone->preprocessing_ = backbone->architecture_->preprocessing;
  backbone->parts_->original = backbone->architecture_->build_stages({});
  backbone->parts_->prepared = backbone->parts_->original;
  return std::shared_ptr<const Backbone>(std::move(backbone));
}

int64_t Backbone::parameter_count(int begin, int end) const {
  int64_t count = 0;
  for (int i = begin; i < end; ++i) {
    for (const at::Tensor& parameter : parts_->original[i]->parameters()) count += parameter.numel();
  }
  return count;
}

absl::StatusOr<PreprocessSpec> Backbone::PreprocessingFor(int input_px) const {
  return graft::PreprocessingFor(*architecture_, preprocessing_, input_px);
}

absl::StatusOr<PreprocessSpec> PreprocessingFor(const Architecture& architecture, const PreprocessSpec& own,
                                                int input_px) {
  if (input_px == 0 || input_px == own.crop_px) return own;
  PreprocessSpec spec = own;
  spec.crop_px = input_px;
  spec.resize_px = static_cast<int>(std::lround(static_cast<double>(input_px) * own.resize_px / own.crop_px));
  if (!architecture.input.Allows(input_px) || !spec.Validate().ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("input_px: got ", input_px, ", want ", architecture.input.Describe()));
  }
  return spec;
}

// A script's stage stays as the operator made it.
const std::vector<std::shared_ptr<Stage>>& Backbone::StagesIn(Precision precision) const {
  if (precision == Precision::kFloat32 || !architecture_->trainable) return parts_->prepared;
  MutexLock lock(&parts_->lower_mu);
  std::vector<std::shared_ptr<Stage>>& stages = parts_->lower[precision];
  if (stages.empty()) {
    stages = CopyStages(0, num_stages());
    for (const auto& stage : stages) {
      PrepareToPredict(stage.get());
      stage->to(ScalarTypeOf(precision));
    }
  }
  return stages;
}

at::Tensor Backbone::Forward(const at::Tensor& x, int begin, int end, Precision precision) const {
  GRAFT_CHECK(0 <= begin && begin <= end && end <= num_stages());
  torch::NoGradGuard no_grad;
  at::Tensor y = ToDevice(x, device_);
  if (begin == 0) y = y.contiguous(at::MemoryFormat::ChannelsLast);
  const auto& stages = StagesIn(precision);
  const at::ScalarType type = architecture_->trainable ? ScalarTypeOf(precision) : at::kFloat;
  for (int i = begin; i < end; ++i) {
    // A mean in bfloat16 would lose what float32 keeps.
    y = stages[i]->Forward(y.to(type == at::kFloat || parameter_count(i, i + 1) > 0 ? type : at::kFloat));
  }
  return end == num_stages() ? y.to(at::kFloat) : y;
}

at::TensorOptions Backbone::input_options() const {
  return at::TensorOptions(at::kFloat).memory_format(at::MemoryFormat::ChannelsLast).pinned_memory(device_.is_cuda());
}

at::Tensor Backbone::OwnLogits(const at::Tensor& features) const {
  GRAFT_CHECK(parts_->classifier != nullptr);
  torch::NoGradGuard no_grad;
  return parts_->classifier->Forward(ToDevice(features, device_));
}

std::vector<std::shared_ptr<Stage>> Backbone::CopyStages(int begin, int end) const {
  if (begin == end) return {};
  GRAFT_CHECK(architecture_->trainable);  // a script's one stage is shared
  torch::NoGradGuard no_grad;
  std::vector<std::shared_ptr<Stage>> stages = architecture_->build_stages(build_options_);
  for (int i = begin; i < end; ++i) {
    stages[i]->to(device_);
    const auto from = StateOf(*parts_->original[i]);
    auto to = StateOf(*stages[i]);
    for (size_t j = 0; j < from.size(); ++j) to[j].second.copy_(from[j].second);
  }
  return {stages.begin() + begin, stages.begin() + end};
}

}  // namespace graft

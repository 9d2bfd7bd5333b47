#include "worker/backbone/script_backbone.h"

#include <torch/script.h>
#include <torch/torch.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "worker/backbone/stage.h"
#include "worker/backbone/tensor_file.h"
#include "worker/backbone/torch_status.h"
#include "worker/base/sha256.h"
#include "worker/base/status.h"

namespace graft {
namespace {

constexpr int64_t kMaxFeatureWidth = 1 << 20;  // and of its other numbers, before their own checks

// Runs the script as it is.
class ScriptStage : public Stage {
 public:
  explicit ScriptStage(torch::jit::Module module) : module_(std::move(module)) {
    int index = 0;  // only to be counted: the script keeps them under its own names
    for (const at::Tensor& parameter : module_.parameters()) {
      register_parameter(absl::StrCat("script", index++), parameter.detach(), /*requires_grad=*/false);
    }
  }
  at::Tensor Forward(const at::Tensor& x) override { return torch::jit::Module(module_).forward({x}).toTensor(); }

 private:
  const torch::jit::Module module_;
};

absl::Status Bad(const std::string& field, const std::string& got, const std::string& want) {
  return absl::InvalidArgumentError(absl::StrCat("manifest ", field, ": got ", got, ", want ", want));
}

// Reads an optional whole number of at least 1.
absl::Status ReadCount(const nlohmann::json& json, const char* key, int* out) {
  if (!json.contains(key)) return absl::OkStatus();
  const auto& value = json[key];
  if (!value.is_number_unsigned() || value.get<uint64_t>() < 1 || value.get<uint64_t>() > kMaxFeatureWidth) {
    return Bad(key, value.dump(), absl::StrCat("1 to ", kMaxFeatureWidth));
  }
  *out = value.get<int>();
  return absl::OkStatus();
}

absl::Status ReadTriple(const nlohmann::json& json, const char* key, std::array<float, 3>* out) {
  if (!json.contains(key)) return absl::OkStatus();
  const auto& value = json[key];
  if (!value.is_array() || value.size() != 3) return Bad(key, value.dump(), "three numbers");
  for (size_t i = 0; i < 3; ++i) {
    if (!value[i].is_number()) return Bad(key, value.dump(), "three numbers");
    (*out)[i] = value[i].get<float>();
  }
  return absl::OkStatus();
}

absl::Status CheckKeys(const nlohmann::json& json) {
  static const auto* const known = new std::vector<std::string>{
      "feature_width", "resize_px", "crop_px", "mean", "std", "interpolation", "min_px", "max_px", "multiple_px",
      "source"};
  for (const auto& [key, unused] : json.items()) {
    if (std::find(known->begin(), known->end(), key) == known->end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("manifest: got \"", key, "\", want only ", absl::StrJoin(*known, ", ")));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<ScriptBackbone> ParseManifest(const std::string& text) {
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return absl::InvalidArgumentError("manifest: got no JSON object");
  RETURN_IF_ERROR(CheckKeys(json));
  ScriptBackbone script;
  Architecture& a = script.architecture;
  PreprocessSpec& spec = a.preprocessing;
  int width = 0;
  RETURN_IF_ERROR(ReadCount(json, "feature_width", &width));
  if (width == 0) return Bad("feature_width", "nothing", "the width of what forward() returns");
  a.feature_width = width;
  RETURN_IF_ERROR(ReadCount(json, "resize_px", &spec.resize_px));
  RETURN_IF_ERROR(ReadCount(json, "crop_px", &spec.crop_px));
  RETURN_IF_ERROR(ReadTriple(json, "mean", &spec.mean));
  RETURN_IF_ERROR(ReadTriple(json, "std", &spec.std));
  if (json.contains("interpolation")) {
    const auto& value = json["interpolation"];
    const auto interpolation = ParseInterpolation(value.is_string() ? value.get<std::string>() : "");
    if (!interpolation.ok()) return Bad("interpolation", value.dump(), "\"bilinear\" or \"bicubic\"");
    spec.interpolation = *interpolation;
  }
  a.input = {spec.crop_px, 1, spec.crop_px};  // what the network can take is for the operator to say
  RETURN_IF_ERROR(ReadCount(json, "min_px", &a.input.min_px));
  RETURN_IF_ERROR(ReadCount(json, "max_px", &a.input.max_px));
  RETURN_IF_ERROR(ReadCount(json, "multiple_px", &a.input.multiple_px));
  RETURN_IF_ERROR(spec.Validate());
  if (a.input.max_px > kMaxInputPx) {
    return Bad("max_px", absl::StrCat(a.input.max_px), absl::StrCat("at most ", kMaxInputPx));
  }
  RETURN_IF_ERROR(a.input.Check("manifest crop_px", spec.crop_px));
  if (json.contains("source") && json["source"].is_string()) script.source = json["source"].get<std::string>();
  return script;
}

// forward() must give what the manifest says: for one picture and for batches.
absl::Status TryOut(Stage* stage, const Architecture& a, const at::Device& device) {
  for (const int64_t n : {1, 2, 8}) {
    const at::Tensor x = at::ones({n, 3, a.preprocessing.crop_px, a.preprocessing.crop_px}).to(device);
    at::Tensor y;
    const at::Tensor input = x.contiguous(at::MemoryFormat::ChannelsLast), before = input.clone();
    const absl::Status ran = TryTorch("forward()", [&] {
      y = stage->Forward(input);
      return absl::OkStatus();
    });
    if (absl::IsResourceExhausted(ran)) return ran;
    if (!ran.ok()) return absl::InvalidArgumentError(absl::StrCat(ran.message(), ", of a batch of ", n));
    if (!at::equal(input, before)) return absl::InvalidArgumentError("forward(): it changes its input");
    if (y.dim() != 2 || y.size(0) != n || y.size(1) != a.feature_width || y.scalar_type() != at::kFloat) {
      return absl::InvalidArgumentError(absl::StrCat("forward(): got ", c10::toString(y.scalar_type()), " [",
                                                     absl::StrJoin(y.sizes(), ", "), "], want Float [", n, ", ",
                                                     a.feature_width, "], as the manifest says"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ScriptBackbone> ReadScriptBackbone(const std::string& path, const std::string& manifest,
                                                  const std::string& name, const at::Device& device) {
  ASSIGN_OR_RETURN(ScriptBackbone script, ParseManifest(manifest));
  ASSIGN_OR_RETURN(const std::string bytes, ReadTensorFile(path));
  Sha256 sha;
  sha.Update(bytes);
  script.digest = sha.Finish();
  // The optimising executor compiles anew for shapes it meets, in the middle of serving. For the whole process.
  torch::jit::getProfilingMode() = false;
  std::shared_ptr<Stage> stage;
  const absl::Status loaded = TryTorch("load the script", [&] {
    std::istringstream in(bytes);
    torch::jit::Module module = torch::jit::load(in, device);
    module.eval();
    stage = std::make_shared<ScriptStage>(std::move(module));
    return absl::OkStatus();
  });
  if (absl::IsResourceExhausted(loaded)) return loaded;
  if (!loaded.ok()) return absl::DataLossError(absl::StrCat("not a TorchScript file: ", loaded.message()));
  torch::NoGradGuard no_grad;
  Architecture& a = script.architecture;
  RETURN_IF_ERROR(TryOut(stage.get(), a, device));
  a.name = name;
  a.stages = {{"network", ""}};
  a.trainable = false;
  for (const at::Tensor& parameter : stage->parameters()) a.parameter_count += parameter.numel();
  a.build_stages = [stage](const BuildOptions&) { return std::vector<std::shared_ptr<Stage>>{stage}; };
  return script;
}

}  // namespace graft

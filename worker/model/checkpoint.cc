#include "worker/model/checkpoint.h"

#include <torch/torch.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "worker/backbone/safetensors.h"
#include "worker/base/status.h"

namespace graft {
namespace {

constexpr int kFormat = 1;
constexpr char kWeights[] = "weights.";
constexpr char kGolden[] = "golden.logits";

absl::Status Bad(absl::string_view what) { return absl::DataLossError(absl::StrCat("checkpoint: ", what)); }

nlohmann::json ToJson(const PreprocessSpec& spec) {
  return {{"resize_px", spec.resize_px},
          {"crop_px", spec.crop_px},
          {"mean", spec.mean},
          {"std", spec.std},
          {"interpolation", std::string(InterpolationName(spec.interpolation))}};
}

absl::Status ParsePreprocessing(const nlohmann::json& json, PreprocessSpec* out) {
  out->resize_px = json.at("resize_px").get<int>();
  out->crop_px = json.at("crop_px").get<int>();
  out->mean = json.at("mean").get<std::array<float, 3>>();
  out->std = json.at("std").get<std::array<float, 3>>();
  if (json.contains("interpolation")) {  // older checkpoints lack it: all were bilinear
    const auto interpolation = ParseInterpolation(json.at("interpolation").get<std::string>());
    if (!interpolation.ok()) return Bad(interpolation.status().message());
    out->interpolation = *interpolation;
  }
  const absl::Status valid = out->Validate();
  return valid.ok() ? valid : Bad(valid.message());
}

nlohmann::json ToJson(const HeadOptions& head) {
  return {{"type", std::string(HeadTypeName(head.type))},
          {"hidden_width", head.hidden_width},
          {"standardize", head.standardize},
          {"dropout", head.dropout}};
}

absl::Status ParseHead(const nlohmann::json& json, HeadOptions* out) {
  const auto type = ParseHeadType(json.at("type").get<std::string>());
  if (!type.ok()) return Bad(type.status().message());
  out->type = *type;
  out->hidden_width = json.at("hidden_width").get<int>();
  out->dropout = json.at("dropout").get<double>();
  if (json.contains("standardize")) out->standardize = json.at("standardize").get<bool>();
  const absl::Status valid = out->Validate();
  return valid.ok() ? valid : Bad(valid.message());
}

absl::Status ParseHeader(const nlohmann::json& json, Checkpoint* out) {
  if (json.at("format").get<int>() != kFormat) return Bad("written by another version of graft");
  out->backbone = json.at("backbone").get<std::string>();
  out->backbone_digest = json.at("backbone_digest").get<std::string>();
  out->split_point = json.at("split_point").get<int>();
  out->class_names = json.at("classes").get<std::vector<std::string>>();
  out->temperature = json.at("temperature").get<double>();
  out->training_config = json.at("training").dump();
  // Only those trained at one have it.
  if (const auto found = json.find("found_learning_rates"); found != json.end()) {
    out->found_rates = found->get<std::map<std::string, double>>();
  }
  if (!std::isfinite(out->temperature) || out->temperature <= 0) return Bad("temperature is not positive");
  // Only multi-label ones have it.
  if (json.contains("multi_label")) out->multi_label = json.at("multi_label").get<bool>();
  if (out->class_names.size() < (out->multi_label ? 1 : 2)) {
    return Bad(out->multi_label ? "no classes" : "fewer than two classes");
  }
  // Older checkpoints lack it: all were linear.
  if (json.contains("head")) RETURN_IF_ERROR(ParseHead(json.at("head"), &out->head));
  return ParsePreprocessing(json.at("preprocessing"), &out->preprocessing);
}

}  // namespace

std::string SerializeCheckpoint(const Checkpoint& c) {
  SafeTensors file;
  for (const auto& [name, tensor] : c.weights) file.tensors.emplace(kWeights + name, tensor);
  file.tensors.emplace(kGolden, c.golden_logits);
  nlohmann::json json = {
      {"format", kFormat},
      {"backbone", c.backbone},
      {"backbone_digest", c.backbone_digest},
      {"split_point", c.split_point},
      {"head", ToJson(c.head)},
      {"classes", c.class_names},
      {"preprocessing", ToJson(c.preprocessing)},
      {"temperature", c.temperature},
      {"training", nlohmann::json::parse(c.training_config.empty() ? "{}" : c.training_config)}};
  if (c.multi_label) json["multi_label"] = true;
  if (!c.found_rates.empty()) json["found_learning_rates"] = c.found_rates;
  file.metadata["graft"] = json.dump();
  return SerializeSafeTensors(file);
}

absl::StatusOr<Checkpoint> ParseCheckpoint(absl::string_view bytes) {
  ASSIGN_OR_RETURN(SafeTensors file, ParseSafeTensors(bytes));
  Checkpoint checkpoint;
  try {  // the JSON library's adapter: a missing key or another type throws
    RETURN_IF_ERROR(ParseHeader(nlohmann::json::parse(file.metadata["graft"]), &checkpoint));
  } catch (const nlohmann::json::exception& error) {
    return Bad("its metadata lacks what graft writes");
  }
  for (auto& [name, tensor] : file.tensors) {
    if (absl::StartsWith(name, kWeights)) checkpoint.weights.emplace(name.substr(sizeof(kWeights) - 1), tensor);
  }
  const auto golden = file.tensors.find(kGolden);
  if (golden == file.tensors.end()) return Bad("no golden logits");
  checkpoint.golden_logits = golden->second;
  return checkpoint;
}

at::Tensor GoldenInputs(const PreprocessSpec& preprocessing) {
  const int64_t side = preprocessing.crop_px;
  const at::Tensor t = at::arange(2 * 3 * side * side, at::kFloat);
  return at::sin(t * 0.0137f + 0.5f).view({2, 3, side, side}).contiguous(at::MemoryFormat::ChannelsLast);
}

}  // namespace graft

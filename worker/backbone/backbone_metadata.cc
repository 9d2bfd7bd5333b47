#include "worker/backbone/backbone_metadata.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "worker/backbone/imagenet_classes.h"
#include "worker/base/status.h"

namespace graft {
namespace {

constexpr size_t kMaxClassNameBytes = 256;

absl::Status Bad(const std::string& key, const std::string& got, const std::string& want) {
  return absl::InvalidArgumentError(absl::StrCat("metadata ", key, ": got \"", got, "\", want ", want));
}

// nullptr: the file does not say.
const std::string* Find(const std::map<std::string, std::string>& values, const std::string& key) {
  const auto it = values.find(key);
  return it == values.end() ? nullptr : &it->second;
}

bool ParseTriple(const std::string& text, std::array<float, 3>* out) {
  const std::vector<std::string> parts = absl::StrSplit(text, ',');
  if (parts.size() != 3) return false;
  return absl::SimpleAtof(parts[0], &(*out)[0]) && absl::SimpleAtof(parts[1], &(*out)[1]) &&
         absl::SimpleAtof(parts[2], &(*out)[2]);
}

}  // namespace

absl::StatusOr<BackboneMetadata> ParseBackboneMetadata(const std::map<std::string, std::string>& values) {
  BackboneMetadata metadata;
  metadata.values = values;
  if (const std::string* text = Find(values, "architecture")) metadata.architecture = *text;
  if (const std::string* text = Find(values, "source")) metadata.source = *text;
  if (const std::string* text = Find(values, "padding")) {
    if (*text != "tensorflow_same") return Bad("padding", *text, "tensorflow_same or no such key");
    metadata.tensorflow_same_padding = true;
  }
  if (const std::string* text = Find(values, "norm_epsilon")) {
    double epsilon = 0;
    if (!absl::SimpleAtod(*text, &epsilon) || !(epsilon > 0 && epsilon < 1)) {
      return Bad("norm_epsilon", *text, "a number between 0 and 1");
    }
    metadata.norm_epsilon = epsilon;
  }
  return metadata;
}

absl::StatusOr<PreprocessSpec> BackboneMetadata::Over(PreprocessSpec spec) const {
  for (const auto& [key, triple] : {std::make_pair("mean", &spec.mean), std::make_pair("std", &spec.std)}) {
    const std::string* text = Find(values, key);
    if (text != nullptr && !ParseTriple(*text, triple)) return Bad(key, *text, "three numbers");
  }
  for (const auto& [key, side] :
       {std::make_pair("resize_px", &spec.resize_px), std::make_pair("crop_px", &spec.crop_px)}) {
    const std::string* text = Find(values, key);
    if (text != nullptr && !absl::SimpleAtoi(*text, side)) return Bad(key, *text, "a whole number");
  }
  if (const std::string* text = Find(values, "interpolation")) {
    const absl::StatusOr<Interpolation> interpolation = ParseInterpolation(*text);
    if (!interpolation.ok()) return Bad("interpolation", *text, "bilinear or bicubic");
    spec.interpolation = *interpolation;
  }
  return spec;
}

absl::StatusOr<std::vector<std::string>> BackboneMetadata::ClassNames(int64_t classes) const {
  std::vector<std::string> names;
  if (classes == 0) return names;
  const auto imagenet = static_cast<int64_t>(ImageNetClasses().size());
  const std::string* text = Find(values, "classes");
  if (text == nullptr && classes == imagenet) return ImageNetClasses();
  if (text == nullptr) {
    for (int64_t i = 0; i < classes; ++i) names.push_back(absl::StrCat(i));
    return names;
  }
  if (*text == "imagenet_1000" && classes == imagenet) return ImageNetClasses();
  const auto json = nlohmann::json::parse(*text, nullptr, /*allow_exceptions=*/false);
  const bool sound = json.is_array() && static_cast<int64_t>(json.size()) == classes &&
                     std::all_of(json.begin(), json.end(), [](const nlohmann::json& name) {
                       return name.is_string() && name.get_ref<const std::string&>().size() <= kMaxClassNameBytes;
                     });
  if (!sound) {
    const std::string got = json.is_array() ? absl::StrCat("an array of ", json.size()) : "another text";
    return absl::InvalidArgumentError(
        absl::StrCat("metadata classes: got ", got, ", want imagenet_1000 where its classifier has as many, or a JSON "
                     "array of ", classes, " texts of at most ", kMaxClassNameBytes, " bytes"));
  }
  for (const auto& name : json) names.push_back(name.get<std::string>());
  return names;
}

}  // namespace graft

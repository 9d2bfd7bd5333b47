#include "worker/backbone/architecture.h"

#include "absl/strings/str_cat.h"
#include "worker/backbone/families.h"

namespace graft {
namespace {

// A family is one file, its declaration in families.h, and one line here.
const std::map<std::string, Architecture>& Registry() {
  static const auto* const registry = [] {
    auto* map = new std::map<std::string, Architecture>;
    for (const auto& family : {
             SmallConvnet(),
             Vgg(),
             ResNet(),
             InceptionV3(),
             Xception(),
             MobileNetV1(),
             MobileNetV2(),
             MobileNetV3(),
             DenseNet(),
             EfficientNet(),
             ConvNeXt(),
             VisionTransformer(),
         }) {
      for (const Architecture& a : family) map->emplace(a.name, a);
    }
    return map;
  }();
  return *registry;
}

}  // namespace

bool InputRule::Allows(int side_px) const {
  return side_px >= min_px && side_px % multiple_px == 0 && side_px <= max_px;
}

absl::Status InputRule::Check(absl::string_view field, int side_px) const {
  if (Allows(side_px)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(field, ": got ", side_px, ", want ", Describe()));
}

std::string InputRule::Describe() const {
  if (min_px == max_px) return absl::StrCat(min_px, " px");
  const std::string range = absl::StrCat("from ", min_px, " px to ", max_px, " px");
  return multiple_px == 1 ? range : absl::StrCat("multiples of ", multiple_px, " px, ", range);
}

std::vector<std::string> Architecture::stage_names() const {
  std::vector<std::string> names;
  for (const StageInfo& stage : stages) names.push_back(stage.name);
  return names;
}

const Architecture* FindArchitecture(const std::string& name) {
  const auto it = Registry().find(name);
  return it == Registry().end() ? nullptr : &it->second;
}

std::vector<std::string> ArchitectureNames() {
  std::vector<std::string> names;
  for (const auto& [name, unused] : Registry()) names.push_back(name);
  return names;
}

}  // namespace graft

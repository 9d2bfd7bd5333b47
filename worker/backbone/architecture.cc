#include "worker/backbone/architecture.h"

#include "worker/backbone/mobilenet_v2.h"
#include "worker/backbone/mobilenet_v3.h"

namespace graft {
namespace {

// An architecture is one file and one line here.
const std::map<std::string, Architecture>& Registry() {
  static const auto* const registry = [] {
    auto* map = new std::map<std::string, Architecture>;
    for (const Architecture& a : {MobileNetV2(), MobileNetV3Small()}) map->emplace(a.name, a);
    return map;
  }();
  return *registry;
}

}  // namespace

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

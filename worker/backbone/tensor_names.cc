#include "worker/backbone/tensor_names.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace graft {
namespace {

std::string OurName(const std::string& name, const std::map<std::string, std::string>& aliases) {
  const auto whole = aliases.find(name);
  if (whole != aliases.end()) return whole->second;
  const size_t dot = name.rfind('.');
  if (dot == std::string::npos) return name;
  const auto layer = aliases.find(name.substr(0, dot));
  return layer == aliases.end() ? name : layer->second + name.substr(dot);
}

bool Ignored(const std::string& name, const Architecture& architecture) {
  return absl::EndsWith(name, "num_batches_tracked") ||
         std::any_of(architecture.ignored.begin(), architecture.ignored.end(),
                     [&](const std::string& prefix) { return absl::StartsWith(name, prefix); });
}

}  // namespace

std::string FullName(const std::string& prefix, const std::string& name) {
  return prefix.empty() ? name : absl::StrCat(prefix, ".", name);
}

absl::StatusOr<TensorNames> OurNames(const std::map<std::string, at::Tensor>& file, const Architecture& architecture) {
  TensorNames names;
  for (const auto& [name, tensor] : file) {
    if (Ignored(name, architecture)) continue;
    const std::string ours = OurName(name, architecture.aliases);
    names.used_aliases |= ours != name;
    const auto [it, is_new] = names.by_name.emplace(ours, NamedTensor{name, tensor});
    if (!is_new) {
      return absl::InvalidArgumentError(absl::StrCat("weights do not fit ", architecture.name, ":\n", name, " and ",
                                                     it->second.file_name, ": both are ", ours));
    }
  }
  if (architecture.output_layer.empty()) return names;
  const auto bias = names.by_name.find(architecture.output_layer + ".bias");
  if (bias != names.by_name.end() && bias->second.tensor.dim() == 1) names.classes = bias->second.tensor.size(0);
  return names;
}

}  // namespace graft

#include "server/models/backbone_directory.h"

#include <filesystem>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "worker/backbone/architecture.h"

namespace graft {
namespace {

std::string FileOf(const std::string& directory, const std::string& name) {
  return absl::StrCat(directory, "/", name, ".safetensors");
}

bool Installed(const std::string& directory, const std::string& name) {
  std::error_code ignored;
  return std::filesystem::exists(FileOf(directory, name), ignored);
}

absl::Status NotInstalled(const std::string& directory, const std::string& name) {
  std::vector<std::string> installed;
  for (const std::string& other : ArchitectureNames()) {
    if (Installed(directory, other)) installed.push_back(other);
  }
  const std::string want = installed.empty() ? "its weights in the server's backbone directory, which has none"
                                             : absl::StrCat("an installed one: ", absl::StrJoin(installed, ", "));
  return absl::NotFoundError(absl::StrCat("backbone: got \"", name, "\", want ", want));
}

absl::StatusOr<std::shared_ptr<const Backbone>> LoadFile(const std::string& directory, const std::string& name,
                                                          const std::string& device) {
  absl::StatusOr<std::shared_ptr<const Backbone>> backbone = Backbone::Load(FileOf(directory, name), name, device);
  if (!backbone.ok()) {
    return absl::FailedPreconditionError(absl::StrCat("backbone ", name, ": its file cannot be used: ",
                                                      backbone.status().message()));
  }
  if ((*backbone)->name() != name) {
    return absl::FailedPreconditionError(
        absl::StrCat("backbone ", name, ": its file cannot be used: it holds ", (*backbone)->name()));
  }
  return backbone;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Backbone>> BackboneDirectory::Get(const std::string& name) {
  if (FindArchitecture(name) == nullptr) {  // so `name` is no path either
    return absl::NotFoundError(
        absl::StrCat("backbone: got \"", name, "\", want one of ", absl::StrJoin(ArchitectureNames(), ", ")));
  }
  MutexLock lock(&mu_);
  const auto found = loaded_.find(name);
  if (found != loaded_.end()) return found->second;
  if (!Installed(directory_, name)) return NotInstalled(directory_, name);
  absl::StatusOr<std::shared_ptr<const Backbone>> backbone = LoadFile(directory_, name, device_);
  if (backbone.ok()) loaded_[name] = *backbone;
  return backbone;
}

std::vector<BackboneDirectory::Listing> BackboneDirectory::List() {
  std::vector<Listing> listings;
  for (const std::string& name : ArchitectureNames()) {
    Listing listing;
    listing.name = name;
    absl::StatusOr<std::shared_ptr<const Backbone>> backbone = Get(name);
    if (backbone.ok()) {
      listing.backbone = *std::move(backbone);
    } else if (!absl::IsNotFound(backbone.status())) {
      listing.problem = std::string(backbone.status().message());
    }
    listings.push_back(std::move(listing));
  }
  return listings;
}

}  // namespace graft

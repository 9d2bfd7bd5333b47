#include "server/models/backbone_directory.h"

#include <array>
#include <filesystem>
#include <fstream>
#include <set>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "server/ingest/names.h"
#include "worker/backbone/architecture.h"
#include "worker/base/status.h"

namespace graft {
namespace {

namespace fs = std::filesystem;

constexpr char kScript[] = ".pt", kManifest[] = ".json";
constexpr std::array<const char*, 3> kKinds = {".safetensors", ".gguf", kScript};  // the first that is there counts
constexpr size_t kMaxManifestBytes = 64 << 10;

// So a name is no path either.
bool IsBackboneName(absl::string_view name) {
  return CheckName("backbone", name).ok() && absl::ascii_islower(name[0]);
}

struct File {
  std::string path, kind;
};

std::optional<File> FileOf(const std::string& directory, const std::string& name) {
  if (!IsBackboneName(name)) return std::nullopt;
  for (const char* kind : kKinds) {
    std::string path = absl::StrCat(directory, "/", name, kind);
    std::error_code ignored;
    if (fs::is_regular_file(path, ignored)) return File{std::move(path), kind};
  }
  return std::nullopt;
}

// Differs when the file does.
std::string StampOf(const File& file) {
  std::error_code ignored;
  std::string stamp = file.path;
  for (const std::string& path : {file.path, absl::StrCat(absl::StripSuffix(file.path, kScript), kManifest)}) {
    absl::StrAppend(&stamp, " ", fs::file_size(path, ignored), " ",
                    fs::last_write_time(path, ignored).time_since_epoch().count());
  }
  return stamp;
}

void Describe(const Backbone& backbone, BackboneDirectory::Listing* out) {
  out->architecture = backbone.architecture();
  out->digest = backbone.digest();
  out->source = backbone.source();
  out->preprocessing = backbone.preprocessing();
  out->class_count = static_cast<int64_t>(backbone.class_names().size());
  for (int i = 0; i < backbone.num_stages(); ++i) out->stage_parameters.push_back(backbone.parameter_count(i, i + 1));
}

// Names that have a file, sound or not.
std::set<std::string> InstalledNames(const std::string& directory) {
  std::set<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(directory, error), end; !error && entry != end; entry.increment(error)) {
    const std::string file = entry->path().filename().string();
    for (const char* kind : kKinds) {
      absl::string_view name = file;
      if (absl::ConsumeSuffix(&name, kind) && FileOf(directory, std::string(name))) names.emplace(name);
    }
  }
  return names;
}

bool NeedsNoFile(const std::string& name) {
  const Architecture* const architecture = FindArchitecture(name);
  return architecture != nullptr && !architecture->has_pretrained_weights;
}

absl::StatusOr<std::string> ReadManifest(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::string text(kMaxManifestBytes + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(in.gcount()));
  if (text.empty()) return absl::FailedPreconditionError("it needs a manifest of the same name, .json, beside it");
  if (text.size() > kMaxManifestBytes) {
    return absl::FailedPreconditionError(absl::StrCat("its manifest: want at most ", kMaxManifestBytes, " bytes"));
  }
  return text;
}

absl::StatusOr<std::shared_ptr<const Backbone>> LoadScript(const File& file, const std::string& name,
                                                           const std::string& device) {
  if (FindArchitecture(name) != nullptr) {
    return absl::FailedPreconditionError("it is TorchScript: want a name that is no architecture's");
  }
  const absl::string_view stem = absl::StripSuffix(file.path, kScript);
  ASSIGN_OR_RETURN(const std::string manifest, ReadManifest(absl::StrCat(stem, kManifest)));
  return Backbone::LoadScript(file.path, manifest, name, device);
}

absl::StatusOr<std::shared_ptr<const Backbone>> LoadWeights(const File& file, const std::string& name,
                                                            const std::string& device) {
  ASSIGN_OR_RETURN(std::shared_ptr<const Backbone> backbone, Backbone::Load(file.path, name, device));
  const std::string& architecture = backbone->architecture().name;
  if (FindArchitecture(name) == nullptr || architecture == name) return backbone;
  return absl::FailedPreconditionError(absl::StrCat("it holds ", architecture, ": want a file name that says so"));
}

absl::StatusOr<std::shared_ptr<const Backbone>> LoadFile(const File& file, const std::string& name,
                                                         const std::string& device) {
  absl::StatusOr<std::shared_ptr<const Backbone>> backbone =
      file.kind == kScript ? LoadScript(file, name, device) : LoadWeights(file, name, device);
  if (backbone.ok() || absl::IsResourceExhausted(backbone.status())) return backbone;
  return absl::FailedPreconditionError(
      absl::StrCat("backbone ", name, ": its file cannot be used: ", backbone.status().message()));
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Backbone>> BackboneDirectory::Get(const std::string& name) {
  return Find(name, /*keep=*/true);
}

absl::StatusOr<std::shared_ptr<const Backbone>> BackboneDirectory::Peek(const std::string& name) {
  return Find(name, /*keep=*/false);
}

absl::StatusOr<std::shared_ptr<const Backbone>> BackboneDirectory::Find(const std::string& name, bool keep) {
  if (std::shared_ptr<const Backbone> loaded = Loaded(name)) return loaded;
  const std::optional<File> file = FileOf(directory_, name);
  if (!file) return NeedsNoFile(name) ? GetUntrained(name) : NotInstalled(name);
  MutexLock one_at_a_time(&loading_);
  if (std::shared_ptr<const Backbone> loaded = Loaded(name)) return loaded;  // by another meanwhile
  absl::StatusOr<std::shared_ptr<const Backbone>> backbone = LoadFile(*file, name, device_);
  if (!backbone.ok() || !keep) return backbone;
  MutexLock lock(&mu_);
  loaded_[name] = *backbone;
  return backbone;
}

absl::StatusOr<std::shared_ptr<const Backbone>> BackboneDirectory::GetUntrained(const std::string& architecture,
                                                                                uint64_t seed) {
  if (FindArchitecture(architecture) == nullptr) {
    return absl::NotFoundError(absl::StrCat("backbone: got \"", Printable(architecture), "\", want an architecture: ",
                                            absl::StrJoin(ArchitectureNames(), ", ")));
  }
  MutexLock one_at_a_time(&building_);
  if (seed != 0) return Backbone::Untrained(architecture, device_, seed);
  std::weak_ptr<const Backbone>& shared = untrained_[architecture];
  if (std::shared_ptr<const Backbone> in_use = shared.lock()) return in_use;
  absl::StatusOr<std::shared_ptr<const Backbone>> backbone = Backbone::Untrained(architecture, device_);
  if (backbone.ok()) shared = *backbone;
  return backbone;
}

std::shared_ptr<const Backbone> BackboneDirectory::Loaded(const std::string& name) {
  MutexLock lock(&mu_);
  const auto found = loaded_.find(name);
  return found == loaded_.end() ? nullptr : found->second;
}

absl::Status BackboneDirectory::NotInstalled(const std::string& name) const {
  std::set<std::string> usable = InstalledNames(directory_);
  for (const std::string& other : ArchitectureNames()) {
    if (NeedsNoFile(other)) usable.insert(other);
  }
  const std::string want = usable.empty() ? "its weights in the server's backbone directory, which has none"
                                          : absl::StrCat("an installed one: ", absl::StrJoin(usable, ", "));
  return absl::NotFoundError(absl::StrCat("backbone: got \"", Printable(name), "\", want ", want));
}

BackboneDirectory::Listing BackboneDirectory::Look(const std::string& name) {
  Listing listing;
  listing.name = name;
  if (const Architecture* const architecture = FindArchitecture(name)) listing.architecture = *architecture;
  if (listing.architecture) listing.preprocessing = listing.architecture->preprocessing;
  const std::optional<File> file = FileOf(directory_, name);
  if (!file && !NeedsNoFile(name)) return listing;
  const std::string stamp = file ? StampOf(*file) : "";
  MutexLock one_at_a_time(&loading_);
  if (const auto seen = listed_.find(name); seen != listed_.end() && seen->second.first == stamp) {
    return seen->second.second;
  }
  absl::StatusOr<std::shared_ptr<const Backbone>> backbone = Loaded(name);
  if (*backbone == nullptr) backbone = file ? LoadFile(*file, name, device_) : GetUntrained(name);
  if (backbone.ok()) {
    listing.installed = file.has_value();
    Describe(**backbone, &listing);
  } else {
    listing.problem = std::string(backbone.status().message());
  }
  if (!absl::IsResourceExhausted(backbone.status())) listed_[name] = {stamp, listing};
  return listing;
}

std::vector<BackboneDirectory::Listing> BackboneDirectory::List() {
  std::set<std::string> names = InstalledNames(directory_);
  for (std::string& name : ArchitectureNames()) names.insert(std::move(name));
  std::vector<Listing> listings;
  for (const std::string& name : names) listings.push_back(Look(name));
  return listings;
}

bool IsUntrained(absl::string_view backbone_digest) { return absl::StartsWith(backbone_digest, Backbone::kUntrained); }

std::optional<std::string> BackboneOf(absl::string_view model_reference) {
  if (!absl::ConsumePrefix(&model_reference, kBackboneModel) || !absl::ConsumePrefix(&model_reference, "/")) {
    return std::nullopt;
  }
  return std::string(model_reference);
}

}  // namespace graft

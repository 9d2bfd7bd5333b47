#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/backbone/backbone.h"
#include "worker/base/mutex.h"

namespace graft {

// The operator's folder of backbones, loaded onto one device. A backbone called NAME (1 to 64 of [a-z0-9._-], a letter
// first) is one of these files, the first that is there:
//   NAME.safetensors, NAME.gguf   weights of the architecture that the file names, else of the one called NAME
//   NAME.pt and NAME.json         a TorchScript network and its manifest, at most 64 KiB; the file's code runs here;
//                                 NAME must be no architecture's
// A file named like an architecture must hold that one. Symbolic links are followed: volumes are mounted with them.
//
// Threads: safe; a backbone is loaded once, on its first Get(), and kept.
class BackboneDirectory {
 public:
  // `device`: where the weights live, "cpu" or "cuda:I".
  explicit BackboneDirectory(std::string directory, std::string device = "cpu")
      : directory_(std::move(directory)), device_(std::move(device)) {}

  // An installed backbone; without a file also an architecture that has no pretrained weights, as GetUntrained().
  //   NotFound            not installed: says what is
  //   FailedPrecondition  its file cannot be used: says why
  absl::StatusOr<std::shared_ptr<const Backbone>> Get(const std::string& name);
  // As Get(), but what is not loaded yet is not kept.
  absl::StatusOr<std::shared_ptr<const Backbone>> Peek(const std::string& name);
  // An architecture with random weights of a seed, whatever is installed. Those of seed 0 are shared while in use.
  //   NotFound  no such architecture: says which there are
  absl::StatusOr<std::shared_ptr<const Backbone>> GetUntrained(const std::string& architecture, uint64_t seed = 0);

  // What is known of a backbone without keeping it.
  struct Listing {
    std::string name;
    bool installed = false;                    // its file is there and sound
    std::string problem;                       // why its file cannot be used
    std::optional<Architecture> architecture;  // nullopt: no architecture's name, and no sound file
    std::string digest, source;                // when installed, or it needs no file
    PreprocessSpec preprocessing;
    int64_t class_count = 0;
    std::vector<int64_t> stage_parameters;
  };
  const std::string& device() const { return device_; }

  // Every architecture and every further name that is installed, by name. A file that is not in use is loaded once to
  // see whether it is sound, one at a time, and not kept; what was seen is, until the file changes.
  std::vector<Listing> List();

 private:
  absl::StatusOr<std::shared_ptr<const Backbone>> Find(const std::string& name, bool keep);
  std::shared_ptr<const Backbone> Loaded(const std::string& name);
  Listing Look(const std::string& name);
  absl::Status NotInstalled(const std::string& name) const;

  const std::string directory_, device_;
  Mutex loading_;  // held while loading: one at a time, and those that are loaded do not wait for it
  std::map<std::string, std::pair<std::string, Listing>> listed_ ABSL_GUARDED_BY(loading_);  // name -> file, what it is
  Mutex mu_;
  std::map<std::string, std::shared_ptr<const Backbone>> loaded_ ABSL_GUARDED_BY(mu_);
  Mutex building_;  // held while making random weights: one at a time, maybe under loading_
  std::map<std::string, std::weak_ptr<const Backbone>> untrained_ ABSL_GUARDED_BY(building_);
};

// Whether a digest is Untrained()'s: of random weights, which need no file.
bool IsUntrained(absl::string_view backbone_digest);

// A model's name that no trained model may have: "backbone/NAME" as a model reference means the backbone itself.
constexpr char kBackboneModel[] = "backbone";
// NAME of "backbone/NAME"; nullopt for every other model reference.
std::optional<std::string> BackboneOf(absl::string_view model_reference);

}  // namespace graft

#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/backbone/backbone.h"
#include "worker/base/mutex.h"

namespace graft {

// The operator's folder of pretrained weights (NAME.safetensors, NAME an architecture), loaded onto one device.
//
// Threads: safe; a backbone is loaded once, on first use, and kept.
class BackboneDirectory {
 public:
  // `device`: where the weights live, "cpu" or "cuda:I".
  explicit BackboneDirectory(std::string directory, std::string device = "cpu")
      : directory_(std::move(directory)), device_(std::move(device)) {}

  //   NotFound            not an architecture, or its weights are not installed: says which and what there is
  //   FailedPrecondition  the installed file cannot be used: says why
  absl::StatusOr<std::shared_ptr<const Backbone>> Get(const std::string& name);

  struct Listing {
    std::string name;
    std::shared_ptr<const Backbone> backbone;  // nullptr: not installed, or `problem`
    std::string problem;
  };
  // Every architecture, by name. Loads what is installed.
  std::vector<Listing> List();

 private:
  const std::string directory_, device_;
  Mutex mu_;  // held while loading: rare, and two loads of one file would only waste memory
  std::map<std::string, std::shared_ptr<const Backbone>> loaded_ ABSL_GUARDED_BY(mu_);
};

}  // namespace graft

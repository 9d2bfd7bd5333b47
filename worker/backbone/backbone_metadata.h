#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/backbone/architecture.h"
#include "worker/image/preprocess.h"

namespace graft {

// What a weights file says of itself beside its tensors. Everything is optional; see Backbone::Load().
struct BackboneMetadata {
  std::string architecture, source;
  bool tensorflow_same_padding = false;
  std::optional<double> norm_epsilon;         // nullopt: the file does not say
  std::map<std::string, std::string> values;  // as in the file

  // `spec` with what the file says of preprocessing.
  //   InvalidArgument  a value that is not of its form: names it
  absl::StatusOr<PreprocessSpec> Over(PreprocessSpec spec) const;
  // Of the file's classifier. "imagenet_1000", or nothing for 1000 classes: ImageNet's; nothing for others: "0", "1"
  // ...
  //   InvalidArgument  not a JSON array of `classes` texts
  absl::StatusOr<std::vector<std::string>> ClassNames(int64_t classes) const;
};

//   InvalidArgument  a value that is not of its form: names it
absl::StatusOr<BackboneMetadata> ParseBackboneMetadata(const std::map<std::string, std::string>& values);

}  // namespace graft

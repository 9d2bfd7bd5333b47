#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace graft {

struct Example {
  std::string id;  // what ImageReader takes: the digest of the encoded picture
  int label = 0;   // index into class_names
  std::string name;  // of the file, for people
};

inline std::vector<int> LabelsOf(const std::vector<Example>& examples) {
  std::vector<int> labels;
  labels.reserve(examples.size());
  for (const Example& example : examples) labels.push_back(example.label);
  return labels;
}

// Returns the encoded bytes of a picture. Threads: called from several at once.
using ImageReader = std::function<absl::StatusOr<std::string>(const std::string& id)>;

// The pictures of a job. `test` may be empty.
struct Dataset {
  std::vector<std::string> class_names;
  std::vector<Example> train, validation, test;
  ImageReader read;
};

}  // namespace graft

#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace graft {

struct Example {
  std::string id;     // what ImageReader takes: the digest of the encoded picture
  int label = 0;      // index into class_names; of a multi-label dataset -1
  std::string name;   // of the file, for people
  std::vector<int> labels;  // of a multi-label dataset: ascending, may be empty
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
  bool multi_label = false;  // each picture has any number of classes
};

}  // namespace graft

#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace graft {

// One value of a YAML document and where it stands in it.
struct YamlNode {
  enum class Kind { kNothing, kScalar, kMapping, kSequence };

  Kind kind = Kind::kNothing;
  int line = 0;                    // from 1
  bool quoted = false;             // of a scalar
  std::string text;                // of a scalar
  std::vector<YamlNode> children;  // of a sequence; of a mapping: key, value, key, value, ...
};

// Reads the one document of a YAML 1.2 text, of which JSON is a part. `name` begins every message: "NAME:LINE: ...".
// Anchors and aliases are refused, since a few lines of them can stand for gigabytes; tags, since nothing here needs them.
//   InvalidArgument   not YAML; no document, or a second; an anchor, an alias, a tag; collections nested deeper than 16
absl::StatusOr<YamlNode> ParseYaml(const std::string& text, const std::string& name);

}  // namespace graft

#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "graft/v1/job.pb.h"

namespace graft {

// Reads a job's settings from YAML 1.2 (and so from JSON): fields are named as in job.proto, enum values as in
// client/field_text.h. `name` and the line begin each problem, all in one error:
// "NAME:7: optimizer.momentun: got an unknown field, want one of type, momentum, ...". At most 20 are listed.
// As in proto JSON, whole numbers of 64 bits may be in quotes; other numbers, true and false may not.
//   InvalidArgument   what ParseYaml refuses; an unknown field, one that is there twice, one without a value or with a
//                     value that is not of its type or out of its range, or with more than 1000 texts
absl::StatusOr<v1::JobSpec> ParseJobSpec(const std::string& text, const std::string& name);

// ParseJobSpec of a file.
//   NotFound, PermissionDenied, ...   `path` cannot be read
//   InvalidArgument                   it is larger than 1 MiB, too
absl::StatusOr<v1::JobSpec> ReadJobSpec(const std::string& path);

// Sets the field at a path such as "optimizer.momentum"; on an error nothing changes. A list is parted by commas.
//   InvalidArgument   no such field, or `text` is not a value of it
absl::Status SetField(v1::JobSpec* spec, absl::string_view path, absl::string_view text);

}  // namespace graft

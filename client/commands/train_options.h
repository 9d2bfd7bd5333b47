#pragma once

#include <CLI/App.hpp>

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "graft/v1/job.pb.h"

namespace graft {

// What a command line says about a job's settings.
struct SpecOptions {
  using Assignment = std::pair<std::string, std::string>;  // path of the field, its value

  std::string file;                // --spec; empty = none
  std::vector<Assignment> fields;  // from options with a name of their own
  std::vector<Assignment> sets;    // --set

  // The settings: the file's, over them the named options, over all --set.   Errors as of client/job_spec_file.h
  absl::StatusOr<v1::JobSpec> Build() const;
};

// Adds --spec, --set and the named options, whose values are checked while the command line is read. `options` outlives
// the parse.
void AddSpecOptions(CLI::App* app, SpecOptions* options);

}  // namespace graft

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "graft/v1/job.pb.h"
#include "worker/train/recipe.h"

namespace graft {

// Whether a batch of these pictures is small enough; an input_px of 0 says nothing yet.
//   InvalidArgument  names spec.batch_size
absl::Status CheckBatchPixels(const v1::JobSpec& spec);

// `spec` with every default filled in, after checking all of the request that needs no store; `defaults`: which they are.
//   InvalidArgument  every violation, one a line, by proto path: "spec.epochs: got -1, want 1 to 10000"
absl::StatusOr<v1::JobSpec> CheckStartJob(const v1::StartJobRequest& request,
                                           std::vector<DefaultValue>* defaults = nullptr);

// The names that worker/train gives its options in messages, as proto paths, line by line: "epochs: ..." ->
// "spec.epochs: ...".
absl::Status WithSpecPaths(const absl::Status& status);

// The first field, by number, in which the specs differ: "spec.epochs: got 5, want 3"; nullopt when they are equal.
// An empty dataset_version of `got` equals any.
std::optional<std::string> FirstDifference(v1::JobSpec got, const v1::JobSpec& want);

}  // namespace graft

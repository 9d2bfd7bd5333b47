#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "graft/v1/job.pb.h"
#include "server/models/backbone_directory.h"
#include "worker/backbone/backbone.h"
#include "worker/image/preprocess.h"
#include "worker/train/phase.h"

namespace graft {

// What a spec means with the backbones of one device.
struct JobPlan {
  std::shared_ptr<const Backbone> backbone;
  PreprocessSpec preprocessing;
  Recipe recipe;
  std::vector<Phase> phases;
};

// `effective` has every default of CheckStartJob() filled in.
//   InvalidArgument               what the backbone cannot do, one a line, by proto path: "spec.input_px: got 100, ..."
//   NotFound, FailedPrecondition  of the backbone
absl::StatusOr<JobPlan> MakePlan(const v1::JobSpec& effective, BackboneDirectory* backbones);

// The names of the backbones that a spec of STRATEGY_AUTO chooses from, those that compute least first. None is kept
// loaded for it.
// Of those that it does not name, the ones that can do what it asks for.
//   NotFound, FailedPrecondition, InvalidArgument  of one that it names, or when none is left
absl::StatusOr<std::vector<std::string>> AutoBackbones(const v1::JobSpec& spec, BackboneDirectory* backbones);

}  // namespace graft

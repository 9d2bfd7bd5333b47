#include "server/jobs/job_plan.h"

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/jobs/job_spec.h"
#include "worker/base/status.h"

namespace graft {

absl::StatusOr<JobPlan> MakePlan(const v1::JobSpec& effective, BackboneDirectory* backbones) {
  JobPlan plan;
  const bool untrained = effective.strategy() == v1::STRATEGY_SCRATCH;
  ASSIGN_OR_RETURN(plan.backbone, untrained ? backbones->GetUntrained(effective.backbone(), effective.seed())
                                            : backbones->Get(effective.backbone()));
  if (!untrained && IsUntrained(plan.backbone->digest())) {
    return absl::InvalidArgumentError(absl::StrCat("spec.strategy: got ", v1::Strategy_Name(effective.strategy()),
                                                   ", want STRATEGY_SCRATCH: ", effective.backbone(),
                                                   " has no pretrained weights"));
  }
  absl::StatusOr<std::vector<Phase>> phases = MakePhases(ToStrategyOptions(effective), *plan.backbone);
  absl::StatusOr<PreprocessSpec> preprocessing = plan.backbone->PreprocessingFor(effective.input_px());
  if (!phases.ok() || !preprocessing.ok()) {
    const char* const between = phases.ok() || preprocessing.ok() ? "" : "\n";
    return WithSpecPaths(absl::InvalidArgumentError(
        absl::StrCat(phases.status().message(), between, preprocessing.status().message())));
  }
  plan.phases = *std::move(phases);
  plan.preprocessing = *preprocessing;
  return plan;
}

}  // namespace graft

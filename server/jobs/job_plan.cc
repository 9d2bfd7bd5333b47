#include "server/jobs/job_plan.h"

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/jobs/job_spec.h"
#include "server/jobs/recipe_proto.h"
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
  ASSIGN_OR_RETURN(plan.recipe, WithDefaults(ToRecipe(effective)));
  const absl::Status precision = ResolvePrecision(plan.recipe.precision, plan.backbone->device()).status();
  if (!precision.ok()) return WithSpecPaths(precision);
  absl::StatusOr<std::vector<Phase>> phases = MakePhases(plan.recipe, *plan.backbone);
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

namespace {

// What StartJob refuses for any other strategy: AUTO must not find it out after it has chosen.
absl::Status CheckAutoBackbone(const v1::JobSpec& spec, const std::string& name, BackboneDirectory* backbones) {
  ASSIGN_OR_RETURN(const auto backbone, backbones->Get(name));
  const absl::StatusOr<PreprocessSpec> preprocessing = backbone->PreprocessingFor(spec.input_px());
  if (!preprocessing.ok()) return WithSpecPaths(preprocessing.status());
  const Recipe recipe = ToRecipe(spec);
  const absl::Status precision = ResolvePrecision(recipe.precision, backbone->device()).status();
  if (!precision.ok()) return WithSpecPaths(precision);
  v1::JobSpec sized = spec;
  sized.set_input_px(preprocessing->crop_px);
  return CheckBatchPixels(sized);
}

}  // namespace

absl::StatusOr<std::vector<std::string>> AutoBackbones(const v1::JobSpec& spec, BackboneDirectory* backbones) {
  std::vector<std::string> names(spec.auto_().backbones().begin(), spec.auto_().backbones().end());
  if (!spec.backbone().empty()) names.push_back(spec.backbone());
  const bool named = !names.empty();
  if (!named) {
    for (const BackboneDirectory::Listing& each : backbones->List()) {
      if (each.installed && !IsUntrained(each.digest)) names.push_back(each.name);
    }
  }
  std::vector<std::string> usable;
  absl::Status problem = absl::FailedPreconditionError("spec.backbone: no backbone is installed to choose from");
  for (const std::string& name : names) {
    const absl::Status status = CheckAutoBackbone(spec, name, backbones);
    if (status.ok()) usable.push_back(name);
    if (!status.ok() && named) return status;
    if (!status.ok()) problem = status;
  }
  if (usable.empty()) return problem;
  return usable;
}

}  // namespace graft

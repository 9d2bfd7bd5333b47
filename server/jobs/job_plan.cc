#include "server/jobs/job_plan.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
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

using Listing = BackboneDirectory::Listing;

constexpr double kUnknownGflops = 1e9;  // last: nothing says that it computes little

// A spec that leaves only fine-tuning wants a backbone that can be tuned, and has the stage it names.
absl::Status CheckTrainings(Recipe recipe, const Listing& backbone) {
  recipe.strategy = Strategy::kFrozenHead;
  if (WithDefaults(recipe).ok()) return absl::OkStatus();
  if (!backbone.architecture->trainable) {
    return absl::InvalidArgumentError(absl::StrCat("spec: got settings of fine-tuning, want none: backbone ",
                                                   backbone.name, " can only be used frozen"));
  }
  const std::vector<std::string> stages = backbone.architecture->stage_names();
  const std::string& from = recipe.unfreeze_from;
  if (from.empty() || std::find(stages.begin(), stages.end(), from) != stages.end()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("spec.fine_tune.unfreeze_from: got \"", from, "\", want a stage of ",
                                                 backbone.name, ": ", absl::StrJoin(stages, ", ")));
}

// What StartJob refuses for any other strategy: AUTO must not find it out after it has chosen.
absl::Status CheckAutoBackbone(const v1::JobSpec& spec, const Listing& backbone, const at::Device& device) {
  const absl::StatusOr<PreprocessSpec> preprocessing =
      PreprocessingFor(*backbone.architecture, backbone.preprocessing, spec.input_px());
  if (!preprocessing.ok()) return WithSpecPaths(preprocessing.status());
  const Recipe recipe = ToRecipe(spec);
  const absl::Status precision = ResolvePrecision(recipe.precision, device).status();
  if (!precision.ok()) return WithSpecPaths(precision);
  RETURN_IF_ERROR(CheckTrainings(recipe, backbone));
  v1::JobSpec sized = spec;
  sized.set_input_px(preprocessing->crop_px);
  return CheckBatchPixels(sized);
}

}  // namespace

absl::StatusOr<std::vector<std::string>> AutoBackbones(const v1::JobSpec& spec, BackboneDirectory* backbones) {
  std::set<std::string> names(spec.auto_().backbones().begin(), spec.auto_().backbones().end());
  if (!spec.backbone().empty()) names.insert(spec.backbone());
  const bool named = !names.empty();
  std::vector<std::pair<double, std::string>> usable;  // with what they compute
  absl::Status problem = absl::FailedPreconditionError("spec.backbone: no backbone is installed to choose from");
  for (Listing& each : backbones->List()) {
    if (named && names.erase(each.name) == 0) continue;
    if (!each.installed || IsUntrained(each.digest)) {
      if (!named) continue;
      ASSIGN_OR_RETURN(const auto backbone, backbones->Peek(each.name));
      if (IsUntrained(backbone->digest())) {
        return absl::InvalidArgumentError(absl::StrCat("spec.strategy: got STRATEGY_AUTO, want STRATEGY_SCRATCH: ",
                                                       each.name, " has no pretrained weights"));
      }
      each.architecture = backbone->architecture();
      each.preprocessing = backbone->preprocessing();
    }
    const absl::Status status = CheckAutoBackbone(spec, each, backbones->device());
    const double gflops = each.architecture->gflops;  // 0: unknown
    if (status.ok()) usable.emplace_back(gflops > 0 ? gflops : kUnknownGflops, each.name);
    if (!status.ok() && named) return status;
    if (!status.ok()) problem = status;
  }
  for (const std::string& unknown : names) RETURN_IF_ERROR(backbones->Peek(unknown).status());
  if (usable.empty()) return problem;
  std::sort(usable.begin(), usable.end());
  std::vector<std::string> by_cost;
  for (auto& [gflops, name] : usable) by_cost.push_back(std::move(name));
  return by_cost;
}

}  // namespace graft

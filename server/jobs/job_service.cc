#include "server/jobs/job_service.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/jobs/encode.h"
#include "server/jobs/job_plan.h"
#include "server/jobs/job_spec.h"
#include "server/jobs/recipe_proto.h"
#include "worker/base/status.h"

namespace graft {
namespace {

constexpr int kDefaultPageSize = 50;
constexpr int kMaxPageSize = 1000;

// The job that has this request_id already, when it was started with the same spec.
absl::StatusOr<v1::Job> KnownJob(const v1::JobSpec& asked, const JobRecord& record) {
  ASSIGN_OR_RETURN(v1::Job known, ToProto(record));
  const std::optional<std::string> difference = FirstDifference(asked, known.spec());
  if (!difference) return known;
  return absl::AlreadyExistsError(
      absl::StrCat(*difference, " as in job ", known.id(), ", which was started with the same request_id"));
}

//   InvalidArgument  what a dataset of this kind does not allow, by proto path
absl::Status CheckLabelKind(const Recipe& recipe, const DatasetVersion& dataset) {
  const absl::Status status = CheckForLabels(recipe, dataset.multi_label);
  return status.ok() ? status : WithSpecPaths(status);
}

absl::StatusOr<PageRequest> CheckPage(const v1::ListJobsRequest& request) {
  std::vector<std::string> violations;
  for (int i = 0; i < request.states_size(); ++i) {
    if (request.states(i) == v1::JOB_STATE_UNSPECIFIED || !v1::JobState_IsValid(request.states(i))) {
      violations.push_back(
          absl::StrCat("states[", i, "]: got ", static_cast<int>(request.states(i)), ", want a JobState"));
    }
  }
  if (request.page_size() < 0 || request.page_size() > kMaxPageSize) {
    violations.push_back(absl::StrCat("page_size: got ", request.page_size(), ", want 1 to ", kMaxPageSize));
  }
  if (!violations.empty()) return absl::InvalidArgumentError(absl::StrJoin(violations, "\n"));
  return PageRequest{request.page_size() == 0 ? kDefaultPageSize : request.page_size(), request.page_token()};
}

}  // namespace

struct JobService::Planned {
  v1::JobSpec effective;
  DatasetVersion dataset;
  JobPlan plan;
  std::vector<std::string> auto_backbones;  // of STRATEGY_AUTO
};

absl::StatusOr<JobService::Planned> JobService::Plan(v1::JobSpec effective) {
  Planned planned;
  ASSIGN_OR_RETURN(planned.dataset, datasets_->Get(effective.dataset(), effective.dataset_version()));
  if (effective.strategy() == v1::STRATEGY_AUTO) {
    RETURN_IF_ERROR(CheckLabelKind(ToRecipe(effective), planned.dataset));
    ASSIGN_OR_RETURN(planned.auto_backbones, AutoBackbones(effective, backbones_));
    effective.set_dataset_version(planned.dataset.version);
    planned.effective = std::move(effective);
    return planned;
  }
  v1::JobSpec unseeded = effective;  // the plan does not depend on it, and what is planned with 0 is shared
  unseeded.set_seed(0);
  ASSIGN_OR_RETURN(planned.plan, MakePlan(unseeded, backbones_));
  RETURN_IF_ERROR(CheckLabelKind(planned.plan.recipe, planned.dataset));
  effective.set_dataset_version(planned.dataset.version);
  effective.set_input_px(planned.plan.preprocessing.crop_px);
  RETURN_IF_ERROR(CheckBatchPixels(effective));  // again: now with the backbone's own size
  planned.effective = std::move(effective);
  return planned;
}

// What a spec leaves open beside its recipe, and what its augmentation's preset is.
void JobService::AddOwnDefaults(const v1::JobSpec& spec, const Planned& planned, std::vector<DefaultValue>* defaults) {
  const bool chooses = spec.strategy() == v1::STRATEGY_AUTO;
  if (spec.dataset_version().empty()) {
    defaults->push_back({"dataset_version", planned.effective.dataset_version(), "the newest"});
  }
  if (spec.seed() == 0) defaults->push_back({"seed", "0", "the same settings give the same model"});
  if (spec.input_px() == 0) {
    defaults->push_back({"input_px", absl::StrCat(planned.effective.input_px()), "the backbone's own size"});
  }
  if (chooses && spec.auto_().backbones().empty() && spec.backbone().empty()) {
    defaults->push_back({"auto.backbones", absl::StrJoin(planned.auto_backbones, ", "), "all installed that can do it"});
  }
  if (chooses) return;
  for (DefaultValue& value : PresetValues(planned.plan.recipe)) defaults->push_back(std::move(value));
}

absl::StatusOr<v1::JobDescription> JobService::Describe(const v1::StartJobRequest& request) {
  std::vector<DefaultValue> defaults;
  ASSIGN_OR_RETURN(v1::JobSpec effective, CheckStartJob(request, &defaults));
  ASSIGN_OR_RETURN(const Planned planned, Plan(std::move(effective)));
  const JobPlan& plan = planned.plan;
  AddOwnDefaults(request.spec(), planned, &defaults);
  v1::JobDescription description;
  *description.mutable_effective() = planned.effective;
  for (const DefaultValue& each : defaults) {
    v1::DefaultValue* const value = description.add_defaults();
    value->set_field(each.option);
    value->set_value(each.value);
    value->set_source(each.source);
  }
  const auto classes = static_cast<int64_t>(planned.dataset.classes.size());
  for (size_t i = 0; i < plan.phases.size(); ++i) {
    *description.add_phases() =
        ToProto(graft::Describe(plan.phases[i], static_cast<int>(i), *plan.backbone, plan.recipe.head, classes));
  }
  return description;
}

absl::StatusOr<v1::Job> JobService::Start(const v1::StartJobRequest& request) {
  ASSIGN_OR_RETURN(v1::JobSpec effective, CheckStartJob(request));
  // Before the dataset and the backbone: a repeated start finds its job even when they are gone.
  ASSIGN_OR_RETURN(const std::optional<JobRecord> known, jobs_->FindRequest(request.request_id()));
  if (known) return KnownJob(request.spec(), *known);
  ASSIGN_OR_RETURN(const Planned planned, Plan(std::move(effective)));
  v1::JobSpec spec = request.spec();
  spec.set_dataset_version(planned.dataset.version);
  JobRecord job;
  job.request_id = request.request_id();
  job.dataset = planned.dataset.name;
  job.dataset_version = planned.dataset.version;
  job.spec_pb = spec.SerializeAsString();
  job.effective_pb = planned.effective.SerializeAsString();
  ASSIGN_OR_RETURN(const JobStore::Enqueued enqueued, jobs_->Enqueue(job));
  if (enqueued.existed) return KnownJob(request.spec(), enqueued.job);  // by another start at the same time
  return ToProto(enqueued.job);
}

absl::StatusOr<v1::Job> JobService::Get(const std::string& id) {
  ASSIGN_OR_RETURN(const JobRecord record, jobs_->Get(id));
  return ToProto(record);
}

absl::StatusOr<v1::ListJobsResponse> JobService::List(const v1::ListJobsRequest& request) {
  ASSIGN_OR_RETURN(const PageRequest page_request, CheckPage(request));
  std::vector<JobState> states;
  for (const int state : request.states()) states.push_back(static_cast<JobState>(state));
  ASSIGN_OR_RETURN(const Page<JobRecord> page, jobs_->List(states, page_request));
  v1::ListJobsResponse response;
  for (const JobRecord& record : page.items) {
    v1::Job* const job = response.add_jobs();
    ASSIGN_OR_RETURN(*job, ToProto(record));
    if (job->has_evaluation()) DropDetails(job->mutable_evaluation());
  }
  response.set_next_page_token(page.next_token);
  return response;
}

absl::StatusOr<v1::Job> JobService::Cancel(const std::string& id) {
  ASSIGN_OR_RETURN(const JobRecord record, jobs_->Cancel(id));
  return ToProto(record);
}

}  // namespace graft

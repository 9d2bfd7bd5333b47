#include "server/jobs/job_run.h"

#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "google/protobuf/util/json_util.h"
#include "graft/v1/model.pb.h"
#include "server/jobs/encode.h"
#include "server/jobs/job_spec.h"
#include "server/jobs/recipe_proto.h"
#include "server/log.h"
#include "worker/base/status.h"
#include "worker/train/auto_train.h"

namespace graft {
namespace {

constexpr int kMostAttemptsToStore = 3;

// What the job's owner reads; our own faults are explained in the log only.
std::string PublicError(const absl::Status& status) {
  if (absl::IsInternal(status) || absl::IsUnknown(status)) return "internal error; the server's log says more";
  return std::string(status.message());
}

std::vector<Example>& SplitOf(Split split, Dataset* dataset) {
  if (split == Split::kTest) return dataset->test;
  return split == Split::kValidation ? dataset->validation : dataset->train;
}

ImageReader ReadFrom(const BlobStore* blobs) {
  return [blobs](const std::string& digest) -> absl::StatusOr<std::string> {
    absl::StatusOr<std::string> bytes = blobs->Get(digest);
    if (absl::IsNotFound(bytes.status())) {
      return absl::DataLossError(absl::StrCat("picture ", digest, " of the dataset is no longer stored"));
    }
    return bytes;
  };
}

std::string ToJson(const v1::JobSpec& spec, bool indented = false) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.add_whitespace = indented;
  std::string json;
  GRAFT_CHECK(google::protobuf::util::MessageToJsonString(spec, &json, options).ok());
  return json;
}

}  // namespace

JobRun::JobRun(JobRecord job, Context context, CancelToken cancel)
    : job_(std::move(job)), context_(std::move(context)), cancel_(cancel),
      observer_(job_.id, context_.owner, context_.jobs, context_.states, context_.metrics,
                absl::StrCat(context_.tensorboard_directory, "/", job_.id), cancel) {}

void JobRun::Run() {
  LogInfo("job starts", {{"job", job_.id}, {"attempt", absl::StrCat(job_.attempt)}, {"dataset", job_.dataset}});
  absl::StatusOr<TrainResult> result = TrainModel();
  absl::Status ended = result.ok() ? Succeed(*result) : Stopped(result.status());
  if (!ended.ok() && result.ok() && !absl::IsFailedPrecondition(ended) && !ComesAgain(ended)) ended = Stopped(ended);
  // The lease then expires, and the job runs again, from its last state.
  if (!ended.ok()) LogError("job's end not stored", {{"job", job_.id}, {"error", ended.ToString()}});
}

// A full disk, say, must not cost a training that is done.
bool JobRun::ComesAgain(const absl::Status& not_stored) {
  const bool may_pass = absl::IsResourceExhausted(not_stored) || absl::IsInternal(not_stored);
  if (!may_pass || job_.attempt - job_.released >= kMostAttemptsToStore) return false;
  const absl::Status told = observer_.OnWarning(
      absl::StrCat("the result could not be stored, and will be tried again: ", PublicError(not_stored)));
  if (!told.ok()) LogWarning("warning not stored", {{"job", job_.id}, {"error", told.ToString()}});
  return true;
}

absl::Status JobRun::Prepare() {
  if (!effective_.ParseFromString(job_.effective_pb)) return absl::DataLossError("the job's stored spec is damaged");
  ASSIGN_OR_RETURN(version_, context_.datasets->Get(job_.dataset, job_.dataset_version));
  return cancel_.status();
}

TrainOptions JobRun::BaseOptions() const {
  TrainOptions options;
  options.seed = effective_.seed();
  options.activation_cache_bytes = context_.activation_cache_bytes;
  options.activation_store = context_.activations;
  options.image_limits = context_.image_limits;
  return options;
}

absl::Status JobRun::Choose(const Dataset& dataset) {
  AutoOptions options;
  ASSIGN_OR_RETURN(options.backbones, AutoBackbones(effective_, context_.backbones));
  options.load = [this](const std::string& name) { return context_.backbones->Peek(name); };
  options.input_px = effective_.input_px();
  options.recipe = ToRecipe(effective_);
  options.budget_seconds = effective_.auto_().budget_seconds();
  options.train = BaseOptions();
  ASSIGN_OR_RETURN(const AutoChoice choice, ChooseTraining(options, dataset, context_.pool, &observer_, cancel_));
  effective_.set_strategy(static_cast<v1::Strategy>(static_cast<int>(choice.recipe.strategy) + 1));
  effective_.set_backbone(choice.backbone->name());
  effective_.clear_auto_();
  SetOptions(choice.recipe, &effective_);
  ASSIGN_OR_RETURN(const JobPlan plan, MakePlan(effective_, context_.backbones));
  effective_.set_input_px(plan.preprocessing.crop_px);
  RETURN_IF_ERROR(CheckBatchPixels(effective_));
  const v1::AutoReport report = ToProto(choice.report);
  JobUpdate update;
  update.effective_pb = effective_.SerializeAsString();
  update.auto_pb = report.SerializeAsString();
  update.event_pbs.push_back(EncodeEvent(report));
  RETURN_IF_ERROR(context_.jobs->Update(job_.id, context_.owner, update));
  observer_.WriteText("auto", absl::StrJoin(report.reasons(), "\n\n"));
  return absl::OkStatus();
}

absl::StatusOr<Dataset> JobRun::LoadDataset() const {
  Dataset dataset;
  dataset.multi_label = version_.multi_label;
  for (const ClassCount& label : version_.classes) dataset.class_names.push_back(label.name);
  ASSIGN_OR_RETURN(const std::vector<DatasetItem> items, context_.datasets->Items(version_.name, version_.version));
  for (const DatasetItem& item : items) {
    Example example;
    example.id = item.image_digest;
    example.name = item.file_name;
    if (version_.multi_label) {
      example.label = -1;
      example.labels = item.labels;
    } else {
      example.label = item.labels[0];
    }
    SplitOf(item.split, &dataset).push_back(std::move(example));
  }
  dataset.read = ReadFrom(context_.blobs);
  return dataset;
}

absl::StatusOr<TrainResult> JobRun::TrainModel() {
  RETURN_IF_ERROR(Prepare());
  ASSIGN_OR_RETURN(const Dataset dataset, LoadDataset());
  if (effective_.strategy() == v1::STRATEGY_AUTO) RETURN_IF_ERROR(Choose(dataset));
  ASSIGN_OR_RETURN(plan_, MakePlan(effective_, context_.backbones));
  TrainOptions options = BaseOptions();
  options.backbone = plan_.backbone;
  options.preprocessing = plan_.preprocessing;
  options.phases = plan_.phases;
  SetFrom(plan_.recipe, &options);
  options.training_config = ToJson(effective_);
  observer_.WriteText("configuration", absl::StrCat("```\n", ToJson(effective_, /*indented=*/true), "\n```\n"));
  ASSIGN_OR_RETURN(options.resume_state, context_.states->Read(job_.id));
  absl::StatusOr<TrainResult> result = Train(options, dataset, context_.pool, &observer_, cancel_);
  const bool bad_state = absl::IsFailedPrecondition(result.status());
  if (!bad_state || options.resume_state.empty() || cancel_.stopped()) return result;
  // Written by another version of this program, say: the job need not fail for it.
  RETURN_IF_ERROR(observer_.OnWarning(
      absl::StrCat("training starts again from its first epoch: ", result.status().message())));
  context_.states->Remove(job_.id);
  options.resume_state.clear();
  return Train(options, dataset, context_.pool, &observer_, cancel_);
}

absl::Status JobRun::Succeed(const TrainResult& result) {
  const v1::Evaluation evaluation = ToProto(result.assessment);
  observer_.WriteEvaluation(result.assessment);
  JobUpdate update;
  update.evaluation_pb = evaluation.SerializeAsString();
  update.event_pbs.push_back(EncodeEvent(evaluation));
  std::vector<ModelVersionRecord> models;
  if (!effective_.model().empty()) {
    ASSIGN_OR_RETURN(models, StoreModels(result, evaluation));
  }
  ASSIGN_OR_RETURN(const JobRecord finished, context_.jobs->Finish(job_.id, context_.owner, JobState::kSucceeded, "",
                                                                   update, models));
  context_.states->Remove(job_.id);
  LogInfo("job succeeded", {{"job", job_.id},
                            {"accuracy", absl::StrCat(result.assessment.evaluation.accuracy)},
                            {"model", finished.model_version}});
  return absl::OkStatus();
}

absl::StatusOr<std::vector<ModelVersionRecord>> JobRun::StoreModels(const TrainResult& result,
                                                                    const v1::Evaluation& evaluation) const {
  std::vector<ModelVersionRecord> models;
  if (!result.last_checkpoint.empty()) {
    ASSIGN_OR_RETURN(ModelVersionRecord last,
                     StoreModel(result.last_checkpoint, result.split_point, ToProto(result.last_assessment)));
    last.checkpoint = CheckpointKind::kLast;
    models.push_back(std::move(last));
  }
  ASSIGN_OR_RETURN(ModelVersionRecord best, StoreModel(result.checkpoint, result.split_point, evaluation));
  if (!models.empty()) best.checkpoint = CheckpointKind::kBest;
  models.push_back(std::move(best));
  return models;
}

absl::StatusOr<ModelVersionRecord> JobRun::StoreModel(const std::string& checkpoint, int split_point,
                                                      const v1::Evaluation& evaluation) const {
  ASSIGN_OR_RETURN(const BlobStore::PutResult stored, context_.blobs->Put(checkpoint));
  v1::ModelVersion details;
  for (const ClassCount& label : version_.classes) details.add_classes(label.name);
  details.set_multi_label(version_.multi_label);
  *details.mutable_preprocessing() = ToProto(plan_.preprocessing);
  ModelVersionRecord model;
  model.model = effective_.model();
  model.job_id = job_.id;
  model.backbone = plan_.backbone->name();
  model.backbone_digest = plan_.backbone->digest();
  model.split_point = split_point;
  model.checkpoint_digest = stored.digest;
  model.checkpoint_bytes = static_cast<int64_t>(checkpoint.size());
  model.dataset = version_.name;
  model.dataset_version = version_.version;
  model.evaluation_pb = evaluation.SerializeAsString();
  model.details_pb = details.SerializeAsString();
  return model;
}

absl::Status JobRun::Stopped(const absl::Status& why) {
  const StopReason reason = cancel_.reason();
  if (reason == StopReason::kLeaseLost) {
    LogWarning("job's lease lost", {{"job", job_.id}});
    return absl::OkStatus();
  }
  if (reason == StopReason::kDrain && absl::IsCancelled(why)) {
    LogInfo("job put back", {{"job", job_.id}, {"reason", "drain"}});
    return context_.jobs->Release(job_.id, context_.owner, "drain");
  }
  const bool cancelled = reason == StopReason::kCancelled && absl::IsCancelled(why);
  if (cancelled) {
    LogInfo("job cancelled", {{"job", job_.id}});
  } else {
    LogError("job failed", {{"job", job_.id}, {"error", why.ToString()}});
  }
  const JobState state = cancelled ? JobState::kCancelled : JobState::kFailed;
  const std::string error = cancelled ? "" : PublicError(why);
  RETURN_IF_ERROR(context_.jobs->Finish(job_.id, context_.owner, state, error, {}, {}).status());
  context_.states->Remove(job_.id);
  return absl::OkStatus();
}

}  // namespace graft

#include "server/rpc/convert.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "server/ingest/names.h"
#include "server/jobs/encode.h"
#include "worker/backbone/architecture.h"
#include "worker/backbone/backbone.h"
#include "worker/base/status.h"
#include "worker/infer/predictor.h"

namespace graft {
namespace {

// What is so whatever the weights.
void Describe(const Architecture& architecture, v1::Backbone* out) {
  out->set_architecture(architecture.name);
  out->set_paper(architecture.paper);
  for (const StageInfo& stage : architecture.stages) out->add_stages(stage.name);
  out->set_published_parameter_count(architecture.parameter_count);
  out->set_feature_width(static_cast<int32_t>(architecture.feature_width));
  out->set_gflops(architecture.gflops);
  out->set_dropout(architecture.dropout);
  out->set_min_input_px(architecture.input.min_px);
  out->set_input_multiple_px(architecture.input.multiple_px);
  out->set_max_input_px(architecture.input.max_px);
  out->set_trainable(architecture.trainable);
}

}  // namespace

v1::Dataset ToProto(const DatasetVersion& version) {
  v1::Dataset dataset;
  dataset.set_name(version.name);
  dataset.set_version(version.version);
  *dataset.mutable_create_time() = ToTimestamp(version.create_time);
  dataset.set_image_count(version.image_count);
  dataset.set_bytes(version.bytes);
  for (const ClassCount& count : version.classes) {
    v1::ClassCount* const out = dataset.add_classes();
    out->set_name(count.name);
    out->set_train_count(count.train);
    out->set_validation_count(count.validation);
    out->set_test_count(count.test);
  }
  dataset.set_split_by_server(version.split_by_server);
  dataset.set_multi_label(version.multi_label);
  dataset.set_train_count(version.images.train);
  dataset.set_validation_count(version.images.validation);
  dataset.set_test_count(version.images.test);
  return dataset;
}

v1::UploadDatasetResponse ToProto(const IngestResult& result) {
  v1::UploadDatasetResponse response;
  *response.mutable_dataset() = ToProto(result.version);
  for (const RejectedImage& rejected : result.rejected) {
    v1::RejectedImage* const out = response.add_rejected();
    out->set_file_name(rejected.file_name);
    out->set_reason(rejected.reason);
  }
  response.set_rejected_count(result.rejected_count);
  response.set_duplicate_count(result.duplicate_count);
  return response;
}

v1::ImageVerdict ToProto(const DatasetBuilder::Verdict& verdict, int64_t index) {
  v1::ImageVerdict out;
  out.set_index(index);
  out.set_accepted(verdict.accepted);
  out.set_reason(verdict.reason);
  out.set_image_digest(verdict.image_digest);
  out.set_duplicate(verdict.duplicate);
  return out;
}

v1::SystemLimits ToProto(const Limits& limits) {
  v1::SystemLimits out;
  out.set_max_image_bytes(limits.ingest.image.max_bytes);
  out.set_max_image_pixels(limits.ingest.image.max_pixels);
  out.set_max_images_per_request(limits.max_images_per_request);
  out.set_max_request_bytes(limits.max_request_bytes);
  out.set_max_chunk_bytes(limits.max_chunk_bytes);
  out.set_max_dataset_images(limits.ingest.max_images);
  out.set_max_dataset_bytes(limits.ingest.max_total_bytes);
  out.set_max_classes(limits.ingest.max_classes);
  out.set_max_queued_jobs(limits.max_queued_jobs);
  return out;
}

static_assert(static_cast<int>(CheckpointKind::kOnly) == v1::CHECKPOINT_KIND_UNSPECIFIED);
static_assert(static_cast<int>(CheckpointKind::kBest) == v1::CHECKPOINT_KIND_BEST);
static_assert(static_cast<int>(CheckpointKind::kLast) == v1::CHECKPOINT_KIND_LAST);

absl::StatusOr<v1::ModelVersion> ToProto(const ModelVersionRecord& record) {
  const std::string name = absl::StrCat(record.model, "/", record.version);
  v1::ModelVersion out;
  if (!out.ParseFromString(record.details_pb))
    return absl::DataLossError(absl::StrCat("model ", name, ": its stored details cannot be read"));
  // Version 0.1 stored none: all were bilinear.
  if (out.has_preprocessing() && out.preprocessing().interpolation() == v1::INTERPOLATION_UNSPECIFIED)
    out.mutable_preprocessing()->set_interpolation(v1::INTERPOLATION_BILINEAR);
  if (!record.evaluation_pb.empty() && !out.mutable_evaluation()->ParseFromString(record.evaluation_pb))
    return absl::DataLossError(absl::StrCat("model ", name, ": its stored evaluation cannot be read"));
  out.set_version(record.version);
  *out.mutable_create_time() = ToTimestamp(record.create_time);
  out.set_job_id(record.job_id);
  out.set_checkpoint(static_cast<v1::CheckpointKind>(record.checkpoint));
  out.set_backbone(record.backbone);
  out.set_backbone_digest(record.backbone_digest);
  out.set_split_point(record.split_point);
  out.set_checkpoint_bytes(record.checkpoint_bytes);
  out.set_dataset(record.dataset);
  out.set_dataset_version(record.dataset_version);
  return out;
}

absl::StatusOr<v1::Model> ToProto(const ModelRecord& record) {
  v1::Model model;
  model.set_name(record.name);
  for (const ModelVersionRecord& version : record.versions) {
    ASSIGN_OR_RETURN(*model.add_versions(), ToProto(version));
  }
  for (const auto& [alias, version] : record.aliases) (*model.mutable_aliases())[alias] = version;
  return model;
}

v1::Model ToProto(const Predictor& of_backbone) {
  const Backbone& backbone = of_backbone.backbone();
  v1::Model model;
  model.set_name(absl::StrCat(kBackboneModel, "/", backbone.name()));
  v1::ModelVersion* const version = model.add_versions();
  version->set_backbone(backbone.name());
  version->set_backbone_digest(backbone.digest());
  version->set_split_point(of_backbone.split_point());
  for (const std::string& name : of_backbone.class_names()) version->add_classes(name);
  *version->mutable_preprocessing() = ToProto(of_backbone.preprocessing());
  return model;
}

v1::Backbone ToProto(const BackboneDirectory::Listing& listing) {
  v1::Backbone out;
  out.set_name(listing.name);
  out.set_installed(listing.installed);
  out.set_problem(PrintableLines(listing.problem));
  if (!listing.architecture) return out;
  Describe(*listing.architecture, &out);
  *out.mutable_preprocessing() = ToProto(listing.preprocessing);
  out.set_digest(listing.digest);
  out.set_source(Printable(listing.source));
  out.set_class_count(static_cast<int32_t>(listing.class_count));
  int64_t parameters = 0;
  for (const int64_t count : listing.stage_parameters) {
    out.add_stage_parameters(count);
    parameters += count;
  }
  out.set_parameter_count(parameters);
  return out;
}

absl::StatusOr<Split> FromProto(v1::Split split) {
  switch (split) {
    case v1::SPLIT_UNSPECIFIED: return Split::kUnspecified;
    case v1::SPLIT_TRAIN: return Split::kTrain;
    case v1::SPLIT_VALIDATION: return Split::kValidation;
    case v1::SPLIT_TEST: return Split::kTest;
    default: break;
  }
  return absl::InvalidArgumentError(absl::StrCat("split: got ", static_cast<int>(split), ", want 0 to 3"));
}

absl::StatusOr<std::vector<std::string>> LabelsOf(const v1::LabelledImage& image, bool multi_label) {
  if (multi_label && !image.label().empty())
    return absl::InvalidArgumentError(absl::StrCat("label: got \"", Printable(image.label()),
                                                   "\", want labels: the dataset is multi-label"));
  if (!multi_label && image.labels_size() > 0)
    return absl::InvalidArgumentError(absl::StrCat(
        "labels: got ", image.labels_size(), ", want label: the dataset is single-label, multi_label makes another"));
  if (!multi_label) return std::vector<std::string>{image.label()};
  return std::vector<std::string>(image.labels().begin(), image.labels().end());
}

}  // namespace graft

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "graft/v1/dataset.pb.h"
#include "graft/v1/model.pb.h"
#include "graft/v1/system.pb.h"
#include "server/ingest/dataset_builder.h"
#include "server/models/backbone_directory.h"
#include "server/rpc/limits.h"
#include "server/store/records.h"

namespace graft {

class Predictor;

// The store's and the ingest's plain types as API messages, and back. Those of jobs: server/jobs/encode.h.

v1::Dataset ToProto(const DatasetVersion& version);
v1::UploadDatasetResponse ToProto(const IngestResult& result);
v1::ImageVerdict ToProto(const DatasetBuilder::Verdict& verdict, int64_t index);
v1::SystemLimits ToProto(const Limits& limits);
//   DataLoss  the stored evaluation or details are not what was stored
absl::StatusOr<v1::ModelVersion> ToProto(const ModelVersionRecord& record);
absl::StatusOr<v1::Model> ToProto(const ModelRecord& record);
// A backbone that is served as it is: the model "backbone/NAME" with its version 0.
v1::Model ToProto(const Predictor& of_backbone);
v1::Backbone ToProto(const BackboneDirectory::Listing& listing);

//   InvalidArgument  not one of the enum's values
absl::StatusOr<Split> FromProto(v1::Split split);
// The classes that a picture is sent with; their names are not checked.
//   InvalidArgument  `labels` for a dataset that is not multi-label, `label` for one that is
absl::StatusOr<std::vector<std::string>> LabelsOf(const v1::LabelledImage& image, bool multi_label);

}  // namespace graft

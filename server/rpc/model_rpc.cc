#include "server/rpc/model_rpc.h"

#include <string>

#include "absl/status/statusor.h"
#include "server/ingest/names.h"
#include "server/jobs/encode.h"
#include "server/models/backbone_directory.h"
#include "server/rpc/convert.h"
#include "server/rpc/unary.h"
#include "server/rpc/validate.h"
#include "worker/backbone/backbone.h"
#include "worker/base/status.h"
#include "worker/image/preprocess.h"

namespace graft {
namespace {

v1::Preprocessing Describe(const PreprocessSpec& spec) {
  v1::Preprocessing out;
  out.set_resize_px(spec.resize_px);
  out.set_crop_px(spec.crop_px);
  for (const float mean : spec.mean) out.add_mean(mean);
  for (const float std : spec.std) out.add_std(std);
  return out;
}

v1::Backbone Describe(const BackboneDirectory::Listing& listing) {
  v1::Backbone out;
  out.set_name(listing.name);
  out.set_problem(listing.problem);
  if (listing.backbone == nullptr) return out;
  const Backbone& backbone = *listing.backbone;
  out.set_installed(true);
  out.set_digest(backbone.digest());
  for (const std::string& stage : backbone.stage_names()) out.add_stages(stage);
  out.set_parameter_count(backbone.parameter_count(0, backbone.num_stages()));
  out.set_feature_width(static_cast<int32_t>(backbone.feature_width()));
  *out.mutable_preprocessing() = Describe(backbone.preprocessing());
  out.set_source(backbone.source());
  return out;
}

}  // namespace

grpc::ServerUnaryReactor* ModelRpc::ListModels(grpc::CallbackServerContext* context,
                                               const v1::ListModelsRequest* request,
                                               v1::ListModelsResponse* response) {
  return RunUnary(context, executor_, response, [this, request]() -> absl::StatusOr<v1::ListModelsResponse> {
    ASSIGN_OR_RETURN(const PageRequest page, ParsePage(request->page_size(), request->page_token()));
    ASSIGN_OR_RETURN(const Page<ModelRecord> models, models_->List(page));
    v1::ListModelsResponse answer;
    for (const ModelRecord& model : models.items) {
      v1::Model* const listed = answer.add_models();
      ASSIGN_OR_RETURN(*listed, ToProto(model));
      for (v1::ModelVersion& version : *listed->mutable_versions())
        if (version.has_evaluation()) DropDetails(version.mutable_evaluation());
    }
    answer.set_next_page_token(models.next_token);
    return answer;
  });
}

grpc::ServerUnaryReactor* ModelRpc::GetModel(grpc::CallbackServerContext* context, const v1::GetModelRequest* request,
                                             v1::Model* response) {
  return RunUnary(context, executor_, response, [this, request]() -> absl::StatusOr<v1::Model> {
    RETURN_IF_ERROR(CheckName("name", request->name()));
    ASSIGN_OR_RETURN(const ModelRecord model, models_->Get(request->name()));
    return ToProto(model);
  });
}

grpc::ServerUnaryReactor* ModelRpc::SetAlias(grpc::CallbackServerContext* context, const v1::SetAliasRequest* request,
                                             v1::Model* response) {
  return RunUnary(context, executor_, response, [this, request]() -> absl::StatusOr<v1::Model> {
    RETURN_IF_ERROR(Validate(*request));
    ASSIGN_OR_RETURN(const ModelRecord model,
                     models_->SetAlias(request->name(), request->alias(), request->version()));
    return ToProto(model);
  });
}

grpc::ServerUnaryReactor* ModelRpc::DeleteModelVersion(grpc::CallbackServerContext* context,
                                                       const v1::DeleteModelVersionRequest* request,
                                                       v1::Model* response) {
  return RunUnary(context, executor_, response, [this, request]() -> absl::StatusOr<v1::Model> {
    RETURN_IF_ERROR(Validate(*request));
    ASSIGN_OR_RETURN(const ModelRecord model, models_->DeleteVersion(request->name(), request->version()));
    return ToProto(model);
  });
}

grpc::ServerUnaryReactor* ModelRpc::ListBackbones(grpc::CallbackServerContext* context,
                                                  const v1::ListBackbonesRequest* /*request*/,
                                                  v1::ListBackbonesResponse* response) {
  return RunUnary(context, executor_, response, [this]() -> absl::StatusOr<v1::ListBackbonesResponse> {
    v1::ListBackbonesResponse answer;
    for (const BackboneDirectory::Listing& listing : backbones_->List()) *answer.add_backbones() = Describe(listing);
    return answer;
  });
}

}  // namespace graft

#include "server/rpc/model_rpc.h"

#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "server/ingest/names.h"
#include "server/jobs/encode.h"
#include "server/models/backbone_directory.h"
#include "server/rpc/convert.h"
#include "server/rpc/unary.h"
#include "server/rpc/validate.h"
#include "worker/backbone/backbone.h"
#include "worker/base/status.h"
#include "worker/infer/predictor.h"

namespace graft {
namespace {

absl::StatusOr<v1::Model> DescribeBackbone(const std::string& name, BackboneDirectory* backbones) {
  ASSIGN_OR_RETURN(std::shared_ptr<const Backbone> backbone, backbones->Get(name));
  ASSIGN_OR_RETURN(const std::shared_ptr<const Predictor> predictor, Predictor::OfBackbone(std::move(backbone)));
  return ToProto(*predictor);
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
    if (const auto backbone = BackboneOf(request->name())) return DescribeBackbone(*backbone, backbones_);
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
    for (const BackboneDirectory::Listing& listing : backbones_->List()) *answer.add_backbones() = ToProto(listing);
    return answer;
  });
}

}  // namespace graft

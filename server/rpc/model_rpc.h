#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include "graft/v1/model.grpc.pb.h"
#include "server/rpc/executor.h"
#include "server/store/model_store.h"

namespace graft {

class BackboneDirectory;

// graft.v1.ModelService over the model store and the backbone directory.
//
// Threads:  safe.
// Lifetime: outlives the gRPC server; what it points to outlives it.
class ModelRpc : public v1::ModelService::CallbackService {
 public:
  ModelRpc(ModelStore* models, BackboneDirectory* backbones, Executor* executor)
      : models_(models), backbones_(backbones), executor_(executor) {}

  grpc::ServerUnaryReactor* ListModels(grpc::CallbackServerContext* context, const v1::ListModelsRequest* request,
                                       v1::ListModelsResponse* response) override;
  grpc::ServerUnaryReactor* GetModel(grpc::CallbackServerContext* context, const v1::GetModelRequest* request,
                                     v1::Model* response) override;
  grpc::ServerUnaryReactor* SetAlias(grpc::CallbackServerContext* context, const v1::SetAliasRequest* request,
                                     v1::Model* response) override;
  grpc::ServerUnaryReactor* DeleteModelVersion(grpc::CallbackServerContext* context,
                                               const v1::DeleteModelVersionRequest* request,
                                               v1::Model* response) override;
  grpc::ServerUnaryReactor* ListBackbones(grpc::CallbackServerContext* context,
                                          const v1::ListBackbonesRequest* request,
                                          v1::ListBackbonesResponse* response) override;

 private:
  ModelStore* const models_;
  BackboneDirectory* const backbones_;
  Executor* const executor_;
};

}  // namespace graft

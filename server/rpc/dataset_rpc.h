#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include "graft/v1/dataset.grpc.pb.h"
#include "server/rpc/executor.h"
#include "server/rpc/ingest_context.h"

namespace graft {

// graft.v1.DatasetService over the dataset store and server/ingest.
//
// Threads:  safe.
// Lifetime: outlives the gRPC server; the executor and what `ingest` points to outlive it.
class DatasetRpc : public v1::DatasetService::CallbackService {
 public:
  DatasetRpc(IngestContext ingest, Executor* executor) : ingest_(ingest), executor_(executor) {}

  grpc::ServerReadReactor<v1::UploadDatasetRequest>* UploadDataset(grpc::CallbackServerContext* context,
                                                                   v1::UploadDatasetResponse* response) override;
  grpc::ServerBidiReactor<v1::ImportImagesRequest, v1::ImportImagesResponse>* ImportImages(
      grpc::CallbackServerContext* context) override;
  grpc::ServerUnaryReactor* GetDataset(grpc::CallbackServerContext* context, const v1::GetDatasetRequest* request,
                                       v1::Dataset* response) override;
  grpc::ServerUnaryReactor* ListDatasets(grpc::CallbackServerContext* context, const v1::ListDatasetsRequest* request,
                                         v1::ListDatasetsResponse* response) override;
  grpc::ServerUnaryReactor* DeleteDataset(grpc::CallbackServerContext* context,
                                          const v1::DeleteDatasetRequest* request,
                                          v1::DeleteDatasetResponse* response) override;

 private:
  const IngestContext ingest_;
  Executor* const executor_;
};

}  // namespace graft

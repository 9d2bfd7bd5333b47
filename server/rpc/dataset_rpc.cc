#include "server/rpc/dataset_rpc.h"

#include "absl/status/statusor.h"
#include "server/ingest/names.h"
#include "server/rpc/convert.h"
#include "server/rpc/import_images.h"
#include "server/rpc/unary.h"
#include "server/rpc/upload_dataset.h"
#include "server/rpc/validate.h"
#include "worker/base/status.h"

namespace graft {

grpc::ServerReadReactor<v1::UploadDatasetRequest>* DatasetRpc::UploadDataset(grpc::CallbackServerContext* context,
                                                                             v1::UploadDatasetResponse* response) {
  return NewUploadDataset(&ingest_, context, response);
}

grpc::ServerBidiReactor<v1::ImportImagesRequest, v1::ImportImagesResponse>* DatasetRpc::ImportImages(
    grpc::CallbackServerContext* context) {
  return NewImportImages(&ingest_, context);
}

grpc::ServerUnaryReactor* DatasetRpc::GetDataset(grpc::CallbackServerContext* context,
                                                 const v1::GetDatasetRequest* request, v1::Dataset* response) {
  return RunUnary(context, executor_, response, [this, request]() -> absl::StatusOr<v1::Dataset> {
    RETURN_IF_ERROR(CheckName("name", request->name()));
    ASSIGN_OR_RETURN(const DatasetVersion version, ingest_.datasets->Get(request->name(), request->version()));
    return ToProto(version);
  });
}

grpc::ServerUnaryReactor* DatasetRpc::ListDatasets(grpc::CallbackServerContext* context,
                                                   const v1::ListDatasetsRequest* request,
                                                   v1::ListDatasetsResponse* response) {
  return RunUnary(context, executor_, response, [this, request]() -> absl::StatusOr<v1::ListDatasetsResponse> {
    ASSIGN_OR_RETURN(const PageRequest page, ParsePage(request->page_size(), request->page_token()));
    ASSIGN_OR_RETURN(const Page<DatasetVersion> versions, ingest_.datasets->List(page));
    v1::ListDatasetsResponse answer;
    for (const DatasetVersion& version : versions.items) *answer.add_datasets() = ToProto(version);
    answer.set_next_page_token(versions.next_token);
    return answer;
  });
}

grpc::ServerUnaryReactor* DatasetRpc::DeleteDataset(grpc::CallbackServerContext* context,
                                                    const v1::DeleteDatasetRequest* request,
                                                    v1::DeleteDatasetResponse* response) {
  return RunUnary(context, executor_, response, [this, request]() -> absl::StatusOr<v1::DeleteDatasetResponse> {
    RETURN_IF_ERROR(CheckName("name", request->name()));
    RETURN_IF_ERROR(ingest_.datasets->Delete(request->name(), request->version()));
    return v1::DeleteDatasetResponse();
  });
}

}  // namespace graft

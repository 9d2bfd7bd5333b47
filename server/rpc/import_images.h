#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include "graft/v1/dataset.pb.h"
#include "server/rpc/ingest_context.h"

namespace graft {

// One ImportImages call, a step at a time: read a message, work on an executor, write the answer, read the next. gRPC's
// flow control holds back what the caller sends ahead. `ingest` outlives the call.
//   DEADLINE_EXCEEDED   the caller sent nothing for the idle timeout
//   RESOURCE_EXHAUSTED  all import slots are taken, or the executor is full
grpc::ServerBidiReactor<v1::ImportImagesRequest, v1::ImportImagesResponse>* NewImportImages(
    const IngestContext* ingest, grpc::CallbackServerContext* context);

}  // namespace graft

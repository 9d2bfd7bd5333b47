#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include "graft/v1/dataset.pb.h"
#include "server/rpc/ingest_context.h"

namespace graft {

// One UploadDataset call: chunks go through a ChunkPipe to an import on a thread of its own. Nothing is committed
// unless the caller half-closes after the last chunk of a whole archive. `ingest` outlives the call.
//   RESOURCE_EXHAUSTED  all upload slots are taken
grpc::ServerReadReactor<v1::UploadDatasetRequest>* NewUploadDataset(const IngestContext* ingest,
                                                                    grpc::CallbackServerContext* context,
                                                                    v1::UploadDatasetResponse* response);

}  // namespace graft

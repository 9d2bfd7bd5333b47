#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "server/ingest/dataset_builder.h"

namespace graft {

// What callers may ask for at once; GetServerInfo tells them.
struct Limits {
  IngestLimits ingest;                         // of one dataset; `ingest.image` of each picture, also in Classify
  int max_images_per_request = 64;             // one ClassifyRequest
  int64_t max_request_bytes = 48 << 20;        // one gRPC message: room for a picture of the largest size
  int64_t max_chunk_bytes = 2 << 20;           // one UploadDataset chunk
  int max_queued_jobs = 1000;                  // told only: JobStore refuses
  int max_concurrent_uploads = 4;              // each has a thread and one core's worth of decoding
  int max_concurrent_imports = 16;             // open ImportImages streams: each keeps its pictures' digests in memory

  //   InvalidArgument  a limit that is not positive, or one that another makes unreachable (all are listed)
  absl::Status Validate() const;
};

}  // namespace graft

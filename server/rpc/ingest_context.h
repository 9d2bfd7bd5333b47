#pragma once

#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "graft/v1/dataset.pb.h"
#include "server/ingest/dataset_builder.h"
#include "server/rpc/executor.h"
#include "server/rpc/limits.h"
#include "server/rpc/slots.h"
#include "server/store/blob_store.h"
#include "server/store/dataset_store.h"

namespace graft {

// What the two streaming imports share. Each upload keeps a thread of `executor` to its end, each step of an
// ImportImages stream takes one for a moment: it has more threads than `uploads` has slots.
struct IngestContext {
  BlobStore* blobs;
  DatasetStore* datasets;
  Executor* executor;
  Slots* uploads;
  Slots* imports;
  Limits limits;
  absl::Duration idle_timeout;  // an upload or import that sends nothing for so long ends
};

// A builder of what `header` asks for.   InvalidArgument: as DatasetBuilder::Create
inline absl::StatusOr<std::unique_ptr<DatasetBuilder>> NewBuilder(const v1::DatasetHeader& header,
                                                                  const IngestContext& context) {
  DatasetOptions options;
  options.name = header.name();
  if (header.validation_fraction() != 0) options.split.validation_fraction = header.validation_fraction();
  options.split.seed = header.split_seed();
  if (header.has_multi_label()) options.multi_label = header.multi_label();
  return DatasetBuilder::Create(std::move(options), context.limits.ingest, context.blobs, context.datasets);
}

}  // namespace graft

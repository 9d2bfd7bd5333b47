#pragma once

#include "absl/status/status.h"
#include "server/ingest/archive_reader.h"
#include "server/ingest/dataset_builder.h"

namespace graft {

// Reads a zip, tar or tar.gz as it arrives and feeds its pictures to `builder` (not committed here). Layouts:
// CLASS/x.jpg, {train,val,validation,test}/CLASS/x.jpg (one common top folder is ignored), or a manifest.csv /
// manifest.jsonl (path, label or labels, split) anywhere in the archive, which then rules; one with labels makes the
// dataset multi-label. Nothing is ever written under an archive's name. Hidden files and other junk (IsJunk()) are
// skipped; other files that are no pictures are rejected.
// The source is read to its end.
//   InvalidArgument  not an archive, damaged or truncated, path traversal, a link, a device, encrypted, a compression
//                    bomb (over 200 times its compressed size beyond 64 MiB), more entries or bytes than the limits, a
//                    label that CheckLabel() refuses, a manifest line that is wrong (with its line number), a manifest
//                    with labels of a dataset that `builder` was told is single-label
//   ResourceExhausted, Internal  from `builder`'s stores, or memory is out
//   and what `source` returned
absl::Status ImportArchive(const ArchiveSource& source, const IngestLimits& limits, DatasetBuilder* builder);

}  // namespace graft

#include "server/rpc/limits.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include "server/rpc/validate.h"

namespace graft {

absl::Status Limits::Validate() const {
  Violations violations;
  violations.Add(ingest.Validate());
  const auto check_positive = [&](absl::string_view field, int64_t value) {
    if (value <= 0) violations.Add(absl::InvalidArgumentError(absl::StrCat(field, ": got ", value, ", want > 0")));
  };
  check_positive("max_images_per_request", max_images_per_request);
  check_positive("max_chunk_bytes", max_chunk_bytes);
  check_positive("max_queued_jobs", max_queued_jobs);
  check_positive("max_concurrent_uploads", max_concurrent_uploads);
  check_positive("max_concurrent_imports", max_concurrent_imports);
  // gRPC takes an int.
  if (max_request_bytes <= max_chunk_bytes || max_request_bytes > std::numeric_limits<int>::max())
    violations.Add(absl::InvalidArgumentError(absl::StrCat("max_request_bytes: got ", max_request_bytes,
                                                           ", want over max_chunk_bytes (", max_chunk_bytes,
                                                           ") and below 2 GiB")));
  return violations.status();
}

}  // namespace graft

#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "graft/v1/dataset.pb.h"
#include "graft/v1/inference.pb.h"
#include "graft/v1/model.pb.h"
#include "server/rpc/limits.h"
#include "server/store/records.h"

namespace graft {

// Collects what is wrong with one request, so that one answer holds it all.
class Violations {
 public:
  void Add(const absl::Status& status);  // OK adds nothing
  // OK, or InvalidArgument with one line for each.
  absl::Status status() const;

 private:
  std::string lines_;
};

// A page of a listing: size 0 means 50.   InvalidArgument: page_size
absl::StatusOr<PageRequest> ParsePage(int32_t page_size, const std::string& page_token);

// Each returns InvalidArgument with all violations.
absl::Status Validate(const v1::ClassifyRequest& request, const Limits& limits);
absl::Status Validate(const v1::SetAliasRequest& request);
absl::Status Validate(const v1::DeleteModelVersionRequest& request);
// An UploadDataset chunk's size.
absl::Status ValidateChunk(int64_t bytes, const Limits& limits);

}  // namespace graft

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/store/records.h"

namespace soci {
class session;
}  // namespace soci

// The model tables' rows, shared by ModelStore and JobStore::Finish. Inside a transaction; throws what SOCI throws.

namespace graft {

// All versions of a model, newest first.
absl::StatusOr<std::vector<ModelVersionRecord>> SelectModelVersions(soci::session& sql, const std::string& model);
// One version, without evaluation_pb and details_pb; nothing when the model has no such one.
absl::StatusOr<std::optional<ModelVersionRecord>> SelectModelVersion(soci::session& sql, const std::string& model,
                                                                     int64_t version);

// Makes the next versions of a model, in the order of `models`, which are of one job and at least one; returns the
// last, which becomes the target of "default". When the job has made versions already, the newest is returned and
// nothing is written.
absl::StatusOr<ModelVersionRecord> InsertModelVersions(soci::session& sql,
                                                       const std::vector<ModelVersionRecord>& models, absl::Time now);

// Points `alias` at an existing version.
void WriteAlias(soci::session& sql, const std::string& model, const std::string& alias, int64_t version);

}  // namespace graft

#pragma once

#include "absl/status/status.h"

namespace soci {
class session;
}  // namespace soci

namespace graft {

// The version that this program writes: the number of migrations it knows.
int SchemaVersion();

// Brings the database from whatever version it has to `target`, which is an older one only in tests of upgrades. Runs
// inside the caller's write transaction, so that a killed upgrade leaves the old schema. Throws what SOCI throws.
//   FailedPrecondition   the database is newer than this program
absl::Status MigrateSchema(soci::session& sql, int target = SchemaVersion());

}  // namespace graft

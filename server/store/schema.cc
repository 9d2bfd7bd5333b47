#include "server/store/schema.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/store/sql.h"

namespace graft {
namespace {

using Migration = std::vector<const char*>;

// Standard SQL that SQLite and PostgreSQL both take. Opaque bytes are base64 TEXT (SOCI 4.0.3 has no portable binary
// type), times are microseconds since 1970 with 0 = none, and no column is nullable.
const Migration kFirst = {
    "CREATE TABLE dataset_versions ("
    " id BIGINT NOT NULL PRIMARY KEY,"
    " name TEXT NOT NULL,"
    " version TEXT NOT NULL,"
    " recency BIGINT NOT NULL,"  // the newest of a dataset has the greatest
    " create_time_us BIGINT NOT NULL,"
    " image_count BIGINT NOT NULL,"
    " bytes BIGINT NOT NULL,"
    " split_by_server INTEGER NOT NULL,"
    " UNIQUE (name, version))",
    "CREATE INDEX dataset_versions_by_recency ON dataset_versions (name, recency)",
    "CREATE TABLE dataset_classes ("
    " version_id BIGINT NOT NULL REFERENCES dataset_versions (id),"
    " idx INTEGER NOT NULL,"
    " name TEXT NOT NULL,"
    " train BIGINT NOT NULL,"
    " validation BIGINT NOT NULL,"
    " test BIGINT NOT NULL,"
    " PRIMARY KEY (version_id, idx))",
    "CREATE TABLE dataset_items ("
    " version_id BIGINT NOT NULL REFERENCES dataset_versions (id),"
    " idx INTEGER NOT NULL,"
    " file_name TEXT NOT NULL,"
    " digest TEXT NOT NULL,"
    " label INTEGER NOT NULL,"
    " split INTEGER NOT NULL,"
    " bytes BIGINT NOT NULL,"
    " PRIMARY KEY (version_id, idx))",

    "CREATE TABLE jobs ("
    " id TEXT NOT NULL PRIMARY KEY,"
    " request_id TEXT NOT NULL,"
    " dataset TEXT NOT NULL,"
    " dataset_version TEXT NOT NULL,"
    " spec_pb TEXT NOT NULL,"
    " effective_pb TEXT NOT NULL,"
    " state INTEGER NOT NULL,"
    " create_time_us BIGINT NOT NULL UNIQUE,"  // the order of the queue
    " start_time_us BIGINT NOT NULL,"
    " end_time_us BIGINT NOT NULL,"
    " attempt INTEGER NOT NULL,"
    " released INTEGER NOT NULL,"  // attempts that ended by drain
    " error TEXT NOT NULL,"
    " last_epoch_pb TEXT NOT NULL,"
    " evaluation_pb TEXT NOT NULL,"
    " parameters_pb TEXT NOT NULL,"
    " model_version TEXT NOT NULL,"
    " last_seq BIGINT NOT NULL,"
    " cancel_requested INTEGER NOT NULL,"
    " lease_owner TEXT NOT NULL,"
    " lease_expiry_us BIGINT NOT NULL)",
    "CREATE UNIQUE INDEX jobs_by_request ON jobs (request_id) WHERE request_id <> ''",
    "CREATE INDEX jobs_by_state ON jobs (state, create_time_us)",
    "CREATE TABLE job_events ("
    " job_id TEXT NOT NULL REFERENCES jobs (id),"
    " seq BIGINT NOT NULL,"
    " time_us BIGINT NOT NULL,"
    " event_pb TEXT NOT NULL,"
    " PRIMARY KEY (job_id, seq))",

    // A row stays when its last version goes: a version number is never used twice.
    "CREATE TABLE models ("
    " name TEXT NOT NULL PRIMARY KEY,"
    " last_version BIGINT NOT NULL)",
    "CREATE TABLE model_versions ("
    " model TEXT NOT NULL REFERENCES models (name),"
    " version BIGINT NOT NULL,"
    " create_time_us BIGINT NOT NULL,"
    " job_id TEXT NOT NULL UNIQUE,"
    " backbone TEXT NOT NULL,"
    " backbone_digest TEXT NOT NULL,"
    " split_point INTEGER NOT NULL,"
    " checkpoint_digest TEXT NOT NULL,"
    " checkpoint_bytes BIGINT NOT NULL,"
    " dataset TEXT NOT NULL,"
    " dataset_version TEXT NOT NULL,"
    " evaluation_pb TEXT NOT NULL,"
    " details_pb TEXT NOT NULL,"
    " PRIMARY KEY (model, version))",
    "CREATE TABLE model_aliases ("
    " model TEXT NOT NULL,"
    " alias TEXT NOT NULL,"
    " version BIGINT NOT NULL,"
    " PRIMARY KEY (model, alias),"
    " FOREIGN KEY (model, version) REFERENCES model_versions (model, version))",
};

// What AUTO found, of jobs that chose by themselves.
const Migration kAutoReports = {
    "ALTER TABLE jobs ADD COLUMN auto_pb TEXT NOT NULL DEFAULT ''",
};

// A job may make two versions of its model: job_id alone is unique no more. A constraint cannot be dropped in SQLite,
// so that the table is made anew, and the one that refers to it.
const Migration kCheckpointKinds = {
    "CREATE TABLE model_versions_3 ("
    " model TEXT NOT NULL REFERENCES models (name),"
    " version BIGINT NOT NULL,"
    " create_time_us BIGINT NOT NULL,"
    " job_id TEXT NOT NULL,"
    " checkpoint INTEGER NOT NULL,"
    " backbone TEXT NOT NULL,"
    " backbone_digest TEXT NOT NULL,"
    " split_point INTEGER NOT NULL,"
    " checkpoint_digest TEXT NOT NULL,"
    " checkpoint_bytes BIGINT NOT NULL,"
    " dataset TEXT NOT NULL,"
    " dataset_version TEXT NOT NULL,"
    " evaluation_pb TEXT NOT NULL,"
    " details_pb TEXT NOT NULL,"
    " PRIMARY KEY (model, version),"
    " UNIQUE (job_id, checkpoint))",
    "INSERT INTO model_versions_3 SELECT model, version, create_time_us, job_id, 0, backbone, backbone_digest,"
    " split_point, checkpoint_digest, checkpoint_bytes, dataset, dataset_version, evaluation_pb, details_pb"
    " FROM model_versions",
    "CREATE TABLE model_aliases_3 ("
    " model TEXT NOT NULL,"
    " alias TEXT NOT NULL,"
    " version BIGINT NOT NULL,"
    " PRIMARY KEY (model, alias),"
    " FOREIGN KEY (model, version) REFERENCES model_versions_3 (model, version))",
    "INSERT INTO model_aliases_3 SELECT model, alias, version FROM model_aliases",
    "DROP TABLE model_aliases",
    "DROP TABLE model_versions",
    "ALTER TABLE model_versions_3 RENAME TO model_versions",  // and in the reference to it
    "ALTER TABLE model_aliases_3 RENAME TO model_aliases",
};

// Pictures with any number of classes: `labels` holds them as "0,3,17", and `label` -1. A row for each would be twenty
// million of the largest dataset. A version's pictures are no longer those of its classes, so it counts them itself.
const Migration kMultiLabel = {
    "ALTER TABLE dataset_items ADD COLUMN labels TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE dataset_versions ADD COLUMN multi_label INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE dataset_versions ADD COLUMN train BIGINT NOT NULL DEFAULT 0",
    "ALTER TABLE dataset_versions ADD COLUMN validation BIGINT NOT NULL DEFAULT 0",
    "ALTER TABLE dataset_versions ADD COLUMN test BIGINT NOT NULL DEFAULT 0",
    "UPDATE dataset_versions SET"
    " train = (SELECT COALESCE(SUM(c.train), 0) FROM dataset_classes c WHERE c.version_id = dataset_versions.id),"
    " validation ="
    " (SELECT COALESCE(SUM(c.validation), 0) FROM dataset_classes c WHERE c.version_id = dataset_versions.id),"
    " test = (SELECT COALESCE(SUM(c.test), 0) FROM dataset_classes c WHERE c.version_id = dataset_versions.id)",
};

// In order; the n-th brings version n-1 to n. A released one is never changed: add another.
const std::vector<Migration>& Migrations() {
  static const auto* const migrations =
      new std::vector<Migration>{kFirst, kAutoReports, kCheckpointKinds, kMultiLabel};
  return *migrations;
}

}  // namespace

int SchemaVersion() { return static_cast<int>(Migrations().size()); }

absl::Status MigrateSchema(soci::session& sql, int target) {
  Execute(sql, "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)");
  const std::vector<int> stored = SelectColumn<int>(sql, "SELECT version FROM schema_version");
  if (stored.empty()) Execute(sql, "INSERT INTO schema_version (version) VALUES (0)");
  const int found = stored.empty() ? 0 : stored.front();
  if (found > SchemaVersion()) {
    return absl::FailedPreconditionError(absl::StrCat("database: got schema version ", found, ", want at most ",
                                                      SchemaVersion(), ": a newer program has upgraded it"));
  }
  for (int version = found; version < target; ++version) {
    for (const char* statement : Migrations()[version]) Execute(sql, statement);
  }
  if (found < target) Execute(sql, "UPDATE schema_version SET version = :v", target);
  return absl::OkStatus();
}

}  // namespace graft

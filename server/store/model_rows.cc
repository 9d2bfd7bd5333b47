#include "server/store/model_rows.h"

#include <tuple>
#include <utility>

#include "server/store/sql.h"
#include "worker/base/status.h"

namespace graft {
namespace {

constexpr char kColumns[] =
    "model, version, create_time_us, job_id, checkpoint, backbone, backbone_digest, split_point, checkpoint_digest, "
    "checkpoint_bytes, dataset, dataset_version, evaluation_pb, details_pb";

// One row as it is stored: `record` with text in its "_pb" fields until Decode().
struct VersionRow {
  ModelVersionRecord record;
  int64_t create_time_us = 0;
  int checkpoint = 0;

  auto Columns() {
    return std::tie(record.model, record.version, create_time_us, record.job_id, checkpoint, record.backbone,
                    record.backbone_digest, record.split_point, record.checkpoint_digest, record.checkpoint_bytes,
                    record.dataset, record.dataset_version, record.evaluation_pb, record.details_pb);
  }
  absl::StatusOr<ModelVersionRecord> Decode() && {
    record.create_time = FromMicros(create_time_us);
    record.checkpoint = static_cast<CheckpointKind>(checkpoint);
    ASSIGN_OR_RETURN(record.evaluation_pb, FromText(record.evaluation_pb));
    ASSIGN_OR_RETURN(record.details_pb, FromText(record.details_pb));
    return std::move(record);
  }
};

// kColumns, with nothing in those that may be large.
constexpr char kSmallColumns[] =
    "model, version, create_time_us, job_id, checkpoint, backbone, backbone_digest, split_point, checkpoint_digest, "
    "checkpoint_bytes, dataset, dataset_version, '', ''";

template <typename... Binds>
absl::StatusOr<std::vector<ModelVersionRecord>> SelectVersions(soci::session& sql, const std::string& columns,
                                                               const std::string& tail, const Binds&... binds) {
  std::vector<ModelVersionRecord> records;
  const std::string query = "SELECT " + columns + " FROM model_versions " + tail;
  for (VersionRow& row : Select<VersionRow>(sql, query, binds...)) {
    ASSIGN_OR_RETURN(ModelVersionRecord record, std::move(row).Decode());
    records.push_back(std::move(record));
  }
  return records;
}

// The next number of `model`, counted for ever.
int64_t NextVersion(soci::session& sql, const std::string& model) {
  const auto last = SelectColumn<int64_t>(sql, "SELECT last_version FROM models WHERE name = :name", model);
  if (last.empty()) {
    Execute(sql, "INSERT INTO models (name, last_version) VALUES (:name, 1)", model);
    return 1;
  }
  Execute(sql, "UPDATE models SET last_version = last_version + 1 WHERE name = :name", model);
  return last.front() + 1;
}

}  // namespace

absl::StatusOr<std::vector<ModelVersionRecord>> SelectModelVersions(soci::session& sql, const std::string& model) {
  return SelectVersions(sql, kColumns, "WHERE model = :model ORDER BY version DESC", model);
}

absl::StatusOr<std::optional<ModelVersionRecord>> SelectModelVersion(soci::session& sql, const std::string& model,
                                                                     int64_t version) {
  ASSIGN_OR_RETURN(std::vector<ModelVersionRecord> found,
                   SelectVersions(sql, kSmallColumns, "WHERE model = :model AND version = :version", model, version));
  if (found.empty()) return std::nullopt;
  return std::move(found.front());
}

absl::StatusOr<ModelVersionRecord> InsertModelVersions(soci::session& sql,
                                                       const std::vector<ModelVersionRecord>& models, absl::Time now) {
  GRAFT_CHECK(!models.empty());
  ASSIGN_OR_RETURN(std::vector<ModelVersionRecord> earlier,
                   SelectVersions(sql, kColumns, "WHERE job_id = :id ORDER BY version DESC", models.front().job_id));
  if (!earlier.empty()) return std::move(earlier.front());
  ModelVersionRecord made;
  for (const ModelVersionRecord& model : models) {
    GRAFT_CHECK(model.model == models.front().model && model.job_id == models.front().job_id);
    made = model;
    made.version = NextVersion(sql, model.model);
    made.create_time = now;
    Execute(sql,
            std::string("INSERT INTO model_versions (") + kColumns +
                ") VALUES (:a, :b, :c, :d, :e, :f, :g, :h, :i, :j, :k, :l, :m, :n)",
            made.model, made.version, ToMicros(now), made.job_id, static_cast<int>(made.checkpoint), made.backbone,
            made.backbone_digest, made.split_point, made.checkpoint_digest, made.checkpoint_bytes, made.dataset,
            made.dataset_version, ToText(made.evaluation_pb), ToText(made.details_pb));
  }
  WriteAlias(sql, made.model, "default", made.version);
  return made;
}

void WriteAlias(soci::session& sql, const std::string& model, const std::string& alias, int64_t version) {
  Execute(sql, "DELETE FROM model_aliases WHERE model = :model AND alias = :alias", model, alias);
  Execute(sql, "INSERT INTO model_aliases (model, alias, version) VALUES (:model, :alias, :version)", model, alias,
          version);
}

}  // namespace graft

#include "server/store/dataset_store.h"

#include <cstdint>
#include <tuple>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "server/store/page_token.h"
#include "server/store/sql.h"
#include "worker/base/status.h"

namespace graft {
namespace {

constexpr char kVersionColumns[] =
    "SELECT id, name, version, create_time_us, image_count, bytes, split_by_server, multi_label, train, validation,"
    " test";

struct VersionRow {
  int64_t id = 0;
  DatasetVersion record;  // without create_time, classes, split_by_server, multi_label
  int64_t create_time_us = 0;
  int split_by_server = 0, multi_label = 0;

  auto Columns() {
    return std::tie(id, record.name, record.version, create_time_us, record.image_count, record.bytes,
                    split_by_server, multi_label, record.images.train, record.images.validation, record.images.test);
  }
};

struct ClassRow {
  ClassCount count;
  auto Columns() { return std::tie(count.name, count.train, count.validation, count.test); }
};

struct ItemRow {
  DatasetItem item;    // without labels and split
  int label = 0;       // -1 in a multi-label version,
  std::string labels;  // whose items have "0,3,17" here
  int split = 0;
  auto Columns() { return std::tie(item.file_name, item.image_digest, label, labels, split, item.bytes); }

  //   DataLoss   `label` or `labels` are not what was stored
  absl::StatusOr<DatasetItem> Decode(bool multi_label, int64_t classes) &&;
};

absl::StatusOr<DatasetItem> ItemRow::Decode(bool multi_label, int64_t classes) && {
  item.split = static_cast<Split>(split);
  if (!multi_label) {
    item.labels = {label};
  } else {
    for (const absl::string_view text : absl::StrSplit(labels, ',', absl::SkipEmpty())) {
      int index = -1;
      item.labels.push_back(absl::SimpleAtoi(text, &index) ? index : -1);
    }
  }
  for (size_t i = 0; i < item.labels.size(); ++i) {
    if (item.labels[i] > (i == 0 ? -1 : item.labels[i - 1]) && item.labels[i] < classes) continue;
    return absl::DataLossError(absl::StrCat("dataset: the stored labels of picture ", item.image_digest,
                                            " are damaged"));
  }
  return std::move(item);
}

// The version with its classes.
DatasetVersion Complete(soci::session& sql, VersionRow row) {
  row.record.create_time = FromMicros(row.create_time_us);
  row.record.split_by_server = row.split_by_server != 0;
  row.record.multi_label = row.multi_label != 0;
  for (ClassRow& entry : Select<ClassRow>(
           sql, "SELECT name, train, validation, test FROM dataset_classes WHERE version_id = :id ORDER BY idx",
           row.id)) {
    row.record.classes.push_back(std::move(entry.count));
  }
  return std::move(row.record);
}

// Empty `version` = newest.   NotFound
absl::StatusOr<VersionRow> FindVersion(soci::session& sql, const std::string& name, const std::string& version) {
  const std::string query = absl::StrCat(kVersionColumns, " FROM dataset_versions WHERE name = :name");
  std::vector<VersionRow> rows =
      version.empty() ? Select<VersionRow>(sql, absl::StrCat(query, " ORDER BY recency DESC LIMIT 1"), name)
                      : Select<VersionRow>(sql, absl::StrCat(query, " AND version = :version"), name, version);
  if (!rows.empty()) return std::move(rows.front());
  const bool known = SelectNumber(sql, "SELECT COUNT(*) FROM dataset_versions WHERE name = :name", name) > 0;
  return absl::NotFoundError(
      known ? absl::StrCat("dataset version: got \"", absl::CEscape(version), "\", want one of dataset \"",
                           absl::CEscape(name), "\"")
            : absl::StrCat("dataset: got \"", absl::CEscape(name), "\", want one of the uploaded ones"));
}

// One prepared statement for all: preparing costs more than inserting.
void InsertItems(soci::session& sql, int64_t version_id, bool multi_label, const std::vector<DatasetItem>& items) {
  int idx = 0;
  ItemRow row;
  soci::statement insert(sql);
  Prepare(insert,
          "INSERT INTO dataset_items (version_id, idx, file_name, digest, label, labels, split, bytes)"
          " VALUES (:version_id, :idx, :file_name, :digest, :label, :labels, :split, :bytes)",
          version_id, idx, row.item.file_name, row.item.image_digest, row.label, row.labels, row.split,
          row.item.bytes);
  for (; idx < static_cast<int>(items.size()); ++idx) {
    row.item = items[idx];
    GRAFT_CHECK(multi_label || row.item.labels.size() == 1);
    row.label = multi_label ? -1 : row.item.labels.front();
    row.labels = multi_label ? absl::StrJoin(row.item.labels, ",") : "";
    row.split = static_cast<int>(row.item.split);
    insert.execute(true);
  }
}

void InsertClasses(soci::session& sql, int64_t version_id, const std::vector<ClassCount>& classes) {
  int idx = 0;
  for (const ClassCount& count : classes) {
    Execute(sql,
            "INSERT INTO dataset_classes (version_id, idx, name, train, validation, test)"
            " VALUES (:version_id, :idx, :name, :train, :validation, :test)",
            version_id, idx++, count.name, count.train, count.validation, count.test);
  }
}

//   FailedPrecondition   a queued or running job uses the version (empty: any of the dataset)
absl::Status CheckUnused(soci::session& sql, const std::string& name, const std::string& version) {
  const std::string query =
      absl::StrCat("SELECT id FROM jobs WHERE dataset = :name AND state IN (", static_cast<int>(JobState::kQueued),
                   ", ", static_cast<int>(JobState::kRunning), ")");
  const auto users =
      version.empty()
          ? SelectColumn<std::string>(sql, query + " LIMIT 1", name)
          : SelectColumn<std::string>(sql, query + " AND dataset_version IN (:version, '') LIMIT 1", name, version);
  if (users.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("dataset: \"", name, "\" is used by ", users.front(), ", want that job to end first"));
}

}  // namespace

absl::StatusOr<DatasetVersion> DatasetStore::Commit(const DatasetVersion& version,
                                                    const std::vector<DatasetItem>& items) {
  DatasetVersion stored;
  RETURN_IF_ERROR(db_->Write("commit dataset", [&](soci::session& sql) -> absl::Status {
    const int64_t recency = SelectNumber(sql, "SELECT COALESCE(MAX(recency), 0) + 1 FROM dataset_versions");
    absl::StatusOr<VersionRow> earlier = FindVersion(sql, version.name, version.version);
    if (earlier.ok()) {
      Execute(sql, "UPDATE dataset_versions SET recency = :recency WHERE id = :id", recency, earlier->id);
      stored = Complete(sql, *std::move(earlier));
      return absl::OkStatus();
    }
    const int64_t id = SelectNumber(sql, "SELECT COALESCE(MAX(id), 0) + 1 FROM dataset_versions");
    Execute(sql,
            "INSERT INTO dataset_versions"
            " (id, name, version, recency, create_time_us, image_count, bytes, split_by_server, multi_label, train,"
            " validation, test)"
            " VALUES (:id, :name, :version, :recency, :time, :images, :bytes, :split, :multi, :train, :val, :test)",
            id, version.name, version.version, recency, ToMicros(version.create_time), version.image_count,
            version.bytes, version.split_by_server ? 1 : 0, version.multi_label ? 1 : 0, version.images.train,
            version.images.validation, version.images.test);
    InsertClasses(sql, id, version.classes);
    InsertItems(sql, id, version.multi_label, items);
    stored = version;
    stored.create_time = FromMicros(ToMicros(version.create_time));
    return absl::OkStatus();
  }));
  return stored;
}

absl::StatusOr<DatasetVersion> DatasetStore::Get(const std::string& name, const std::string& version) {
  DatasetVersion found;
  RETURN_IF_ERROR(db_->Read("get dataset", [&](soci::session& sql) -> absl::Status {
    ASSIGN_OR_RETURN(VersionRow row, FindVersion(sql, name, version));
    found = Complete(sql, std::move(row));
    return absl::OkStatus();
  }));
  return found;
}

absl::StatusOr<std::vector<DatasetItem>> DatasetStore::Items(const std::string& name, const std::string& version) {
  std::vector<DatasetItem> items;
  RETURN_IF_ERROR(db_->Read("list dataset items", [&](soci::session& sql) -> absl::Status {
    ASSIGN_OR_RETURN(const VersionRow found, FindVersion(sql, name, version));
    const int64_t classes =
        SelectNumber(sql, "SELECT COUNT(*) FROM dataset_classes WHERE version_id = :id", found.id);
    for (ItemRow& row : Select<ItemRow>(
             sql,
             "SELECT file_name, digest, label, labels, split, bytes FROM dataset_items WHERE version_id = :id"
             " ORDER BY idx",
             found.id)) {
      ASSIGN_OR_RETURN(DatasetItem item, std::move(row).Decode(found.multi_label != 0, classes));
      items.push_back(std::move(item));
    }
    return absl::OkStatus();
  }));
  return items;
}

absl::StatusOr<Page<DatasetVersion>> DatasetStore::List(const PageRequest& request) {
  std::string after;
  if (!request.token.empty()) {
    ASSIGN_OR_RETURN(after, DecodePageToken("datasets", request.token));
  }
  Page<DatasetVersion> page;
  RETURN_IF_ERROR(db_->Read("list datasets", [&](soci::session& sql) {
    const std::string query = absl::StrCat(
        kVersionColumns,
        " FROM dataset_versions v WHERE name > :after"
        " AND recency = (SELECT MAX(recency) FROM dataset_versions w WHERE w.name = v.name)"
        " ORDER BY name LIMIT :limit");
    for (VersionRow& row : Select<VersionRow>(sql, query, after, request.size + 1)) {
      if (static_cast<int>(page.items.size()) == request.size) {
        page.next_token = EncodePageToken("datasets", page.items.back().name);
        break;
      }
      page.items.push_back(Complete(sql, std::move(row)));
    }
    return absl::OkStatus();
  }));
  return page;
}

absl::Status DatasetStore::Delete(const std::string& name, const std::string& version) {
  return db_->Write("delete dataset", [&](soci::session& sql) -> absl::Status {
    ASSIGN_OR_RETURN(const VersionRow found, FindVersion(sql, name, version));
    RETURN_IF_ERROR(CheckUnused(sql, name, version));
    const auto ids = version.empty() ? SelectColumn<int64_t>(
                                           sql, "SELECT id FROM dataset_versions WHERE name = :name", name)
                                     : std::vector<int64_t>{found.id};
    for (const int64_t id : ids) {
      Execute(sql, "DELETE FROM dataset_items WHERE version_id = :id", id);
      Execute(sql, "DELETE FROM dataset_classes WHERE version_id = :id", id);
      Execute(sql, "DELETE FROM dataset_versions WHERE id = :id", id);
    }
    return absl::OkStatus();
  });
}

absl::StatusOr<std::set<std::string>> DatasetStore::ReferencedImages() {
  std::set<std::string> digests;
  RETURN_IF_ERROR(db_->Read("list images", [&](soci::session& sql) {
    for (std::string& digest : SelectColumn<std::string>(sql, "SELECT DISTINCT digest FROM dataset_items")) {
      digests.insert(std::move(digest));
    }
    return absl::OkStatus();
  }));
  return digests;
}

}  // namespace graft

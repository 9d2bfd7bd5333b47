#pragma once

#include <stdlib.h>

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gtest/gtest.h"
#include "server/ingest/dataset_builder.h"
#include "server/store/database.h"
#include "server/store/dataset_store.h"
#include "tests/support/fake_blob_store.h"
#include "worker/base/status.h"

namespace graft {

// A real dataset store in a directory of its own, and blobs in memory.
class IngestTest : public testing::Test {
 protected:
  IngestTest() : directory_(testing::TempDir() + "/graft-ingest-XXXXXX") {
    GRAFT_CHECK(mkdtemp(directory_.data()) != nullptr);
    auto db = Database::Open({absl::StrCat("sqlite3:", directory_, "/graft.db"), 1});
    GRAFT_CHECK(db.ok());
    db_ = *std::move(db);
    datasets_ = std::make_unique<DatasetStore>(db_.get());
  }
  ~IngestTest() override {
    datasets_.reset();
    db_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }

  std::unique_ptr<DatasetBuilder> Builder(SplitOptions split = {}, std::optional<bool> multi_label = std::nullopt) {
    auto builder = DatasetBuilder::Create({"flowers", split, multi_label}, limits_, &blobs_, datasets_.get());
    GRAFT_CHECK(builder.ok());
    return *std::move(builder);
  }
  // "file name -> label+label/split" of a version.
  std::map<std::string, std::string> Contents(const DatasetVersion& version) {
    auto items = datasets_->Items(version.name, version.version);
    GRAFT_CHECK(items.ok());
    std::map<std::string, std::string> contents;
    for (const DatasetItem& item : *items) {
      const char* split = item.split == Split::kTrain ? "train" : item.split == Split::kTest ? "test" : "validation";
      const auto append_name = [&](std::string* out, int label) { *out += version.classes[label].name; };
      contents[item.file_name] = absl::StrCat(absl::StrJoin(item.labels, "+", append_name), "/", split);
    }
    return contents;
  }

  std::string directory_;
  IngestLimits limits_;
  FakeBlobStore blobs_;
  std::unique_ptr<Database> db_;
  std::unique_ptr<DatasetStore> datasets_;
};

}  // namespace graft

#include "server/store/dataset_store.h"

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/store/sql.h"
#include "tests/server/store/old_database.h"
#include "tests/server/store/store_fixture.h"

namespace graft {
namespace {

class DatasetStoreTest : public StoreTest {
 protected:
  DatasetVersion Version(const std::string& name, const std::string& version) {
    DatasetVersion made;
    made.name = name;
    made.version = version;
    made.create_time = clock_.Now();
    made.classes = {{"daisy", 5, 2, 1}, {"rose", 6, 0, 0}};
    made.image_count = 14;
    made.bytes = int64_t{5} << 32;
    made.split_by_server = true;
    return made;
  }
  std::vector<DatasetItem> ItemsOf(const std::string& prefix) {
    return {{"a.jpg", prefix + "1", {1}, Split::kTest, 10},
            {"ü b.jpg", prefix + "2", {0}, Split::kValidation, int64_t{6} << 32}};
  }
  std::string Commit(const std::string& name, const std::string& version) {
    DatasetStore store(db_.get());
    auto stored = store.Commit(Version(name, version), ItemsOf(version));
    EXPECT_TRUE(stored.ok()) << stored.status();
    return stored->version;
  }
};

TEST_F(DatasetStoreTest, ReopeningKeepsTheVersion) {
  Commit("flowers", "v1");
  Reopen();
  DatasetStore store(db_.get());
  auto got = store.Get("flowers", "v1");
  ASSERT_TRUE(got.ok()) << got.status();
  const DatasetVersion want = Version("flowers", "v1");
  EXPECT_EQ(got->name, want.name);
  EXPECT_EQ(got->version, want.version);
  EXPECT_EQ(got->create_time, want.create_time);
  EXPECT_EQ(got->image_count, want.image_count);
  EXPECT_EQ(got->bytes, want.bytes);
  EXPECT_TRUE(got->split_by_server);
  ASSERT_EQ(got->classes.size(), 2u);
  EXPECT_EQ(got->classes[0].name, "daisy");
  EXPECT_EQ(got->classes[0].train, 5);
  EXPECT_EQ(got->classes[0].validation, 2);
  EXPECT_EQ(got->classes[0].test, 1);
  EXPECT_EQ(got->classes[1].name, "rose");
}

TEST_F(DatasetStoreTest, ItemsComeInStoredOrder) {
  Commit("flowers", "v1");
  DatasetStore store(db_.get());
  auto items = store.Items("flowers", "");
  ASSERT_TRUE(items.ok()) << items.status();
  ASSERT_EQ(items->size(), 2u);
  EXPECT_EQ((*items)[0].file_name, "a.jpg");
  EXPECT_EQ((*items)[0].labels, std::vector<int>{1});
  EXPECT_EQ((*items)[0].split, Split::kTest);
  EXPECT_EQ((*items)[1].file_name, "ü b.jpg");
  EXPECT_EQ((*items)[1].image_digest, "v12");
  EXPECT_EQ((*items)[1].split, Split::kValidation);
  EXPECT_EQ((*items)[1].bytes, int64_t{6} << 32);
}

TEST_F(DatasetStoreTest, MultiLabelVersionKeepsItsLabels) {
  DatasetVersion version = Version("scenes", "v1");
  version.multi_label = true;
  version.images = {9, 3, 2};
  const std::vector<DatasetItem> items = {{"a", "1", {0, 1}, Split::kTrain, 10}, {"b", "2", {}, Split::kTrain, 10},
                                          {"c", "3", {1}, Split::kValidation, 10}};
  ASSERT_TRUE(DatasetStore(db_.get()).Commit(version, items).ok());
  Reopen();
  DatasetStore store(db_.get());
  auto got = store.Get("scenes", "");
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_TRUE(got->multi_label);
  EXPECT_EQ(got->images.train, 9);
  EXPECT_EQ(got->images.validation, 3);
  EXPECT_EQ(got->images.test, 2);
  auto stored = store.Items("scenes", "v1");
  ASSERT_TRUE(stored.ok()) << stored.status();
  ASSERT_EQ(stored->size(), 3u);
  for (size_t i = 0; i < items.size(); ++i) EXPECT_EQ((*stored)[i].labels, items[i].labels);
}

TEST_F(DatasetStoreTest, DamagedLabelsAreDataLoss) {
  DatasetVersion version = Version("scenes", "v1");
  version.multi_label = true;
  ASSERT_TRUE(DatasetStore(db_.get()).Commit(version, {{"a", "1", {0}, Split::kTrain, 10}}).ok());
  for (const std::string labels : {"x", "0,-1", "0 1", "99999999999", "0,99", "1,0", "0,0"}) {
    ASSERT_TRUE(db_->Write("damage", [&](soci::session& sql) {
                     Execute(sql, "UPDATE dataset_items SET labels = :labels", labels);
                     return absl::OkStatus();
                   }).ok());
    EXPECT_EQ(DatasetStore(db_.get()).Items("scenes", "v1").status().code(), absl::StatusCode::kDataLoss) << labels;
  }
}

TEST_F(DatasetStoreTest, OlderDatabaseIsUpgraded) {
  db_.reset();
  MakeOldDatabase(directory_.path() + "/graft.db", 2,
                  {"INSERT INTO dataset_versions (id, name, version, recency, create_time_us, image_count, bytes,"
                   " split_by_server) VALUES (7, 'flowers', 'v1', 1, 5, 4, 40, 1)",
                   "INSERT INTO dataset_classes (version_id, idx, name, train, validation, test) VALUES"
                   " (7, 0, 'daisy', 1, 0, 1), (7, 1, 'rose', 1, 1, 0)",
                   "INSERT INTO dataset_items (version_id, idx, file_name, digest, label, split, bytes) VALUES"
                   " (7, 0, 'a', '1', 0, 1, 10), (7, 1, 'b', '2', 1, 1, 10)"});
  Reopen();
  DatasetStore store(db_.get());
  auto got = store.Get("flowers", "");
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(got->version, "v1");
  EXPECT_FALSE(got->multi_label);
  EXPECT_EQ(got->images.train, 2);
  EXPECT_EQ(got->images.validation, 1);
  EXPECT_EQ(got->images.test, 1);
  auto items = store.Items("flowers", "v1");
  ASSERT_TRUE(items.ok()) << items.status();
  ASSERT_EQ(items->size(), 2u);
  EXPECT_EQ((*items)[0].labels, std::vector<int>{0});
  EXPECT_EQ((*items)[1].labels, std::vector<int>{1});
}

TEST_F(DatasetStoreTest, LastCommitIsTheNewest) {
  Commit("flowers", "v1");
  Commit("flowers", "v2");
  DatasetStore store(db_.get());
  EXPECT_EQ(store.Get("flowers", "")->version, "v2");
}

TEST_F(DatasetStoreTest, CommittingAKnownVersionMakesItNewestAndKeepsIt) {
  Commit("flowers", "v1");
  const absl::Time first = clock_.Now();
  Commit("flowers", "v2");
  clock_.Advance(absl::Hours(1));
  DatasetStore store(db_.get());
  auto again = store.Commit(Version("flowers", "v1"), {});
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->create_time, first);
  EXPECT_EQ(store.Get("flowers", "")->version, "v1");
  EXPECT_EQ(store.Items("flowers", "v1")->size(), 2u);
}

TEST_F(DatasetStoreTest, UnknownDatasetIsNotFound) {
  DatasetStore store(db_.get());
  EXPECT_EQ(store.Get("none", "").status(),
            absl::NotFoundError("dataset: got \"none\", want one of the uploaded ones"));
  EXPECT_EQ(store.Items("none", "v1").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(store.Delete("none", "").code(), absl::StatusCode::kNotFound);
}

TEST_F(DatasetStoreTest, UnknownVersionIsNotFoundAndSaysSo) {
  Commit("flowers", "v1");
  DatasetStore store(db_.get());
  const absl::Status status = store.Get("flowers", "v2").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(absl::StartsWith(status.message(), "dataset version: got \"v2\"")) << status;
  EXPECT_EQ(store.Items("flowers", "v2").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(store.Delete("flowers", "v2").code(), absl::StatusCode::kNotFound);
}

TEST_F(DatasetStoreTest, ListWalksTheNewestVersionsByName) {
  for (const char* name : {"c", "a", "e", "b", "d"}) {
    Commit(name, "old");
    Commit(name, "new");
  }
  DatasetStore store(db_.get());
  std::string seen;
  PageRequest request{2, ""};
  do {
    auto page = store.List(request);
    ASSERT_TRUE(page.ok()) << page.status();
    for (const DatasetVersion& version : page->items) {
      EXPECT_EQ(version.version, "new");
      EXPECT_EQ(version.classes.size(), 2u);
      seen += version.name;
    }
    seen += "|";
    request.token = page->next_token;
  } while (!request.token.empty());
  EXPECT_EQ(seen, "ab|cd|e|");
}

TEST_F(DatasetStoreTest, AFullLastPageHasNoToken) {
  Commit("a", "v");
  Commit("b", "v");
  EXPECT_EQ(DatasetStore(db_.get()).List({2, ""})->next_token, "");
}

TEST_F(DatasetStoreTest, MalformedPageTokenIsInvalidArgument) {
  const absl::Status status = DatasetStore(db_.get()).List({2, "!"}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(absl::StartsWith(status.message(), "page_token: ")) << status;
}

TEST_F(DatasetStoreTest, DeletingAVersionKeepsTheOthers) {
  Commit("flowers", "v1");
  Commit("flowers", "v2");
  DatasetStore store(db_.get());
  ASSERT_TRUE(store.Delete("flowers", "v2").ok());
  EXPECT_EQ(store.Get("flowers", "")->version, "v1");
  EXPECT_EQ(*store.ReferencedImages(), (std::set<std::string>{"v11", "v12"}));
}

TEST_F(DatasetStoreTest, DeletingTheDatasetDeletesAllVersions) {
  Commit("flowers", "v1");
  Commit("flowers", "v2");
  Commit("cats", "v3");
  DatasetStore store(db_.get());
  ASSERT_TRUE(store.Delete("flowers", "").ok());
  EXPECT_EQ(store.Get("flowers", "").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(*store.ReferencedImages(), (std::set<std::string>{"v31", "v32"}));
}

TEST_F(DatasetStoreTest, DeletingWhatAJobUsesIsFailedPreconditionUntilItEnds) {
  Commit("flowers", "v1");
  Commit("flowers", "v2");
  auto jobs = Jobs();
  const std::string id = Queue(*jobs);  // uses v1
  DatasetStore store(db_.get());
  EXPECT_EQ(store.Delete("flowers", "v1").code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(store.Delete("flowers", "").code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(store.Delete("flowers", "v2").ok());
  ASSERT_TRUE(jobs->Lease("worker").ok());
  const absl::Status running = store.Delete("flowers", "v1");
  EXPECT_EQ(running.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(absl::StrContains(running.message(), id)) << running;
  ASSERT_TRUE(jobs->Finish(id, "worker", JobState::kFailed, "x", {}, {}).ok());
  EXPECT_TRUE(store.Delete("flowers", "v1").ok());
}

TEST_F(DatasetStoreTest, TenThousandItems) {
  std::vector<DatasetItem> items;
  for (int i = 0; i < 10'000; ++i) {
    items.push_back({absl::StrCat("image", i, ".jpg"), absl::StrCat("sha256:", i), {i % 2}, Split::kTrain, i});
  }
  DatasetStore store(db_.get());
  ASSERT_TRUE(store.Commit(Version("big", "v1"), items).ok());
  auto stored = store.Items("big", "v1");
  ASSERT_TRUE(stored.ok());
  ASSERT_EQ(stored->size(), items.size());
  for (size_t i = 0; i < items.size(); ++i) ASSERT_EQ((*stored)[i].file_name, items[i].file_name);
  EXPECT_EQ(store.ReferencedImages()->size(), items.size());
}

}  // namespace
}  // namespace graft

#include "server/store/database.h"

#include <filesystem>
#include <map>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/store/model_store.h"
#include "server/store/schema.h"
#include "server/store/sql.h"
#include "tests/server/store/old_database.h"
#include "tests/server/store/store_fixture.h"

namespace graft {
namespace {

class DatabaseTest : public StoreTest {
 protected:
  int64_t CountModels() {
    int64_t count = -1;
    EXPECT_TRUE(db_->Read("count", [&](soci::session& sql) {
                     count = SelectNumber(sql, "SELECT COUNT(*) FROM models");
                     return absl::OkStatus();
                   }).ok());
    return count;
  }
};

void InsertModel(soci::session& sql, const std::string& name) {
  Execute(sql, "INSERT INTO models (name, last_version) VALUES (:name, 1)", name);
}

TEST_F(DatabaseTest, WrongUrlIsInvalidArgumentAndKeepsThePasswordSecret) {
  for (const std::string url : {"", "graft.db", "sqlite3:", "sqlite3:a\"b", "mysql://user:secret@host/db"}) {
    const absl::Status status = Database::Open({url, 1}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << url;
    EXPECT_FALSE(absl::StrContains(status.message(), "secret")) << status;
  }
}

TEST_F(DatabaseTest, WrongConnectionsIsInvalidArgument) {
  EXPECT_EQ(Database::Open({url(), 0}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Database::Open({url(), 65}).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(DatabaseTest, MissingFolderIsInternal) {
  EXPECT_EQ(Database::Open({absl::StrCat("sqlite3:", directory_.path(), "/none/graft.db"), 1}).status().code(),
            absl::StatusCode::kInternal);
}

TEST_F(DatabaseTest, PathWithBlanksAndEqualsSigns) {
  const std::string path = directory_.path() + "/a  b = c.db";
  ASSERT_TRUE(Database::Open({"sqlite3:" + path, 2}).ok());
  EXPECT_TRUE(std::filesystem::exists(path));
}

TEST_F(DatabaseTest, NewerSchemaIsFailedPrecondition) {
  ASSERT_TRUE(db_->Write("fake upgrade", [&](soci::session& sql) {
                   Execute(sql, "UPDATE schema_version SET version = :v", SchemaVersion() + 1);
                   return absl::OkStatus();
                 }).ok());
  db_.reset();
  EXPECT_EQ(Database::Open({url(), 1}).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(DatabaseTest, ModelsOfSchema2KeepTheirVersionsAndAliases) {
  db_.reset();
  MakeOldDatabase(directory_.path() + "/graft.db", 2,
                  {"INSERT INTO models (name, last_version) VALUES ('flowers', 7)",
                   "INSERT INTO model_versions VALUES ('flowers', 7, 12, 'job-old', 'resnet18', 'sha256:b', 3,"
                   " 'sha256:c', 1234, 'set', 'v1', '', '')",
                   "INSERT INTO model_aliases VALUES ('flowers', 'default', 7)",
                   "INSERT INTO model_aliases VALUES ('flowers', 'canary', 7)"});
  Reopen();
  ModelStore models(db_.get());
  const auto model = models.Get("flowers");
  ASSERT_TRUE(model.ok()) << model.status();
  ASSERT_EQ(model->versions.size(), 1u);
  const ModelVersionRecord& version = model->versions[0];
  EXPECT_EQ(version.version, 7);
  EXPECT_EQ(version.create_time, absl::UnixEpoch() + absl::Microseconds(12));
  EXPECT_EQ(version.job_id, "job-old");
  EXPECT_EQ(version.checkpoint, CheckpointKind::kOnly);
  EXPECT_EQ(version.backbone, "resnet18");
  EXPECT_EQ(version.backbone_digest, "sha256:b");
  EXPECT_EQ(version.split_point, 3);
  EXPECT_EQ(version.checkpoint_digest, "sha256:c");
  EXPECT_EQ(version.checkpoint_bytes, 1234);
  EXPECT_EQ(version.dataset, "set");
  EXPECT_EQ(version.dataset_version, "v1");
  EXPECT_EQ(model->aliases, (std::map<std::string, int64_t>{{"canary", 7}, {"default", 7}}));
  const auto jobs = Jobs();
  EXPECT_EQ(TrainTwo(*jobs, "flowers").model_version, "flowers/9");
  EXPECT_EQ(db_->Write("orphan", [](soci::session& sql) {
                 Execute(sql, "UPDATE model_aliases SET version = 5 WHERE alias = 'canary'");
                 return absl::OkStatus();
               }).code(),
            absl::StatusCode::kInternal)
      << "aliases refer to the new table";
}

TEST_F(DatabaseTest, ConnectionsAreSetUp) {
  ASSERT_TRUE(db_->Read("settings", [&](soci::session& sql) {
                   EXPECT_EQ(SelectColumn<std::string>(sql, "PRAGMA journal_mode").at(0), "wal");
                   EXPECT_EQ(SelectNumber(sql, "PRAGMA synchronous"), 1);  // NORMAL
                   EXPECT_EQ(SelectNumber(sql, "PRAGMA foreign_keys"), 1);
                   EXPECT_EQ(SelectNumber(sql, "PRAGMA busy_timeout"), 10'000);
                   return absl::OkStatus();
                 }).ok());
}

TEST_F(DatabaseTest, CommittedWriteSurvivesReopening) {
  ASSERT_TRUE(db_->Write("insert", [](soci::session& sql) {
                   InsertModel(sql, "a");
                   return absl::OkStatus();
                 }).ok());
  Reopen();
  EXPECT_EQ(CountModels(), 1);
}

TEST_F(DatabaseTest, ErrorOfTheBodyRollsBackAndComesBack) {
  const absl::Status status = db_->Write("insert", [](soci::session& sql) {
    InsertModel(sql, "a");
    return absl::AbortedError("no");
  });
  EXPECT_EQ(status, absl::AbortedError("no"));
  EXPECT_EQ(CountModels(), 0);
}

TEST_F(DatabaseTest, SociErrorRollsBackAndIsInternalWithoutSql) {
  const absl::Status status = db_->Write("insert", [](soci::session& sql) {
    InsertModel(sql, "a");
    InsertModel(sql, "a");
    return absl::OkStatus();
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_TRUE(absl::StartsWith(status.message(), "insert: ")) << status;
  EXPECT_FALSE(absl::StrContains(status.message(), "INSERT INTO")) << status;
  EXPECT_EQ(CountModels(), 0);
}

TEST_F(DatabaseTest, ForeignKeysAreEnforced) {
  EXPECT_EQ(db_->Write("orphan", [](soci::session& sql) {
                 Execute(sql, "INSERT INTO model_aliases (model, alias, version) VALUES ('none', 'default', 1)");
                 return absl::OkStatus();
               }).code(),
            absl::StatusCode::kInternal);
}

TEST_F(DatabaseTest, FailuresDoNotUseUpTheConnections) {
  for (int i = 0; i < 20; ++i) {
    EXPECT_FALSE(db_->Write("wrong", [](soci::session& sql) {
                      Execute(sql, "SELEC 1");
                      return absl::OkStatus();
                    }).ok());
  }
  EXPECT_EQ(CountModels(), 0);
}

TEST_F(DatabaseTest, ReaderSeesOneSnapshotWhileAWriterCommits) {
  ASSERT_TRUE(db_->Read("snapshot", [&](soci::session& sql) {
                   const int64_t before = SelectNumber(sql, "SELECT COUNT(*) FROM models");
                   std::thread writer([&] {
                     EXPECT_TRUE(db_->Write("insert", [](soci::session& other) {
                                      InsertModel(other, "a");
                                      return absl::OkStatus();
                                    }).ok());
                   });
                   writer.join();
                   EXPECT_EQ(SelectNumber(sql, "SELECT COUNT(*) FROM models"), before);
                   return absl::OkStatus();
                 }).ok());
  EXPECT_EQ(CountModels(), 1);
}

// Two Database objects on one file stand for two processes: only SQLite's own locks are between them.
TEST_F(DatabaseTest, WritersOfTwoDatabasesLoseNoUpdate) {
  auto other = Database::Open({url(), 4});
  ASSERT_TRUE(other.ok()) << other.status();
  ASSERT_TRUE(db_->Write("insert", [](soci::session& sql) {
                   InsertModel(sql, "a");
                   return absl::OkStatus();
                 }).ok());
  const auto add = [](soci::session& sql) {
    const int64_t count = SelectNumber(sql, "SELECT last_version FROM models");
    Execute(sql, "UPDATE models SET last_version = :v", count + 1);
    return absl::OkStatus();
  };
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, db = t % 2 == 0 ? db_.get() : other->get()] {
      for (int i = 0; i < 25; ++i) EXPECT_TRUE(db->Write("add", add).ok());
    });
  }
  for (std::thread& thread : threads) thread.join();
  ASSERT_TRUE(db_->Read("check", [](soci::session& sql) {
                   EXPECT_EQ(SelectNumber(sql, "SELECT last_version FROM models"), 101);
                   return absl::OkStatus();
                 }).ok());
}

TEST_F(DatabaseTest, OpeningANewDatabaseFromManyThreadsMakesOneSchema) {
  const std::string fresh = absl::StrCat("sqlite3:", directory_.path(), "/fresh.db");
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      auto db = Database::Open({fresh, 2});
      EXPECT_TRUE(db.ok()) << db.status();
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace graft

#include "server/store/model_store.h"

#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "server/store/sql.h"
#include "soci/sqlite3/soci-sqlite3.h"
#include "tests/server/store/store_fixture.h"

namespace graft {
namespace {

class ModelStoreTest : public StoreTest {
 protected:
  ModelStoreTest() : jobs_(Jobs()), models_(db_.get()) {}
  std::vector<int64_t> Versions(const std::string& name) {
    std::vector<int64_t> versions;
    auto model = models_.Get(name);
    if (!model.ok()) return versions;
    for (const ModelVersionRecord& version : model->versions) versions.push_back(version.version);
    return versions;
  }

  std::unique_ptr<JobStore> jobs_;
  ModelStore models_;
};

TEST_F(ModelStoreTest, GetReturnsWhatFinishStored) {
  const JobRecord job = Train(*jobs_, "flowers");
  auto model = models_.Get("flowers");
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->name, "flowers");
  EXPECT_EQ(model->aliases, (std::map<std::string, int64_t>{{"default", 1}}));
  ASSERT_EQ(model->versions.size(), 1u);
  const ModelVersionRecord& version = model->versions[0];
  EXPECT_EQ(version.model, "flowers");
  EXPECT_EQ(version.version, 1);
  EXPECT_EQ(version.create_time, clock_.Now());
  EXPECT_EQ(version.job_id, job.id);
  EXPECT_EQ(version.checkpoint, CheckpointKind::kOnly);
  EXPECT_EQ(version.backbone, "resnet18");
  EXPECT_EQ(version.backbone_digest, "sha256:b");
  EXPECT_EQ(version.split_point, 3);
  EXPECT_EQ(version.checkpoint_digest, "sha256:c");
  EXPECT_EQ(version.checkpoint_bytes, 1234);
  EXPECT_EQ(version.dataset, "flowers");
  EXPECT_EQ(version.dataset_version, "v1");
  EXPECT_EQ(version.evaluation_pb, std::string("\0eval", 5));
  EXPECT_EQ(version.details_pb, "details");
}

TEST_F(ModelStoreTest, VersionsComeNewestFirst) {
  for (int i = 0; i < 3; ++i) Train(*jobs_, "flowers");
  EXPECT_EQ(Versions("flowers"), (std::vector<int64_t>{3, 2, 1}));
}

TEST_F(ModelStoreTest, UnknownModelIsNotFound) {
  EXPECT_EQ(models_.Get("none").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(models_.SetAlias("none", "canary", 1).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(models_.DeleteVersion("none", 1).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(ModelStoreTest, ResolveTakesNameAliasAndVersion) {
  for (int i = 0; i < 3; ++i) Train(*jobs_, "flowers");
  ASSERT_TRUE(models_.SetAlias("flowers", "canary", 2).ok());
  EXPECT_EQ(models_.Resolve("flowers")->version, 3);
  EXPECT_EQ(models_.Resolve("flowers@default")->version, 3);
  EXPECT_EQ(models_.Resolve("flowers@canary")->version, 2);
  EXPECT_EQ(models_.Resolve("flowers/1")->version, 1);
}

// What is kept in memory is never older than the last write, whoever wrote.
TEST_F(ModelStoreTest, ResolveSeesEveryChangeAtOnce) {
  ModelStore other(db_.get());
  Train(*jobs_, "flowers");
  EXPECT_EQ(models_.Resolve("flowers")->version, 1);
  EXPECT_EQ(models_.Resolve("flowers")->version, 1);
  Train(*jobs_, "flowers");
  EXPECT_EQ(models_.Resolve("flowers")->version, 2);
  ASSERT_TRUE(other.SetAlias("flowers", "default", 1).ok());
  EXPECT_EQ(models_.Resolve("flowers")->version, 1);
  EXPECT_EQ(models_.Resolve("flowers/2")->version, 2);
  ASSERT_TRUE(other.DeleteVersion("flowers", 2).ok());
  EXPECT_EQ(models_.Resolve("flowers/2").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(models_.Resolve("flowers")->version, 1);
}

// Another connection's change, which no Write() tells of, shows that the database is not asked each time.
TEST_F(ModelStoreTest, ResolveAsksTheDatabaseOnceForEachChange) {
  Train(*jobs_, "flowers");
  EXPECT_EQ(models_.Resolve("flowers")->backbone, "resnet18");
  soci::session sql(*soci::factory_sqlite3(), directory_.path() + "/graft.db");
  Execute(sql, "UPDATE model_versions SET backbone = 'resnet50'");
  EXPECT_EQ(models_.Resolve("flowers")->backbone, "resnet18");
  EXPECT_EQ(models_.Resolve("flowers/1")->backbone, "resnet50") << "a reference that was not asked for before";
  ASSERT_TRUE(models_.SetAlias("flowers", "canary", 1).ok());
  EXPECT_EQ(models_.Resolve("flowers")->backbone, "resnet50");
}

TEST_F(ModelStoreTest, ResolveReadsNoEvaluation) {
  Train(*jobs_, "flowers");
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(models_.Resolve("flowers")->evaluation_pb, "");
    EXPECT_EQ(models_.Resolve("flowers")->details_pb, "");
  }
}

TEST_F(ModelStoreTest, MalformedReferenceIsInvalidArgument) {
  Train(*jobs_, "flowers");
  for (const std::string reference :
       {"", "Flowers", "-flowers", "flowers/", "flowers/0", "flowers/01", "flowers/-1", "flowers/+1", "flowers/ 1",
        "flowers/1x", "flowers/99999999999999999999", "flowers@", "flowers@A", "flowers@a@b", "flowers/1/2",
        "flowers@a/1", "/1", "@a", "a b", "../x"}) {
    EXPECT_EQ(models_.Resolve(reference).status().code(), absl::StatusCode::kInvalidArgument) << reference;
  }
  EXPECT_EQ(models_.Resolve(std::string(65, 'a')).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(models_.Resolve(std::string(64, 'a')).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(models_.Resolve("A").status().message(), "model: got \"A\", want name, name@alias or name/version");
}

TEST_F(ModelStoreTest, ResolveSaysWhichPartIsNotFound) {
  Train(*jobs_, "flowers");
  const absl::Status model = models_.Resolve("none@canary").status();
  const absl::Status alias = models_.Resolve("flowers@canary").status();
  const absl::Status version = models_.Resolve("flowers/2").status();
  for (const absl::Status& status : {model, alias, version}) EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(absl::StartsWith(model.message(), "model: got \"none\"")) << model;
  EXPECT_TRUE(absl::StartsWith(alias.message(), "alias: got \"canary\"")) << alias;
  EXPECT_TRUE(absl::StartsWith(version.message(), "version: got 2")) << version;
}

TEST_F(ModelStoreTest, AliasMovesAndGoes) {
  Train(*jobs_, "flowers");
  Train(*jobs_, "flowers");
  EXPECT_EQ(models_.SetAlias("flowers", "canary", 1)->aliases.at("canary"), 1);
  EXPECT_EQ(models_.SetAlias("flowers", "canary", 2)->aliases.at("canary"), 2);
  EXPECT_EQ(models_.SetAlias("flowers", "default", 1)->aliases.at("default"), 1);
  EXPECT_EQ(models_.Resolve("flowers")->version, 1);
  EXPECT_EQ(models_.SetAlias("flowers", "canary", 0)->aliases.count("canary"), 0u);
  EXPECT_EQ(models_.Get("flowers")->aliases, (std::map<std::string, int64_t>{{"default", 1}}));
}

TEST_F(ModelStoreTest, AliasOfAnUnknownVersionIsNotFound) {
  Train(*jobs_, "flowers");
  EXPECT_EQ(models_.SetAlias("flowers", "canary", 2).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(ModelStoreTest, RemovingDefaultIsInvalidArgument) {
  Train(*jobs_, "flowers");
  EXPECT_EQ(models_.SetAlias("flowers", "default", 0).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(ModelStoreTest, MalformedAliasIsInvalidArgument) {
  Train(*jobs_, "flowers");
  for (const std::string alias : {"", "1a", "A", "a/b"}) {
    EXPECT_EQ(models_.SetAlias("flowers", alias, 1).status().code(), absl::StatusCode::kInvalidArgument) << alias;
  }
}

TEST_F(ModelStoreTest, DeletingAnAliasedVersionIsFailedPreconditionAndNamesTheAlias) {
  Train(*jobs_, "flowers");
  Train(*jobs_, "flowers");
  ASSERT_TRUE(models_.SetAlias("flowers", "canary", 1).ok());
  const absl::Status canary = models_.DeleteVersion("flowers", 1).status();
  EXPECT_EQ(canary.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(absl::StrContains(canary.message(), "\"canary\"")) << canary;
  const absl::Status current = models_.DeleteVersion("flowers", 2).status();
  EXPECT_EQ(current.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(absl::StrContains(current.message(), "\"default\"")) << current;
  EXPECT_EQ(models_.DeleteVersion("flowers", 3).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(ModelStoreTest, DeletedVersionNumberIsNeverUsedAgain) {
  Train(*jobs_, "flowers");
  Train(*jobs_, "flowers");
  ASSERT_TRUE(models_.SetAlias("flowers", "default", 1).ok());
  auto left = models_.DeleteVersion("flowers", 2);
  ASSERT_TRUE(left.ok()) << left.status();
  EXPECT_EQ(left->versions.size(), 1u);
  EXPECT_EQ(Train(*jobs_, "flowers").model_version, "flowers/3");
}

TEST_F(ModelStoreTest, ModelGoesWithItsLastVersionButItsCountStays) {
  Train(*jobs_, "flowers");
  auto left = models_.DeleteVersion("flowers", 1);
  ASSERT_TRUE(left.ok()) << left.status();
  EXPECT_TRUE(left->versions.empty());
  EXPECT_TRUE(left->aliases.empty());
  EXPECT_EQ(models_.Get("flowers").status().code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(models_.List({10, ""})->items.empty());
  EXPECT_EQ(Train(*jobs_, "flowers").model_version, "flowers/2");
}

TEST_F(ModelStoreTest, AnotherAliasProtectsTheOnlyVersion) {
  Train(*jobs_, "flowers");
  ASSERT_TRUE(models_.SetAlias("flowers", "canary", 1).ok());
  EXPECT_EQ(models_.DeleteVersion("flowers", 1).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(ModelStoreTest, ListWalksByName) {
  for (const char* name : {"c", "a", "d", "b"}) Train(*jobs_, name);
  std::string seen;
  PageRequest request{3, ""};
  do {
    auto page = models_.List(request);
    ASSERT_TRUE(page.ok()) << page.status();
    for (const ModelRecord& model : page->items) seen += model.name;
    seen += "|";
    request.token = page->next_token;
  } while (!request.token.empty());
  EXPECT_EQ(seen, "abc|d|");
}

TEST_F(ModelStoreTest, MalformedPageTokenIsInvalidArgument) {
  EXPECT_EQ(models_.List({2, "?"}).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(ModelStoreTest, TheVersionsOfAJobAreDeletedEachOnItsOwn) {
  TrainTwo(*jobs_, "flowers");
  EXPECT_EQ(models_.DeleteVersion("flowers", 2).status().code(), absl::StatusCode::kFailedPrecondition)
      << "the best, at which \"default\" points";
  ASSERT_TRUE(models_.DeleteVersion("flowers", 1).ok());
  EXPECT_EQ(Versions("flowers"), (std::vector<int64_t>{2}));
  EXPECT_EQ(*models_.ReferencedCheckpoints(), (std::set<std::string>{"sha256:best"}));
  TrainTwo(*jobs_, "flowers");
  ASSERT_TRUE(models_.SetAlias("flowers", "default", 3).ok()) << "the last epoch's can be served as well";
  ASSERT_TRUE(models_.DeleteVersion("flowers", 4).ok());
  EXPECT_EQ(models_.Resolve("flowers")->checkpoint, CheckpointKind::kLast);
  EXPECT_EQ(*models_.ReferencedCheckpoints(), (std::set<std::string>{"sha256:best", "sha256:last"}));
}

TEST_F(ModelStoreTest, ReferencedCheckpointsAreThoseOfTheVersions) {
  Train(*jobs_, "a", "sha256:1");
  Train(*jobs_, "b", "sha256:1");
  Train(*jobs_, "c", "sha256:2");
  Train(*jobs_, "d", "sha256:3");
  ASSERT_TRUE(models_.DeleteVersion("d", 1).ok());
  EXPECT_EQ(*models_.ReferencedCheckpoints(), (std::set<std::string>{"sha256:1", "sha256:2"}));
}

}  // namespace
}  // namespace graft

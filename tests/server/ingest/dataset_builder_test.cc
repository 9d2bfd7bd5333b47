#include "server/ingest/dataset_builder.h"

#include <cmath>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/ingest/ingest_fixture.h"
#include "tests/server/ingest/test_archives.h"

namespace graft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

class DatasetBuilderTest : public IngestTest {
 protected:
  DatasetBuilder::Verdict Add(DatasetBuilder& builder, uint32_t seed, const std::string& label,
                              const std::string& file_name, Split split = Split::kUnspecified) {
    auto verdict = builder.Add(Bmp(seed), {label}, split, file_name);
    GRAFT_CHECK(verdict.ok());
    return *std::move(verdict);
  }
  // Pictures first..first+n-1 with one label.
  void AddMany(DatasetBuilder& builder, uint32_t first, int n, const std::string& label) {
    for (uint32_t i = first; i < first + n; ++i) Add(builder, i, label, absl::StrCat(label, "/", i, ".bmp"));
  }
  IngestResult Commit(DatasetBuilder& builder) {
    auto result = builder.Commit();
    EXPECT_TRUE(result.ok()) << result.status();
    GRAFT_CHECK(result.ok());
    return *std::move(result);
  }
  absl::Status CreateStatus(const std::string& name, double fraction) {
    return DatasetBuilder::Create({name, {fraction, 0}, std::nullopt}, limits_, &blobs_, datasets_.get()).status();
  }
};

TEST_F(DatasetBuilderTest, BadNameIsInvalidArgument) {
  EXPECT_EQ(CreateStatus("Flowers", 0.2).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(CreateStatus("Flowers", 0.2).message()), HasSubstr("name: got \"Flowers\""));
}

TEST_F(DatasetBuilderTest, BadFractionIsInvalidArgument) {
  for (const double fraction : {0.0, -0.1, 0.91, std::nan("")})
    EXPECT_THAT(std::string(CreateStatus("flowers", fraction).message()), HasSubstr("validation_fraction: got"));
  EXPECT_TRUE(CreateStatus("flowers", 0.9).ok());
}

TEST_F(DatasetBuilderTest, BadLimitsAreInvalidArgument) {
  limits_.max_images = 0;
  EXPECT_EQ(CreateStatus("flowers", 0.2).message(), "max_images: got 0, want > 0");
}

TEST_F(DatasetBuilderTest, StoresTheBytesUnderTheirDigest) {
  auto builder = Builder();
  const auto verdict = Add(*builder, 1, "cats", "a.bmp");
  EXPECT_TRUE(verdict.accepted);
  EXPECT_FALSE(verdict.duplicate);
  auto stored = blobs_.Get(verdict.image_digest);
  ASSERT_TRUE(stored.ok());
  EXPECT_EQ(*stored, Bmp(1));
}

TEST_F(DatasetBuilderTest, DamagedPictureIsRejectedAndReported) {
  auto builder = Builder();
  AddMany(*builder, 0, 2, "cats");
  AddMany(*builder, 10, 2, "dogs");
  auto verdict = builder->Add("GIF89a", {"cats"}, Split::kUnspecified, "x.gif");
  ASSERT_TRUE(verdict.ok());
  EXPECT_FALSE(verdict->accepted);
  EXPECT_FALSE(verdict->reason.empty());
  const IngestResult result = Commit(*builder);
  ASSERT_EQ(result.rejected.size(), 1u);
  EXPECT_EQ(result.rejected[0].file_name, "x.gif");
  EXPECT_EQ(result.rejected[0].reason, verdict->reason);
  EXPECT_EQ(result.version.image_count, 4);
  EXPECT_EQ(blobs_.puts(), 4);
}

TEST_F(DatasetBuilderTest, RejectionsAreCountedBeyondTheList) {
  limits_.max_listed_rejections = 2;
  auto builder = Builder();
  AddMany(*builder, 0, 2, "cats");
  AddMany(*builder, 10, 2, "dogs");
  for (int i = 0; i < 5; ++i) builder->Reject(absl::StrCat(i), "a reason");
  const IngestResult result = Commit(*builder);
  EXPECT_EQ(result.rejected.size(), 2u);
  EXPECT_EQ(result.rejected_count, 5);
}

TEST_F(DatasetBuilderTest, FileNamesThatAreNoTextAreEscaped) {
  auto builder = Builder();
  Add(*builder, 1, "cats", "caf\xE9\n.bmp");
  AddMany(*builder, 10, 2, "dogs");
  builder->Reject("\xFF", "a reason");
  const IngestResult result = Commit(*builder);
  EXPECT_EQ(Contents(result.version).count("caf\\xe9\\n.bmp"), 1u);
  EXPECT_EQ(result.rejected[0].file_name, "\\xff");
}

TEST_F(DatasetBuilderTest, OverlongFileNameIsRejected) {
  auto builder = Builder();
  const auto verdict = Add(*builder, 1, "cats", std::string(1025, 'a'));
  EXPECT_EQ(verdict.reason, "file_name: got 1025 bytes, want at most 1024");
}

TEST_F(DatasetBuilderTest, BadLabelIsInvalidArgument) {
  auto builder = Builder();
  for (const std::string& label : {std::string(), std::string(129, 'a'), std::string("a\nb"), std::string("\xFF")}) {
    const absl::Status status = builder->Add(Bmp(1), {label}, Split::kTrain, "a.bmp").status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << label;
    EXPECT_THAT(std::string(status.message()), HasSubstr("label: got"));
  }
  EXPECT_TRUE(builder->Add(Bmp(1), {std::string(126, 'a') + "\xC3\xA9"}, Split::kTrain, "a.bmp").ok());
}

TEST_F(DatasetBuilderTest, OnePictureTooManyIsInvalidArgument) {
  limits_.max_images = 2;
  auto builder = Builder();
  AddMany(*builder, 0, 2, "cats");
  Add(*builder, 0, "cats", "again.bmp");  // not one more picture
  const absl::Status status = builder->Add(Bmp(2), {"cats"}, Split::kUnspecified, "c.bmp").status();
  EXPECT_EQ(status.message(), "dataset: got more than 2 pictures, want at most that many");
}

TEST_F(DatasetBuilderTest, BadPicturesCannotBeOfferedForEver) {
  limits_.max_images = 1;
  auto builder = Builder();
  absl::Status status;
  int offered = 0;
  for (; status.ok() && offered < 20'000; ++offered)
    status = builder->Add(absl::StrCat(offered), {"cats"}, Split::kUnspecified, "a").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(offered, limits_.max_entries() + 1);
}

TEST_F(DatasetBuilderTest, TooManyBytesAreInvalidArgument) {
  limits_.max_total_bytes = static_cast<int64_t>(2 * Bmp(0).size());
  auto builder = Builder();
  AddMany(*builder, 0, 2, "cats");
  EXPECT_EQ(builder->Add(Bmp(2), {"cats"}, Split::kUnspecified, "c").status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(DatasetBuilderTest, OneClassTooManyIsInvalidArgument) {
  limits_.max_classes = 2;
  auto builder = Builder();
  AddMany(*builder, 0, 1, "cats");
  AddMany(*builder, 1, 1, "dogs");
  EXPECT_EQ(builder->Add(Bmp(2), {"mice"}, Split::kUnspecified, "c").status().message(),
            "dataset: got more than 2 classes, want at most that many");
}

TEST_F(DatasetBuilderTest, BlobStoreFailurePassesThroughAndCanBeRetried) {
  auto builder = Builder();
  blobs_.FailPuts(absl::ResourceExhaustedError("disk full"));
  EXPECT_EQ(builder->Add(Bmp(1), {"cats"}, Split::kTrain, "a").status(), absl::ResourceExhaustedError("disk full"));
  blobs_.FailPuts(absl::OkStatus());
  const auto verdict = Add(*builder, 1, "cats", "a");
  EXPECT_TRUE(verdict.accepted);
  EXPECT_FALSE(verdict.duplicate);
  EXPECT_TRUE(blobs_.Get(verdict.image_digest).ok());
}

TEST_F(DatasetBuilderTest, SameBytesAreStoredAndCountedOnce) {
  ASSERT_TRUE(blobs_.Put(Bmp(10)).ok());  // from an earlier import
  auto builder = Builder();
  AddMany(*builder, 0, 2, "cats");
  EXPECT_TRUE(Add(*builder, 10, "dogs", "d.bmp").duplicate);
  const auto again = Add(*builder, 0, "cats", "cats/again.bmp");
  EXPECT_TRUE(again.accepted);
  EXPECT_TRUE(again.duplicate);
  const IngestResult result = Commit(*builder);
  EXPECT_EQ(result.version.image_count, 3);
  EXPECT_EQ(result.version.bytes, static_cast<int64_t>(3 * Bmp(0).size()));
  EXPECT_EQ(result.duplicate_count, 2);
  EXPECT_EQ(result.rejected_count, 0);
}

TEST_F(DatasetBuilderTest, SameBytesWithAnotherLabelAreRejected) {
  auto builder = Builder();
  Add(*builder, 1, "cats", "cats/1.bmp");
  const auto verdict = Add(*builder, 1, "dogs", "dogs/1.bmp");
  EXPECT_FALSE(verdict.accepted);
  EXPECT_EQ(verdict.reason, "label: got \"dogs\" for the same picture as \"cats/1.bmp\", which is \"cats\"");
}

TEST_F(DatasetBuilderTest, SameBytesInAnotherSplitAreRejected) {
  auto builder = Builder();
  Add(*builder, 1, "cats", "train/1.bmp", Split::kTrain);
  EXPECT_TRUE(Add(*builder, 1, "cats", "1.bmp").accepted);  // names no split
  const auto verdict = Add(*builder, 1, "cats", "val/1.bmp", Split::kValidation);
  EXPECT_FALSE(verdict.accepted);
  EXPECT_EQ(verdict.reason, "split: got validation for the same picture as \"1.bmp\", which is in train");
}

TEST_F(DatasetBuilderTest, CommitWantsTwoClasses) {
  auto builder = Builder();
  EXPECT_EQ(builder->Commit().status().message(), "dataset: got 0 classes with pictures, want at least 2");
  AddMany(*builder, 0, 3, "cats");
  const absl::Status status = builder->Commit().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "dataset: got 1 classes with pictures (\"cats\"), want at least 2");
}

TEST_F(DatasetBuilderTest, CommitWantsTrainingPicturesOfEachClass) {
  auto builder = Builder();
  Add(*builder, 1, "cats", "1", Split::kTrain);
  Add(*builder, 2, "dogs", "2", Split::kValidation);
  EXPECT_EQ(builder->Commit().status().message(), "dataset: class \"dogs\": got 0 training pictures, want at least 1");
}

TEST_F(DatasetBuilderTest, CommitWantsAValidationPicture) {
  auto builder = Builder();
  AddMany(*builder, 0, 1, "cats");
  AddMany(*builder, 10, 1, "dogs");
  Add(*builder, 20, "dogs", "20", Split::kTest);
  const absl::Status status = builder->Commit().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "validation: got no pictures, want at least one: give a class two pictures or more");
  AddMany(*builder, 11, 1, "dogs");
  EXPECT_EQ(Commit(*builder).version.classes[1].validation, 1);
}

TEST_F(DatasetBuilderTest, NothingIsVisibleBeforeCommit) {
  auto builder = Builder();
  AddMany(*builder, 0, 2, "cats");
  AddMany(*builder, 10, 2, "dogs");
  EXPECT_EQ(datasets_->Get("flowers", "").status().code(), absl::StatusCode::kNotFound);
  const IngestResult result = Commit(*builder);
  auto stored = datasets_->Get("flowers", "");
  ASSERT_TRUE(stored.ok());
  EXPECT_EQ(stored->version, result.version.version);
}

TEST_F(DatasetBuilderTest, ServerSplitIsStratified) {
  auto builder = Builder({0.25, 7});
  AddMany(*builder, 0, 10, "cats");    // round(2.5) = 3
  AddMany(*builder, 100, 2, "dogs");   // round(0.5) = 1
  AddMany(*builder, 200, 1, "mice");   // one picture: training
  AddMany(*builder, 300, 40, "owls");
  const IngestResult result = Commit(*builder);
  EXPECT_TRUE(result.version.split_by_server);
  std::vector<std::string> counts;
  for (const ClassCount& count : result.version.classes)
    counts.push_back(absl::StrCat(count.name, " ", count.train, " ", count.validation, " ", count.test));
  EXPECT_THAT(counts, ElementsAre("cats 7 3 0", "dogs 1 1 0", "mice 1 0 0", "owls 30 10 0"));
}

TEST_F(DatasetBuilderTest, LargeFractionLeavesATrainingPicture) {
  auto builder = Builder({0.9, 0});
  AddMany(*builder, 0, 2, "cats");
  AddMany(*builder, 10, 3, "dogs");
  const IngestResult result = Commit(*builder);
  EXPECT_EQ(result.version.classes[0].train, 1);
  EXPECT_EQ(result.version.classes[1].train, 1);
}

TEST_F(DatasetBuilderTest, OrderDoesNotChangeTheVersion) {
  auto one = Builder();
  AddMany(*one, 0, 10, "cats");
  AddMany(*one, 100, 10, "dogs");
  Add(*one, 5, "cats", "cats/0.bmp");  // same bytes under a smaller name
  auto other = Builder();
  Add(*other, 5, "cats", "cats/0.bmp");
  for (int i = 9; i >= 0; --i) {
    AddMany(*other, 100 + i, 1, "dogs");
    AddMany(*other, i, 1, "cats");
  }
  EXPECT_EQ(Commit(*one).version.version, Commit(*other).version.version);
}

TEST_F(DatasetBuilderTest, LabelsSplitsAndFileNamesChangeTheVersion) {
  std::set<std::string> versions;
  const auto version_of = [&](const std::string& label, const std::string& file_name, Split split, uint64_t seed) {
    auto builder = Builder({0.5, seed});
    AddMany(*builder, 10, 12, "dogs");
    AddMany(*builder, 50, 12, "cats");
    Add(*builder, 1, label, file_name, split);
    versions.insert(Commit(*builder).version.version);
  };
  version_of("cats", "1.bmp", Split::kUnspecified, 0);
  version_of("mice", "1.bmp", Split::kUnspecified, 0);
  version_of("cats", "2.bmp", Split::kUnspecified, 0);
  version_of("cats", "1.bmp", Split::kValidation, 0);
  version_of("cats", "1.bmp", Split::kUnspecified, 1);
  EXPECT_EQ(versions.size(), 5u);
  version_of("cats", "1.bmp", Split::kUnspecified, 0);
  EXPECT_EQ(versions.size(), 5u);
}

TEST_F(DatasetBuilderTest, GivenSplitsStayAndTheRestIsTraining) {
  auto builder = Builder();
  Add(*builder, 1, "cats", "1", Split::kTrain);
  Add(*builder, 2, "cats", "2", Split::kValidation);
  Add(*builder, 3, "dogs", "3");
  Add(*builder, 4, "dogs", "4", Split::kTest);
  const IngestResult result = Commit(*builder);
  EXPECT_FALSE(result.version.split_by_server);
  EXPECT_FALSE(result.version.multi_label);
  EXPECT_EQ(result.version.images.train, 2);
  EXPECT_EQ(result.version.images.validation, 1);
  EXPECT_EQ(result.version.images.test, 1);
  EXPECT_THAT(Contents(result.version), ElementsAre(Pair("1", "cats/train"), Pair("2", "cats/validation"),
                                                    Pair("3", "dogs/train"), Pair("4", "dogs/test")));
}

TEST_F(DatasetBuilderTest, MissingValidationIsTakenFromTraining) {
  auto builder = Builder();
  for (uint32_t i = 0; i < 10; ++i) {
    Add(*builder, i, "cats", absl::StrCat("c", i), Split::kTrain);
    Add(*builder, 100 + i, "dogs", absl::StrCat("d", i), i < 5 ? Split::kTest : Split::kTrain);
  }
  const IngestResult result = Commit(*builder);
  EXPECT_TRUE(result.version.split_by_server);
  EXPECT_EQ(result.version.classes[0].validation, 2);
  EXPECT_EQ(result.version.classes[1].validation, 1);
  EXPECT_EQ(result.version.classes[1].test, 5);
}

TEST_F(DatasetBuilderTest, StartFromAddsToAVersion) {
  auto first = Builder();
  AddMany(*first, 0, 10, "cats");
  AddMany(*first, 100, 10, "dogs");
  const std::string base = Commit(*first).version.version;
  auto second = Builder();
  ASSERT_TRUE(second->StartFrom("latest").ok());
  AddMany(*second, 200, 10, "owls");
  EXPECT_TRUE(Add(*second, 0, "cats", "cats/0.bmp").duplicate);
  EXPECT_FALSE(Add(*second, 0, "dogs", "dogs/0.bmp").accepted);
  const IngestResult grown = Commit(*second);
  EXPECT_EQ(grown.version.image_count, 30);
  EXPECT_TRUE(grown.version.split_by_server);

  auto whole = Builder();
  AddMany(*whole, 0, 10, "cats");
  AddMany(*whole, 100, 10, "dogs");
  AddMany(*whole, 200, 10, "owls");
  EXPECT_EQ(Commit(*whole).version.version, grown.version.version);  // as if uploaded at once

  auto third = Builder();
  ASSERT_TRUE(third->StartFrom(base).ok());
  EXPECT_EQ(Commit(*third).version.version, base);
}

TEST_F(DatasetBuilderTest, StartFromKeepsGivenSplits) {
  auto first = Builder();
  Add(*first, 1, "cats", "1", Split::kTrain);
  Add(*first, 2, "dogs", "2", Split::kTrain);
  Add(*first, 3, "dogs", "3", Split::kValidation);
  Commit(*first);
  auto second = Builder();
  ASSERT_TRUE(second->StartFrom("latest").ok());
  Add(*second, 4, "cats", "4");
  EXPECT_THAT(Contents(Commit(*second).version), ElementsAre(Pair("1", "cats/train"), Pair("2", "dogs/train"),
                                                             Pair("3", "dogs/validation"), Pair("4", "cats/train")));
}

TEST_F(DatasetBuilderTest, StartFromAnUnknownVersionIsNotFound) {
  EXPECT_EQ(Builder()->StartFrom("latest").code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace graft

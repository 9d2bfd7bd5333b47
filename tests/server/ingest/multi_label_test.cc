// Multi-label datasets, from pictures or an archive to the stored version.

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/ingest/archive_import.h"
#include "server/ingest/dataset_builder.h"
#include "server/ingest/names.h"
#include "tests/server/ingest/ingest_fixture.h"
#include "tests/server/ingest/test_archives.h"

namespace graft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

using Labels = std::vector<std::string>;

class MultiLabelTest : public IngestTest {
 protected:
  std::unique_ptr<DatasetBuilder> MultiLabelBuilder(SplitOptions split = {}) { return Builder(split, true); }
  DatasetBuilder::Verdict Add(DatasetBuilder& builder, uint32_t seed, const Labels& labels,
                              const std::string& file_name, Split split = Split::kUnspecified) {
    auto verdict = builder.Add(Bmp(seed), labels, split, file_name);
    EXPECT_TRUE(verdict.ok()) << verdict.status();
    GRAFT_CHECK(verdict.ok());
    return *std::move(verdict);
  }
  DatasetVersion Commit(DatasetBuilder& builder) {
    auto result = builder.Commit();
    EXPECT_TRUE(result.ok()) << result.status();
    GRAFT_CHECK(result.ok());
    return result->version;
  }
  static std::vector<std::string> Counts(const DatasetVersion& version) {
    std::vector<std::string> counts;
    for (const ClassCount& count : version.classes)
      counts.push_back(absl::StrCat(count.name, " ", count.train, " ", count.validation, " ", count.test));
    return counts;
  }
  absl::Status ImportStatus(const std::vector<TestEntry>& entries, std::optional<bool> multi_label, IngestResult* out) {
    const auto builder = Builder({}, multi_label);
    RETURN_IF_ERROR(ImportArchive(InPieces(Pack(Packing::kZip, entries)), limits_, builder.get()));
    ASSIGN_OR_RETURN(*out, builder->Commit());
    return absl::OkStatus();
  }
  IngestResult Import(const std::vector<TestEntry>& entries, std::optional<bool> multi_label = std::nullopt) {
    IngestResult result;
    const absl::Status status = ImportStatus(entries, multi_label, &result);
    EXPECT_TRUE(status.ok()) << status;
    return result;
  }
};

TEST_F(MultiLabelTest, APictureHasAnyNumberOfClasses) {
  auto builder = MultiLabelBuilder();
  Add(*builder, 1, {"dog", "cat"}, "1", Split::kTrain);
  Add(*builder, 2, {}, "2", Split::kTrain);
  Add(*builder, 3, {"cat", "cat"}, "3", Split::kValidation);
  Add(*builder, 4, {"dog"}, "4", Split::kTest);
  const DatasetVersion version = Commit(*builder);
  EXPECT_TRUE(version.multi_label);
  EXPECT_EQ(version.image_count, 4);
  EXPECT_EQ(version.images.train, 2);
  EXPECT_EQ(version.images.validation, 1);
  EXPECT_EQ(version.images.test, 1);
  EXPECT_THAT(Counts(version), ElementsAre("cat 1 1 0", "dog 1 0 1"));  // a picture counts for each of its classes
  EXPECT_THAT(Contents(version), ElementsAre(Pair("1", "cat+dog/train"), Pair("2", "/train"),
                                             Pair("3", "cat/validation"), Pair("4", "dog/test")));
}

TEST_F(MultiLabelTest, SameBytesAddTheirClasses) {
  auto builder = MultiLabelBuilder();
  Add(*builder, 1, {"dog"}, "dog/1", Split::kTrain);
  EXPECT_TRUE(Add(*builder, 1, {"cat"}, "cat/1").accepted);
  EXPECT_TRUE(Add(*builder, 1, {}, "none/1").accepted);
  Add(*builder, 2, {"cat"}, "2", Split::kValidation);
  EXPECT_THAT(Contents(Commit(*builder)), ElementsAre(Pair("2", "cat/validation"), Pair("cat/1", "cat+dog/train")));
}

TEST_F(MultiLabelTest, SameBytesInAnotherSplitAreRejectedWithTheirClasses) {
  auto builder = MultiLabelBuilder();
  Add(*builder, 1, {"cat"}, "1", Split::kTrain);
  const auto verdict = Add(*builder, 1, {"dog"}, "again", Split::kValidation);
  EXPECT_EQ(verdict.reason, "split: got validation for the same picture as \"1\", which is in train");
  Add(*builder, 2, {"cat"}, "2", Split::kValidation);
  EXPECT_THAT(Counts(Commit(*builder)), ElementsAre("cat 1 1 0"));
}

TEST_F(MultiLabelTest, OneClassIsEnough) {
  auto builder = MultiLabelBuilder();
  Add(*builder, 1, {"cat"}, "1");
  Add(*builder, 2, {"cat"}, "2");
  EXPECT_THAT(Counts(Commit(*builder)), ElementsAre("cat 1 1 0"));
}

TEST_F(MultiLabelTest, NoClassIsInvalidArgument) {
  auto builder = MultiLabelBuilder();
  Add(*builder, 1, {}, "1");
  Add(*builder, 2, {}, "2");
  const absl::Status status = builder->Commit().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "dataset: got 0 classes with pictures, want at least 1");
}

TEST_F(MultiLabelTest, ClassWithoutTrainingPicturesIsInvalidArgument) {
  auto builder = MultiLabelBuilder();
  Add(*builder, 1, {"cat"}, "1", Split::kTrain);
  Add(*builder, 2, {"cat", "dog"}, "2", Split::kValidation);
  EXPECT_EQ(builder->Commit().status().message(), "dataset: class \"dog\": got 0 training pictures, want at least 1");
}

TEST_F(MultiLabelTest, NoPictureToSpareForValidationIsInvalidArgument) {
  auto builder = MultiLabelBuilder();
  Add(*builder, 1, {"cat", "a"}, "1");
  Add(*builder, 2, {"cat", "b"}, "2");
  EXPECT_EQ(builder->Commit().status().message(),
            "validation: got no pictures, want at least one: no class can spare one, add pictures");
}

TEST_F(MultiLabelTest, TooManyClassesOfAPictureAreInvalidArgument) {
  Labels labels;
  for (size_t i = 0; i <= kMaxLabels; ++i) labels.push_back(absl::StrCat("class ", i));
  auto builder = MultiLabelBuilder();
  const absl::Status status = builder->Add(Bmp(1), labels, Split::kTrain, "1").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "labels: got more than 100 classes of one picture, want at most that many");
  labels.pop_back();
  EXPECT_TRUE(builder->Add(Bmp(1), labels, Split::kTrain, "1").ok());
  const absl::Status sum = builder->Add(Bmp(1), {"one more"}, Split::kTrain, "2").status();
  EXPECT_EQ(sum.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(sum.message(),
            "labels: got more than 100 classes of picture \"2\" in all its files, want at most that many");
}

TEST_F(MultiLabelTest, BadClassNameIsNamedByItsPlace) {
  const absl::Status status = MultiLabelBuilder()->Add(Bmp(1), {"cat", "a\nb"}, Split::kTrain, "1").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("labels[1]: got \"a\\nb\""));
}

TEST_F(MultiLabelTest, OneClassOverTheLimitIsInvalidArgument) {
  limits_.max_classes = 2;
  auto builder = MultiLabelBuilder();
  Add(*builder, 1, {"a", "b"}, "1");
  EXPECT_EQ(builder->Add(Bmp(2), {"a", "c"}, Split::kTrain, "2").status().message(),
            "dataset: got more than 2 classes, want at most that many");
}

TEST_F(MultiLabelTest, SeveralClassesOfASingleLabelPictureAreInvalidArgument) {
  for (const Labels& labels : {Labels{}, Labels{"a", "b"}}) {
    const absl::Status status = Builder()->Add(Bmp(1), labels, Split::kTrain, "1").status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(status.message(), absl::StrCat("label: got ", labels.size(),
                                             " classes of one picture, want 1: the dataset is not multi-label"));
  }
}

TEST_F(MultiLabelTest, ContentDecidesTheVersionWhateverTheOrder) {
  const auto version = [&](bool reversed, const Labels& of_first) {
    auto builder = MultiLabelBuilder();
    for (uint32_t i = 0; i < 20; ++i) {
      const uint32_t seed = reversed ? 19 - i : i;
      Labels labels = seed % 3 == 0 ? Labels{} : seed % 3 == 1 ? Labels{"b"} : Labels{"c", "b"};
      if (seed == 0) labels = of_first;
      if (reversed) std::reverse(labels.begin(), labels.end());
      Add(*builder, seed, labels, absl::StrCat(seed));
    }
    return Commit(*builder).version;
  };
  EXPECT_EQ(version(false, {"a", "c"}), version(true, {"a", "c"}));
  EXPECT_NE(version(false, {"a", "c"}), version(false, {"a"}));
}

// What the text is made of is for ever: the versions of earlier programs are digests of it.
TEST_F(MultiLabelTest, VersionsAreDigestsOfTheirContent) {
  const std::string one = Digest(Bmp(1)), two = Digest(Bmp(2)), three = Digest(Bmp(3));
  auto single = Builder();
  auto multi = MultiLabelBuilder();
  for (DatasetBuilder* builder : {single.get(), multi.get()}) {
    Add(*builder, 1, {"a"}, "1", Split::kTrain);
    Add(*builder, 2, {"b"}, "2", Split::kTrain);
    Add(*builder, 3, {"b"}, "3", Split::kValidation);
  }
  Add(*multi, 1, {"b"}, "1");
  const auto digest = [](std::string first_line, std::vector<std::string> lines) {
    std::sort(lines.begin(), lines.end());
    for (const std::string& line : lines) first_line += line;
    return Digest(first_line);
  };
  EXPECT_EQ(Commit(*single).version,
            digest("graft dataset version 1\n", {one + "\ta\ttrain\t1\n", two + "\tb\ttrain\t2\n",
                                                three + "\tb\tvalidation\t3\n"}));
  EXPECT_EQ(Commit(*multi).version,
            digest("graft multi-label dataset version 1\nclass\ta\nclass\tb\n",
                   {one + "\t0,1\ttrain\t1\n", two + "\t1\ttrain\t2\n", three + "\t1\tvalidation\t3\n"}));
}

TEST_F(MultiLabelTest, StartFromAddsPicturesAndClasses) {
  auto first = MultiLabelBuilder();
  for (uint32_t i = 0; i < 10; ++i) Add(*first, i, i % 2 == 0 ? Labels{"b"} : Labels{}, absl::StrCat(i));
  Commit(*first);
  auto second = Builder();  // multi-label as the version is
  ASSERT_TRUE(second->StartFrom("latest").ok());
  EXPECT_TRUE(second->multi_label());
  Add(*second, 10, {"a"}, "10");
  EXPECT_TRUE(Add(*second, 0, {"a"}, "0").duplicate);
  const DatasetVersion grown = Commit(*second);
  auto whole = MultiLabelBuilder();
  for (uint32_t i = 0; i < 10; ++i) Add(*whole, i, i % 2 == 0 ? Labels{"b"} : Labels{}, absl::StrCat(i));
  Add(*whole, 10, {"a"}, "10");
  Add(*whole, 0, {"a"}, "0");
  EXPECT_EQ(Commit(*whole).version, grown.version);  // as if uploaded at once
}

TEST_F(MultiLabelTest, StartFromAVersionOfTheOtherKindIsInvalidArgument) {
  auto single = Builder();
  for (uint32_t i = 0; i < 4; ++i) Add(*single, i, {i < 2 ? "a" : "b"}, absl::StrCat(i));
  Commit(*single);
  const absl::Status to_multi = MultiLabelBuilder()->StartFrom("latest");
  EXPECT_EQ(to_multi.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(to_multi.message(), "multi_label: got true, want false, or unset: that is what base_version is");
  auto multi = MultiLabelBuilder();
  for (uint32_t i = 0; i < 4; ++i) Add(*multi, i, {"a"}, absl::StrCat(i));
  Commit(*multi);
  EXPECT_EQ(Builder({}, false)->StartFrom("latest").message(),
            "multi_label: got false, want true, or unset: that is what base_version is");
}

TEST_F(MultiLabelTest, ManifestWithLabelsMakesIt) {
  const IngestResult csv = Import({{"manifest.csv", "path,labels,split\n1,cat|dog,train\n2,,train\n3,dog,val\n"},
                                   {"1", Bmp(1)}, {"2", Bmp(2)}, {"3", Bmp(3)}});
  EXPECT_TRUE(csv.version.multi_label);
  EXPECT_THAT(Contents(csv.version),
              ElementsAre(Pair("1", "cat+dog/train"), Pair("2", "/train"), Pair("3", "dog/validation")));
  const std::string lines = R"({"path": "1", "labels": ["dog", "cat"], "split": "train"}
{"path": "2", "labels": [], "split": "train"}
{"path": "3", "labels": ["dog"], "split": "val"})";
  const IngestResult jsonl =
      Import({{"1", Bmp(1)}, {"2", Bmp(2)}, {"3", Bmp(3)}, {"manifest.jsonl", lines}}, true);
  EXPECT_EQ(jsonl.version.version, csv.version.version);
}

TEST_F(MultiLabelTest, ManifestWithLabelsOfASingleLabelDatasetIsInvalidArgument) {
  IngestResult result;
  const absl::Status status =
      ImportStatus({{"set/manifest.csv", "path,labels\n1,cat\n"}, {"set/1", Bmp(1)}}, false, &result);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(),
            "multi_label: got false, want true, or unset: set/manifest.csv has labels, not label");
}

TEST_F(MultiLabelTest, ManifestWithLabelTakesOneClassOfEachPath) {
  const std::string manifest = "path,label,split\n1,cat,train\nagain,dog,train\n2,dog,val\n";
  const std::vector<TestEntry> entries = {
      {"manifest.csv", manifest}, {"1", Bmp(1)}, {"again", Bmp(1)}, {"2", Bmp(2)}};
  EXPECT_THAT(Contents(Import(entries, true).version), ElementsAre(Pair("1", "cat+dog/train"),
                                                                   Pair("2", "dog/validation")));
}

TEST_F(MultiLabelTest, FoldersGiveTheClassesOfAllTheirCopies) {
  const std::vector<TestEntry> entries = {{"train/cat/1", Bmp(1)}, {"train/dog/1", Bmp(1)}, {"train/cat/2", Bmp(2)},
                                          {"val/dog/3", Bmp(3)}};
  const IngestResult result = Import(entries, true);
  EXPECT_THAT(Contents(result.version), ElementsAre(Pair("train/cat/1", "cat+dog/train"),
                                                    Pair("train/cat/2", "cat/train"),
                                                    Pair("val/dog/3", "dog/validation")));
  EXPECT_EQ(result.rejected_count, 0);
  EXPECT_EQ(result.duplicate_count, 1);
}

TEST_F(MultiLabelTest, FoldersAloneMakeASingleLabelDataset) {
  const IngestResult result = Import({{"train/cat/1", Bmp(1)}, {"train/dog/1", Bmp(1)}, {"train/dog/2", Bmp(2)},
                                      {"val/dog/3", Bmp(3)}});
  EXPECT_FALSE(result.version.multi_label);
  EXPECT_EQ(result.rejected_count, 1);  // the contradiction
}

}  // namespace
}  // namespace graft

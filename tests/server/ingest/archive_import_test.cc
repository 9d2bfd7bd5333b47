#include "server/ingest/archive_import.h"

#include <archive_entry.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/ingest/manifest.h"
#include "tests/server/ingest/ingest_fixture.h"
#include "tests/server/ingest/test_archives.h"

namespace graft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

class ArchiveImportTest : public IngestTest {
 protected:
  IngestResult Import(const std::string& bytes, size_t piece_bytes = 64 << 10) {
    auto builder = Builder();
    const absl::Status status = ImportArchive(InPieces(bytes, piece_bytes), limits_, builder.get());
    EXPECT_TRUE(status.ok()) << status;
    auto result = builder->Commit();
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? *std::move(result) : IngestResult();
  }
  IngestResult Import(const std::vector<TestEntry>& entries) { return Import(Pack(Packing::kTar, entries)); }
  absl::Status ImportStatus(const std::string& bytes) {
    return ImportArchive(InPieces(bytes), limits_, Builder().get());
  }
  // The message of the refusal, which is InvalidArgument.
  std::string Refusal(const std::string& bytes) {
    const absl::Status status = ImportStatus(bytes);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    return std::string(status.message());
  }
  std::string Refusal(const std::vector<TestEntry>& entries) { return Refusal(Pack(Packing::kTar, entries)); }
  static std::map<std::string, std::string> Rejected(const IngestResult& result) {
    std::map<std::string, std::string> rejected;
    for (const RejectedImage& image : result.rejected) rejected[image.file_name] = image.reason;
    return rejected;
  }
};

std::vector<TestEntry> CatsAndDogs() {
  return {{"train/cats/1.bmp", Bmp(1)}, {"train/dogs/2.bmp", Bmp(2)}, {"val/cats/3.bmp", Bmp(3)},
          {"test/dogs/4.bmp", Bmp(4)}};
}

TEST_F(ArchiveImportTest, EveryFormatInEveryPieceSizeGivesTheSameVersion) {
  const std::string want = Import(CatsAndDogs()).version.version;
  for (const Packing packing : {Packing::kZip, Packing::kTar, Packing::kTarGz})
    for (const size_t piece_bytes : {1, 100, 64 << 10})
      EXPECT_EQ(Import(Pack(packing, CatsAndDogs()), piece_bytes).version.version, want)
          << static_cast<int>(packing) << " " << piece_bytes;
}

TEST_F(ArchiveImportTest, OrderInTheArchiveDoesNotMatter) {
  std::vector<TestEntry> entries = CatsAndDogs();
  entries.push_back({"train/dogs/1-again.bmp", Bmp(1)});  // contradicts train/cats/1.bmp
  const IngestResult one = Import(entries);
  std::reverse(entries.begin(), entries.end());
  const IngestResult other = Import(entries);
  EXPECT_EQ(one.version.version, other.version.version);
  EXPECT_EQ(Rejected(one), Rejected(other));
  EXPECT_EQ(one.duplicate_count, 1);
}

TEST_F(ArchiveImportTest, SplitFolders) {
  const IngestResult result = Import(CatsAndDogs());
  EXPECT_FALSE(result.version.split_by_server);
  EXPECT_THAT(Contents(result.version),
              ElementsAre(Pair("test/dogs/4.bmp", "dogs/test"), Pair("train/cats/1.bmp", "cats/train"),
                          Pair("train/dogs/2.bmp", "dogs/train"), Pair("val/cats/3.bmp", "cats/validation")));
}

TEST_F(ArchiveImportTest, ClassFoldersAreSplitByTheServer) {
  std::vector<TestEntry> entries;
  for (uint32_t i = 0; i < 10; ++i) entries.push_back({absl::StrCat("set/cats/", i), Bmp(i)});
  for (uint32_t i = 0; i < 10; ++i) entries.push_back({absl::StrCat("set/dogs/", i), Bmp(100 + i)});
  const IngestResult result = Import(Pack(Packing::kZip, entries));
  EXPECT_TRUE(result.version.split_by_server);
  ASSERT_EQ(result.version.classes.size(), 2u);
  EXPECT_EQ(result.version.classes[0].name, "cats");
  EXPECT_EQ(result.version.classes[0].train, 8);
  EXPECT_EQ(result.version.classes[1].validation, 2);
}

TEST_F(ArchiveImportTest, NamesOutsideAsciiSurviveEveryFormat) {
  const std::vector<TestEntry> entries = {{"train/caf\xC3\xA9/1", Bmp(1)}, {"val/\xE7\x8C\xAB/2", Bmp(2)},
                                          {"train/\xE7\x8C\xAB/3", Bmp(3)}};
  const std::string want = Import(entries).version.version;
  for (const Packing packing : {Packing::kZip, Packing::kTarGz}) {
    const IngestResult result = Import(Pack(packing, entries));
    EXPECT_EQ(result.version.classes[0].name, "caf\xC3\xA9");
    EXPECT_EQ(result.version.version, want);
  }
}

TEST_F(ArchiveImportTest, LabelThatIsNoUtf8NamesTheEntry) {
  EXPECT_THAT(Refusal({{"caf\xE9/1.bmp", Bmp(1)}}), HasSubstr("entry \"caf\\xe9/1.bmp\": label: got \"caf\\xe9\""));
}

TEST_F(ArchiveImportTest, ManifestRulesOverFolders) {
  std::vector<TestEntry> entries = CatsAndDogs();
  entries.push_back({"gone.bmp", "no picture"});
  entries.push_back({"manifest.csv",
                     "path,label,split\ntrain/cats/1.bmp,tabby,train\nval/cats/3.bmp,tabby,val\n"
                     "train/dogs/2.bmp,poodle,train\nlost.bmp,poodle,train\ngone.bmp,poodle,train\n"});
  const IngestResult result = Import(entries);
  EXPECT_THAT(Contents(result.version),
              ElementsAre(Pair("train/cats/1.bmp", "tabby/train"), Pair("train/dogs/2.bmp", "poodle/train"),
                          Pair("val/cats/3.bmp", "tabby/validation")));
  const auto rejected = Rejected(result);
  EXPECT_EQ(result.rejected_count, 3);
  EXPECT_EQ(rejected.at("lost.bmp"), "listed in the manifest, not in the archive");
  EXPECT_EQ(rejected.at("test/dogs/4.bmp"), "in the archive, not listed in the manifest");
  EXPECT_THAT(rejected.at("gone.bmp"), HasSubstr("image"));
}

TEST_F(ArchiveImportTest, ManifestPathsAreRelativeToItsFolder) {
  const std::string manifest = R"({"path": "x/1", "label": "cats"}
{"path": "2", "label": "dogs"}
{"path": "3", "label": "dogs", "split": "val"})";
  const IngestResult result =
      Import({{"set/manifest.jsonl", manifest}, {"set/x/1", Bmp(1)}, {"set/2", Bmp(2)}, {"set/3", Bmp(3)}});
  EXPECT_THAT(Contents(result.version), ElementsAre(Pair("set/2", "dogs/train"), Pair("set/3", "dogs/validation"),
                                                    Pair("set/x/1", "cats/train")));
  EXPECT_EQ(result.rejected_count, 0);
}

TEST_F(ArchiveImportTest, WrongManifestLineIsRefusedWithItsNumber) {
  EXPECT_THAT(Refusal({{"set/manifest.csv", "path,label\n/etc/passwd,a\n"}}), HasSubstr("set/manifest.csv:2: path"));
}

TEST_F(ArchiveImportTest, TwoManifestsAreRefused) {
  EXPECT_THAT(Refusal({{"a/manifest.csv", "path,label\n"}, {"b/manifest.jsonl", ""}}), HasSubstr("got two manifests"));
}

TEST_F(ArchiveImportTest, HugeManifestIsRefused) {
  EXPECT_THAT(Refusal(Pack(Packing::kTar, {{"manifest.csv", std::string(kMaxManifestBytes + 1, '\n')}})),
              HasSubstr("manifest.csv: got more than 67108864 bytes"));
}

TEST_F(ArchiveImportTest, JunkIsSkippedAndOtherFilesAreRejected) {
  std::vector<TestEntry> entries = CatsAndDogs();
  for (const char* junk : {".DS_Store", "__MACOSX/train/cats/._1.bmp", "train/Thumbs.db", "LICENSE", "README.md",
                           "labels.txt", "train/.hidden/1.bmp"})
    entries.push_back({junk, "junk"});
  entries.push_back({"train/cats/notes.pdf", "%PDF"});
  entries.push_back({"cover.bmp", Bmp(77)});
  entries.push_back({"train", "", AE_IFDIR});
  entries.push_back({"./", "", AE_IFDIR});
  const IngestResult result = Import(entries);
  EXPECT_EQ(result.version.image_count, 4);
  EXPECT_THAT(Rejected(result), UnorderedElementsAre(Pair("train/cats/notes.pdf", HasSubstr("image")),
                                                     Pair("cover.bmp", HasSubstr("outside the class folders"))));
}

TEST_F(ArchiveImportTest, PictureBeyondTheByteLimitIsRejected) {
  limits_.image.max_bytes = static_cast<int64_t>(Bmp(1).size());
  for (const Packing packing : {Packing::kZip, Packing::kTar}) {
    std::vector<TestEntry> entries = CatsAndDogs();
    entries.insert(entries.begin(), {"train/cats/big.bmp", std::string(3'000'000, 'x')});
    const IngestResult result = Import(Pack(packing, entries));
    EXPECT_EQ(result.version.image_count, 4);
    EXPECT_THAT(Rejected(result), ElementsAre(Pair("train/cats/big.bmp", "image: got more than 246 bytes, want at most "
                                                                         "that many")));
  }
}

TEST_F(ArchiveImportTest, EachPictureIsStoredOnce) {
  std::vector<TestEntry> entries = CatsAndDogs();
  entries.push_back({"train/cats/copy.bmp", Bmp(1)});
  entries.push_back({"val/cats/leak.bmp", Bmp(1)});
  const IngestResult result = Import(entries);
  EXPECT_EQ(blobs_.puts(), 4);
  EXPECT_EQ(result.duplicate_count, 2);
  EXPECT_EQ(result.version.image_count, 4);
  EXPECT_EQ(Rejected(result).at("val/cats/leak.bmp"),
            "split: got validation for the same picture as \"train/cats/1.bmp\", which is in train");
}

TEST_F(ArchiveImportTest, OtherFormatsAreRefused) {
  const std::string want = "archive: got something else, want a zip, tar or tar.gz";
  EXPECT_EQ(Refusal(""), want);
  EXPECT_EQ(Refusal("hello"), want);
  EXPECT_EQ(Refusal("Rar!\x1A\x07" + std::string(1000, 'x')), want);
  EXPECT_EQ(Refusal("7z\xBC\xAF\x27\x1C" + std::string(1000, 'x')), want);
  EXPECT_EQ(Refusal(Bmp(1)), want);
}

TEST_F(ArchiveImportTest, PathTraversalIsRefused) {
  for (const char* name : {"../1.bmp", "cats/../../1.bmp", "/cats/1.bmp", "cats\\..\\1.bmp", "C:/cats/1.bmp",
                           "cats//1.bmp", "cats/\x01.bmp", "../"}) {
    for (const Packing packing : {Packing::kZip, Packing::kTar}) {
      const std::string message = Refusal(Pack(packing, {{name, Bmp(1)}}));
      EXPECT_THAT(message, HasSubstr("archive: entry \"")) << name;
      EXPECT_THAT(message, HasSubstr("want a relative path")) << name;
    }
  }
  EXPECT_THAT(Refusal({{std::string(1025, 'a'), Bmp(1)}}), HasSubstr("got over 1024 bytes"));
}

TEST_F(ArchiveImportTest, LinksAndDevicesAreRefused) {
  EXPECT_THAT(Refusal({{"cats/1.bmp", "", AE_IFLNK, "/etc/passwd"}}), HasSubstr("entry \"cats/1.bmp\": got a link"));
  EXPECT_THAT(Refusal({{"cats/0.bmp", Bmp(1)}, {"cats/1.bmp", "", AE_IFREG, "cats/0.bmp"}}),
              HasSubstr("entry \"cats/1.bmp\": got a link"));
  EXPECT_THAT(Refusal({{"cats/1.bmp", "", AE_IFCHR}}), HasSubstr("got a device"));
  EXPECT_THAT(Refusal({{"cats/1.bmp", "", AE_IFIFO}}), HasSubstr("got a device"));
}

TEST_F(ArchiveImportTest, EncryptedZipIsRefused) {
  EXPECT_THAT(Refusal(Pack(Packing::kZip, {{"cats/1.bmp", Bmp(1)}}, "secret")), HasSubstr("got an encrypted entry"));
}

TEST_F(ArchiveImportTest, TruncatedAnywhereIsRefused) {
  for (const Packing packing : {Packing::kZip, Packing::kTar, Packing::kTarGz}) {
    const std::string whole = Pack(packing, CatsAndDogs());
    ASSERT_TRUE(ImportStatus(whole).ok());
    // Without the second of a tar's two closing blocks it is still whole.
    const size_t last = packing == Packing::kTar ? whole.size() - 1024 : whole.size() - 1;
    for (size_t size = 0; size <= last; size += size + 50 < last ? 37 : 1) {
      const absl::Status status = ImportStatus(whole.substr(0, size));
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << static_cast<int>(packing) << " " << size;
    }
  }
}

TEST_F(ArchiveImportTest, DamagedDataIsRefused) {
  std::string zip = Pack(Packing::kZip, CatsAndDogs());
  const size_t header = zip.find("val/cats");
  zip[(header + zip.find("PK\3\4", header)) / 2] ^= 0x55;  // in its data
  EXPECT_THAT(Refusal(zip), HasSubstr("damaged"));
}

TEST_F(ArchiveImportTest, ZipThatLostEntriesIsRefused) {
  std::string zip = Pack(Packing::kZip, CatsAndDogs());
  zip.replace(zip.find("PK\3\4", 10), 2, "XX");  // the second entry: the reader searches on for the third
  EXPECT_THAT(Refusal(zip), HasSubstr("damaged"));
}

TEST_F(ArchiveImportTest, GzipOfAGzipIsRefused) {
  const auto gzip = [](const std::string& bytes) {
    std::string out;
    archive* a = archive_write_new();
    archive_write_set_format_raw(a);
    archive_write_add_filter_gzip(a);
    GRAFT_CHECK(archive_write_open(a, &out, nullptr, AppendTo, nullptr) == ARCHIVE_OK);
    WriteEntry(a, {"data", bytes});
    GRAFT_CHECK(archive_write_close(a) == ARCHIVE_OK);
    archive_write_free(a);
    return out;
  };
  EXPECT_THAT(Refusal(gzip(Pack(Packing::kTarGz, CatsAndDogs()))), HasSubstr("got a gzip of something else"));
  EXPECT_THAT(Refusal(gzip(Pack(Packing::kZip, CatsAndDogs()))), HasSubstr("got a gzip of something else"));
  EXPECT_TRUE(ImportStatus(gzip(Pack(Packing::kTar, CatsAndDogs()))).ok());
}

TEST_F(ArchiveImportTest, CompressionBombIsRefused) {
  const std::vector<TestEntry> zeros = {{"cats/1.bmp", std::string(80 << 20, '\0')}};
  EXPECT_THAT(Refusal(Pack(Packing::kZip, zeros)), HasSubstr("a compression bomb"));
  EXPECT_THAT(Refusal(Pack(Packing::kTarGz, zeros)), HasSubstr("a compression bomb"));
}

TEST_F(ArchiveImportTest, JunkCountsForTheBombToo) {
  EXPECT_THAT(Refusal(Pack(Packing::kZip, {{"README.md", std::string(80 << 20, '\0')}})),
              HasSubstr("a compression bomb"));
}

TEST_F(ArchiveImportTest, TooManyBytesAreRefused) {
  limits_.max_total_bytes = 10'000;
  EXPECT_THAT(Refusal({{"cats/1.bmp", std::string(6'000, 'x')}, {"LICENSE", std::string(6'000, 'x')}}),
              HasSubstr("got more than 10000 bytes decompressed"));
}

TEST_F(ArchiveImportTest, TooManyPicturesAreRefused) {
  limits_.max_images = 3;
  EXPECT_THAT(Refusal(CatsAndDogs()), HasSubstr("got more than 3 pictures"));
}

TEST_F(ArchiveImportTest, TooManyEntriesAreRefused) {
  limits_.max_images = 1;
  std::vector<TestEntry> entries(limits_.max_entries() + 1, {"cats", "", AE_IFDIR});
  EXPECT_THAT(Refusal(entries), HasSubstr("got more than 10002 entries"));
}

TEST_F(ArchiveImportTest, FailureOfTheSourceComesBackAsItIs) {
  for (const Packing packing : {Packing::kZip, Packing::kTar, Packing::kTarGz}) {
    const std::string whole = Pack(packing, CatsAndDogs());
    for (const size_t good : {size_t{0}, size_t{100}, whole.size() - 10, whole.size()}) {
      ArchiveSource pieces = InPieces(whole.substr(0, good), 10);
      const ArchiveSource failing = [&]() -> absl::StatusOr<std::string> {
        absl::StatusOr<std::string> piece = pieces();
        if (piece.ok() && piece->empty()) return absl::CancelledError("the client went away");
        return piece;
      };
      EXPECT_EQ(ImportArchive(failing, limits_, Builder().get()), absl::CancelledError("the client went away"));
    }
  }
}

TEST_F(ArchiveImportTest, BlobStoreFailureComesBackAsItIs) {
  blobs_.FailPuts(absl::ResourceExhaustedError("disk full"));
  EXPECT_EQ(ImportStatus(Pack(Packing::kTar, CatsAndDogs())), absl::ResourceExhaustedError("disk full"));
}

}  // namespace
}  // namespace graft

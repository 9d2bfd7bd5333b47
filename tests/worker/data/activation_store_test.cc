#include "worker/data/activation_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/worker/data/activation_store_fixture.h"

namespace graft {
namespace {

using testing::HasSubstr;

class ActivationStoreTest : public ActivationStoreFixture {};

TEST_F(ActivationStoreTest, ReadsWhatWasWritten) {
  Open();
  const SpacePtr space = Space("k");
  EXPECT_FALSE(Has(space, "a"));
  space->Write("a", RowOf("a").data());
  space->Write("b", RowOf("b").data());
  EXPECT_TRUE(Has(space, "a"));
  EXPECT_TRUE(Has(space, "b"));
  EXPECT_FALSE(Has(space, "c"));
  EXPECT_EQ(space->rows(), 2);
  EXPECT_EQ(store_->stats().hits, 2);
  EXPECT_EQ(store_->stats().misses, 2);
  EXPECT_EQ(store_->stats().corrupt, 0);
  EXPECT_EQ(store_->stats().dropped, 0);
}

TEST_F(ActivationStoreTest, ReadsEachRowRightAfterItWasWritten) {  // mapped or not yet
  Open();
  const SpacePtr space = Space("k");
  for (int i = 0; i < 200; ++i) {
    space->Write(absl::StrCat(i), RowOf(absl::StrCat(i)).data());
    EXPECT_TRUE(Has(space, absl::StrCat(i)));
    EXPECT_TRUE(Has(space, absl::StrCat(i / 2)));
  }
}

TEST_F(ActivationStoreTest, TakesRowsOfAnySizeAndIdsOfAnyLength) {
  Open();
  const std::string long_id(10'000, 'i');
  for (const int64_t row_bytes : {1, 40, 41, 64, 600'000}) {
    const SpacePtr space = Space(absl::StrCat("k", row_bytes), row_bytes);
    for (const std::string& id : {std::string(), std::string("a"), std::string("a\0b", 3), long_id, long_id + "x"}) {
      EXPECT_FALSE(Has(space, id, row_bytes));
      space->Write(id, RowOf(id, row_bytes).data());
      EXPECT_TRUE(Has(space, id, row_bytes)) << row_bytes;
    }
  }
}

TEST_F(ActivationStoreTest, ARowOfZerosIsARow) {
  Open();
  const SpacePtr space = Space("k");
  const std::string zeros(kRowBytes, '\0');
  space->Write("a", zeros.data());
  std::string row(kRowBytes, 'x');
  ASSERT_TRUE(space->Read("a", row.data()));
  EXPECT_EQ(row, zeros);
}

TEST_F(ActivationStoreTest, AStoredRowStays) {
  Open();
  const SpacePtr space = Space("k");
  space->Write("a", RowOf("a").data());
  space->Write("a", RowOf("b").data());
  EXPECT_TRUE(Has(space, "a"));
  EXPECT_EQ(store_->stats().bytes, kHeaderBytes + kRecordBytes);
}

TEST_F(ActivationStoreTest, RowsSurviveReopening) {
  Open();
  MakeSpace("k", 20);
  Open();
  EXPECT_EQ(store_->stats().bytes, kHeaderBytes + 20 * kRecordBytes);
  const SpacePtr space = Space("k");
  EXPECT_EQ(space->rows(), 20);
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(Has(space, absl::StrCat(i)));
  space->Write("20", RowOf("20").data());
  EXPECT_TRUE(Has(space, "20"));
  EXPECT_EQ(store_->stats().bytes, kHeaderBytes + 21 * kRecordBytes);
}

TEST_F(ActivationStoreTest, KeysShareNoRows) {
  Open();
  const SpacePtr one = Space("k1"), other = Space("k2");
  one->Write("a", RowOf("a").data());
  EXPECT_FALSE(Has(other, "a"));
}

TEST_F(ActivationStoreTest, AFileOfAnotherKeyIsReplaced) {  // as if the names of the two had collided
  Open();
  MakeSpace("k1", 3);
  std::filesystem::rename(Path("k1"), Path("k2"));
  Open();
  EXPECT_EQ(Space("k2")->rows(), 0);
}

TEST_F(ActivationStoreTest, AHeldKeyGivesTheSameSpace) {
  Open();
  const SpacePtr space = Space("k");
  EXPECT_EQ(Space("k"), space);
  EXPECT_NE(Space("other"), space);
}

TEST_F(ActivationStoreTest, ADamagedRowIsForgottenAndCanBeWrittenAgain) {
  Open();
  MakeSpace("k", 3);
  const SpacePtr space = Space("k");
  Overwrite(Path("k"), kHeaderBytes + kRecordBytes + kRecordBytes / 2, "!");
  EXPECT_FALSE(Has(space, "1"));
  EXPECT_EQ(store_->stats().corrupt, 1);
  EXPECT_EQ(space->rows(), 2);
  EXPECT_FALSE(Has(space, "1"));
  EXPECT_EQ(store_->stats().corrupt, 1);
  EXPECT_EQ(store_->stats().misses, 2);
  space->Write("1", RowOf("1").data());
  for (const char* id : {"0", "1", "2"}) EXPECT_TRUE(Has(space, id));
}

TEST_F(ActivationStoreTest, TheLaterOfTwoRecordsCountsAfterReopening) {
  Open();
  MakeSpace("k", 3);
  Overwrite(Path("k"), kHeaderBytes + kRecordBytes / 2, "!");
  {
    const SpacePtr space = Space("k");
    EXPECT_FALSE(Has(space, "0"));
    space->Write("0", RowOf("0").data());
  }
  Open();
  EXPECT_EQ(Space("k")->rows(), 3);
  EXPECT_TRUE(Has(Space("k"), "0"));
}

TEST_F(ActivationStoreTest, ADamagedHashOrChecksumIsNoRow) {
  Open();
  MakeSpace("k", 3);
  Overwrite(Path("k"), kHeaderBytes + 3, "!");                 // the first record's hash
  Overwrite(Path("k"), kHeaderBytes + kRecordBytes + 18, "!");  // the second's checksum
  Open();
  const SpacePtr space = Space("k");
  EXPECT_FALSE(Has(space, "0"));
  EXPECT_FALSE(Has(space, "1"));
  EXPECT_TRUE(Has(space, "2"));
}

TEST_F(ActivationStoreTest, RowsThatChangedPlacesAreDamaged) {
  Open();
  MakeSpace("k", 2);
  std::string file(kHeaderBytes + 2 * kRecordBytes, '\0');
  std::ifstream(Path("k"), std::ios::binary).read(file.data(), static_cast<std::streamsize>(file.size()));
  // The rows and checksums change places, the hashes do not.
  const std::string first = file.substr(kHeaderBytes + 16, kRecordBytes - 16);
  Overwrite(Path("k"), kHeaderBytes + 16, file.substr(kHeaderBytes + kRecordBytes + 16));
  Overwrite(Path("k"), kHeaderBytes + kRecordBytes + 16, first);
  Open();
  EXPECT_FALSE(Has(Space("k"), "0"));
  EXPECT_FALSE(Has(Space("k"), "1"));
}

TEST_F(ActivationStoreTest, AHoleOfZerosIsNoRow) {
  Open();
  MakeSpace("k", 5);
  Overwrite(Path("k"), kHeaderBytes + kRecordBytes, std::string(kRecordBytes, '\0'));            // all of 1
  Overwrite(Path("k"), kHeaderBytes + 2 * kRecordBytes + 24, std::string(kRowBytes, '\0'));      // the row of 2
  Overwrite(Path("k"), kHeaderBytes + 3 * kRecordBytes + 16, std::string(8 + kRowBytes, '\0'));  // and its checksum
  Open();
  const SpacePtr space = Space("k");
  EXPECT_EQ(space->rows(), 4);
  for (const char* id : {"1", "2", "3"}) EXPECT_FALSE(Has(space, id)) << id;
  for (const char* id : {"0", "4"}) EXPECT_TRUE(Has(space, id)) << id;
  EXPECT_EQ(store_->stats().corrupt, 2);
}

TEST_F(ActivationStoreTest, ATailOfZerosIsCut) {
  Open();
  MakeSpace("k", 2);
  std::filesystem::resize_file(Path("k"), kHeaderBytes + 7 * kRecordBytes + 5);
  Open();
  const SpacePtr space = Space("k");
  EXPECT_EQ(space->rows(), 2);
  EXPECT_EQ(static_cast<int64_t>(std::filesystem::file_size(Path("k"))), kHeaderBytes + 2 * kRecordBytes);
  EXPECT_EQ(store_->stats().bytes, kHeaderBytes + 2 * kRecordBytes);
}

TEST_F(ActivationStoreTest, AnIncompleteTailIsCut) {
  Open();
  MakeSpace("k", 3);
  std::filesystem::resize_file(Path("k"), kHeaderBytes + 3 * kRecordBytes - 1);
  Open();
  const SpacePtr space = Space("k");
  EXPECT_EQ(space->rows(), 2);
  EXPECT_EQ(store_->stats().bytes, kHeaderBytes + 2 * kRecordBytes);
  EXPECT_FALSE(Has(space, "2"));
  space->Write("2", RowOf("2").data());
  for (const char* id : {"0", "1", "2"}) EXPECT_TRUE(Has(space, id));
}

TEST_F(ActivationStoreTest, AFileWithADamagedHeaderIsReplaced) {
  for (const int64_t offset : {0, 18, 30, 4000}) {
    Open();
    MakeSpace("k", 3);
    Overwrite(Path("k"), offset, "!");
    Open();
    EXPECT_EQ(Space("k")->rows(), 0) << offset;
    EXPECT_EQ(store_->stats().bytes, 0);
    MakeSpace("k", 1);
    EXPECT_EQ(store_->stats().bytes, kHeaderBytes + kRecordBytes);
    std::filesystem::remove(Path("k"));
  }
}

TEST_F(ActivationStoreTest, AFileShorterThanItsHeaderIsReplaced) {
  for (const int64_t size : {0, 1, 4095}) {
    Open();
    MakeSpace("k", 3);
    std::filesystem::resize_file(Path("k"), size);
    Open();
    EXPECT_EQ(Space("k")->rows(), 0) << size;
    MakeSpace("k", 2);
  }
}

TEST_F(ActivationStoreTest, AFileOfAnotherRowSizeIsReplaced) {
  Open();
  MakeSpace("k", 3);
  const SpacePtr space = Space("k", kRowBytes + 1);
  EXPECT_EQ(space->rows(), 0);
  EXPECT_FALSE(Has(space, "0", kRowBytes + 1));
  space->Write("0", RowOf("0", kRowBytes + 1).data());
  EXPECT_TRUE(Has(space, "0", kRowBytes + 1));
}

TEST_F(ActivationStoreTest, ARowSizeOutOfRangeIsInvalidArgument) {
  Open();
  for (const int64_t row_bytes : {int64_t{-1}, int64_t{0}, (int64_t{64} << 20) + 1}) {
    const auto space = store_->OpenSpace("k", row_bytes);
    EXPECT_EQ(space.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(space.status().message(), HasSubstr(absl::StrCat("row_bytes: got ", row_bytes)));
  }
  EXPECT_TRUE(store_->OpenSpace("k", int64_t{64} << 20).ok());
}

TEST_F(ActivationStoreTest, AHeldSpaceWithAnotherRowSizeIsFailedPrecondition) {
  Open();
  const SpacePtr space = Space("k");
  const auto other = store_->OpenSpace("k", 8);
  EXPECT_EQ(other.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(other.status().message(), HasSubstr("row_bytes: got 8, want 1152"));
}

TEST_F(ActivationStoreTest, ADirectoryThatCannotBeMadeIsInternal) {
  std::filesystem::create_directories(directory_);
  std::ofstream(directory_ + "/file") << "x";
  EXPECT_EQ(ActivationStore::Open({directory_ + "/file/cache"}).status().code(), absl::StatusCode::kInternal);
}

TEST_F(ActivationStoreTest, ALockFileThatCannotBeMadeIsInternal) {
  std::filesystem::create_directories(directory_ + "/lock");
  EXPECT_EQ(ActivationStore::Open({directory_}).status().code(), absl::StatusCode::kInternal);
}

TEST_F(ActivationStoreTest, ASecondHolderOfTheDirectoryIsFailedPrecondition) {
  Open();
  SpacePtr space = Space("k");
  EXPECT_EQ(ActivationStore::Open({directory_}).status().code(), absl::StatusCode::kFailedPrecondition);
  store_.reset();  // the space still writes there
  EXPECT_EQ(ActivationStore::Open({directory_}).status().code(), absl::StatusCode::kFailedPrecondition);
  space->Write("a", RowOf("a").data());
  EXPECT_TRUE(Has(space, "a"));
  space.reset();
  Open();
  EXPECT_TRUE(Has(Space("k"), "a"));
}

TEST_F(ActivationStoreTest, ManyThreadsReadAndWriteOneSpace) {
  constexpr int kThreads = 4, kIds = 300;
  Open();
  const SpacePtr space = Space("k");
  const auto run = [&](int thread) {
    for (int i = 0; i < kIds; ++i) {
      const std::string id = absl::StrCat(thread % 2 == 0 ? i : kIds - 1 - i);
      if (!Has(space, id)) space->Write(id, RowOf(id).data());
      EXPECT_TRUE(Has(space, id));
    }
  };
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) threads.emplace_back(run, t);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(space->rows(), kIds);
  EXPECT_EQ(store_->stats().bytes, kHeaderBytes + kIds * kRecordBytes);  // none twice
  EXPECT_EQ(store_->stats().corrupt, 0);
}

}  // namespace
}  // namespace graft

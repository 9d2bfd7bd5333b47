#include "server/store/blob_store.h"

#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "tests/server/store/store_fixture.h"

namespace graft {
namespace {

namespace fs = std::filesystem;

// FIPS 180-2, appendix B.1: the message "abc".
constexpr char kAbcDigest[] = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

class BlobStoreTest : public testing::Test {
 protected:
  BlobStoreTest() { Reopen(); }
  void Reopen() {
    auto store = OpenDirectoryBlobStore(root());
    GRAFT_CHECK(store.ok());
    store_ = *std::move(store);
  }
  std::string root() const { return directory_.path() + "/blobs"; }
  std::string AbcPath() const {
    const std::string hex = std::string(kAbcDigest).substr(7);
    return root() + "/" + hex.substr(0, 2) + "/" + hex.substr(2);
  }
  int TemporaryFiles() const {
    return static_cast<int>(std::distance(fs::directory_iterator(root() + "/tmp"), fs::directory_iterator()));
  }

  ScratchDirectory directory_;
  std::unique_ptr<BlobStore> store_;
};

TEST_F(BlobStoreTest, DigestIsSha256) { EXPECT_EQ(Digest("abc"), kAbcDigest); }

TEST_F(BlobStoreTest, GetReturnsWhatPutStored) {
  const std::string bytes("a\0b\xff\n", 5);
  auto put = store_->Put(bytes);
  ASSERT_TRUE(put.ok()) << put.status();
  EXPECT_FALSE(put->existed);
  Reopen();
  auto got = store_->Get(put->digest);
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(*got, bytes);
}

TEST_F(BlobStoreTest, EmptyBlobIsABlob) {
  auto put = store_->Put("");
  ASSERT_TRUE(put.ok());
  EXPECT_EQ(store_->Get(put->digest).value_or("x"), "");
}

TEST_F(BlobStoreTest, SecondPutSaysExisted) {
  ASSERT_TRUE(store_->Put("abc").ok());
  auto again = store_->Put("abc");
  ASSERT_TRUE(again.ok());
  EXPECT_TRUE(again->existed);
  EXPECT_EQ(again->digest, kAbcDigest);
}

TEST_F(BlobStoreTest, UnknownDigestIsNotFound) {
  EXPECT_EQ(store_->Get(kAbcDigest).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(BlobStoreTest, AlteredBlobIsDataLoss) {
  ASSERT_TRUE(store_->Put("abc").ok());
  std::ofstream(AbcPath(), std::ios::binary) << "abd";
  EXPECT_EQ(store_->Get(kAbcDigest).status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(BlobStoreTest, PutMendsATruncatedBlob) {
  ASSERT_TRUE(store_->Put("abc").ok());
  std::ofstream(AbcPath(), std::ios::binary) << "a";
  EXPECT_EQ(store_->Get(kAbcDigest).status().code(), absl::StatusCode::kDataLoss);
  auto put = store_->Put("abc");
  ASSERT_TRUE(put.ok());
  EXPECT_FALSE(put->existed);
  EXPECT_EQ(store_->Get(kAbcDigest).value_or(""), "abc");
}

TEST_F(BlobStoreTest, PutMendsAnAlteredBlobOfTheSameSize) {
  ASSERT_TRUE(store_->Put("abc").ok());
  std::ofstream(AbcPath(), std::ios::binary) << "abd";
  auto put = store_->Put("abc");
  ASSERT_TRUE(put.ok());
  EXPECT_FALSE(put->existed);
  EXPECT_EQ(store_->Get(kAbcDigest).value_or(""), "abc");
}

TEST_F(BlobStoreTest, MalformedDigestIsInvalidArgument) {
  const std::string hex = std::string(kAbcDigest).substr(7);
  std::string upper = kAbcDigest;
  upper[7] = 'B';
  for (const std::string& digest : {std::string(), hex, std::string("sha256:"), "sha256:" + hex.substr(1), upper,
                                    std::string(kAbcDigest) + "0", "sha256:../" + hex.substr(3), "sha512:" + hex}) {
    EXPECT_EQ(store_->Get(digest).status().code(), absl::StatusCode::kInvalidArgument) << digest;
    EXPECT_EQ(store_->Delete(digest).code(), absl::StatusCode::kInvalidArgument) << digest;
  }
}

TEST_F(BlobStoreTest, DeletedBlobIsNotFoundAndDeletingAgainIsOk) {
  ASSERT_TRUE(store_->Put("abc").ok());
  EXPECT_TRUE(store_->Delete(kAbcDigest).ok());
  EXPECT_EQ(store_->Get(kAbcDigest).status().code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(store_->Delete(kAbcDigest).ok());
}

TEST_F(BlobStoreTest, ForEachVisitsEachBlobAndNothingElse) {
  std::set<std::string> stored;
  for (int i = 0; i < 20; ++i) stored.insert(store_->Put(std::to_string(i))->digest);
  std::ofstream(root() + "/tmp/half") << "half";
  std::ofstream(root() + "/README") << "not a blob";
  std::ofstream(fs::path(AbcPath()).parent_path().string() + "x") << "not a blob";
  std::multiset<std::string> visited;
  ASSERT_TRUE(store_->ForEach([&](const std::string& digest) { visited.insert(digest); }).ok());
  EXPECT_EQ(visited, std::multiset<std::string>(stored.begin(), stored.end()));
}

TEST_F(BlobStoreTest, PutLeavesNoTemporaryFile) {
  ASSERT_TRUE(store_->Put("abc").ok());
  EXPECT_EQ(TemporaryFiles(), 0);
}

TEST_F(BlobStoreTest, FailedPutIsInternalAndLeavesNoTemporaryFile) {
  fs::create_directories(AbcPath() + "/in the way");  // a folder where the blob belongs: rename fails
  EXPECT_EQ(store_->Put("abc").status().code(), absl::StatusCode::kInternal);
  EXPECT_EQ(TemporaryFiles(), 0);
}

// What a process killed during Put leaves: a half-written file that is no blob and goes after an hour.
TEST_F(BlobStoreTest, OnlyOldTemporaryFilesAreRemovedOnOpen) {
  const std::string old_file = root() + "/tmp/old", young_file = root() + "/tmp/young";
  std::ofstream(old_file) << "ab";
  std::ofstream(young_file) << "ab";
  fs::last_write_time(old_file, fs::file_time_type::clock::now() - std::chrono::minutes(61));
  Reopen();
  EXPECT_FALSE(fs::exists(old_file));
  EXPECT_TRUE(fs::exists(young_file));
  ASSERT_TRUE(store_->ForEach([](const std::string& digest) { ADD_FAILURE() << digest; }).ok());
}

TEST_F(BlobStoreTest, DirectoryThatCannotBeMadeIsInternal) {
  std::ofstream(directory_.path() + "/file") << "x";
  EXPECT_EQ(OpenDirectoryBlobStore(directory_.path() + "/file/blobs").status().code(), absl::StatusCode::kInternal);
}

TEST_F(BlobStoreTest, ConcurrentPutsOfTheSameBytesAllSucceed) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 20; ++i) EXPECT_TRUE(store_->Put("blob " + std::to_string(i)).ok());
    });
  }
  for (std::thread& thread : threads) thread.join();
  int blobs = 0;
  ASSERT_TRUE(store_->ForEach([&](const std::string& digest) {
                      ++blobs;
                      EXPECT_TRUE(store_->Get(digest).ok());
                    }).ok());
  EXPECT_EQ(blobs, 20);
}

}  // namespace
}  // namespace graft

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/worker/data/activation_store_fixture.h"
#include "worker/data/activation_store.h"

namespace graft {
namespace {

class ActivationStoreBudgetTest : public ActivationStoreFixture {
 protected:
  // What a job does with the pictures [begin, end); returns how many of their rows it found.
  int Use(const std::string& key, int begin, int end) {
    const SpacePtr space = Space(key);
    int found = 0;
    for (int i = begin; i < end; ++i) {
      const std::string id = absl::StrCat(i);
      if (Has(space, id)) {
        ++found;
      } else {
        space->Write(id, RowOf(id).data());
      }
    }
    return found;
  }
};

TEST_F(ActivationStoreBudgetTest, TheLeastRecentlyClosedFileMakesRoom) {
  constexpr int64_t kBudget = 3 * (kHeaderBytes + 10 * kRecordBytes);
  Open(kBudget);
  for (const char* key : {"a", "b", "c"}) MakeSpace(key, 10);
  Space("a");  // used again: now b is the oldest
  const SpacePtr held = Space("d");
  held->Write("0", RowOf("0").data());
  EXPECT_FALSE(std::filesystem::exists(Path("b")));
  EXPECT_EQ(store_->stats().evicted_files, 1);
  for (int i = 1; i < 20; ++i) held->Write(absl::StrCat(i), RowOf(absl::StrCat(i)).data());
  EXPECT_FALSE(std::filesystem::exists(Path("c")));
  EXPECT_TRUE(std::filesystem::exists(Path("a")));
  EXPECT_EQ(store_->stats().evicted_files, 2);
  EXPECT_EQ(held->rows(), 20);
  EXPECT_LE(store_->stats().bytes, kBudget);
  EXPECT_EQ(Space("a")->rows(), 10);
  EXPECT_EQ(Space("b")->rows(), 0);
}

TEST_F(ActivationStoreBudgetTest, TheOrderOfUseSurvivesReopening) {
  Open();
  for (const char* key : {"a", "b", "c"}) MakeSpace(key, 10);
  store_.reset();
  const auto now = std::filesystem::file_time_type::clock::now();
  std::filesystem::last_write_time(Path("a"), now - std::chrono::hours(1));
  std::filesystem::last_write_time(Path("b"), now - std::chrono::hours(3));
  std::filesystem::last_write_time(Path("c"), now - std::chrono::hours(2));
  Open();
  Space("b");  // no longer the oldest
  Open(2 * (kHeaderBytes + 10 * kRecordBytes));  // a smaller budget holds at once
  EXPECT_EQ(store_->stats().evicted_files, 1);
  EXPECT_FALSE(std::filesystem::exists(Path("c")));
  MakeSpace("d", 1);
  EXPECT_EQ(store_->stats().evicted_files, 2);
  EXPECT_FALSE(std::filesystem::exists(Path("a")));
  EXPECT_TRUE(std::filesystem::exists(Path("b")));
}

TEST_F(ActivationStoreBudgetTest, OpeningASpaceIsUsingIt) {  // should the process crash before it is closed
  Open();
  MakeSpace("k", 1);
  const auto long_ago = std::filesystem::last_write_time(Path("k")) - std::chrono::hours(5);
  std::filesystem::last_write_time(Path("k"), long_ago);
  const SpacePtr space = Space("k");
  EXPECT_GT(std::filesystem::last_write_time(Path("k")), long_ago + std::chrono::hours(4));
}

TEST_F(ActivationStoreBudgetTest, AFullBudgetDropsWrites) {
  Open(kHeaderBytes + 5 * kRecordBytes);
  const SpacePtr space = Space("k");
  for (int i = 0; i < 8; ++i) space->Write(absl::StrCat(i), RowOf(absl::StrCat(i)).data());
  EXPECT_EQ(space->rows(), 5);
  EXPECT_EQ(store_->stats().dropped, 3);
  EXPECT_EQ(store_->stats().bytes, kHeaderBytes + 5 * kRecordBytes);
  EXPECT_TRUE(Has(space, "4"));
  EXPECT_FALSE(Has(space, "5"));
}

TEST_F(ActivationStoreBudgetTest, AFullFileThatIsMostlyUnusedBeginsAnew) {
  Open(kHeaderBytes + 10 * kRecordBytes);
  MakeSpace("k", 10);
  EXPECT_EQ(Use("k", 6, 16), 4);
  EXPECT_EQ(store_->stats().dropped, 6);
  EXPECT_EQ(store_->stats().evicted_files, 1);
  EXPECT_EQ(store_->stats().bytes, 0);
  EXPECT_FALSE(std::filesystem::exists(Path("k")));
  EXPECT_EQ(Use("k", 6, 16), 0);
  EXPECT_EQ(Use("k", 6, 16), 10);
  EXPECT_EQ(store_->stats().evicted_files, 1);
}

TEST_F(ActivationStoreBudgetTest, AFullFileStaysWhileHalfOfItIsUsed) {
  Open(kHeaderBytes + 10 * kRecordBytes);
  MakeSpace("k", 10);
  for (int i = 0; i < 2; ++i) EXPECT_EQ(Use("k", 5, 15), 5);
  EXPECT_EQ(store_->stats().dropped, 10);
  EXPECT_EQ(Use("k", 0, 2), 2);  // few, but nothing wanted room meanwhile
  EXPECT_EQ(Use("k", 0, 10), 10);
  EXPECT_EQ(store_->stats().evicted_files, 0);
}

TEST_F(ActivationStoreBudgetTest, AnUnusedFileMakesRoomForOnesThatWereHeldBesideIt) {
  Open(kHeaderBytes + 10 * kRecordBytes);
  MakeSpace("a", 10);
  SpacePtr held = Space("a");
  EXPECT_EQ(Use("b", 0, 3), 0);
  EXPECT_EQ(store_->stats().dropped, 3);
  held.reset();
  EXPECT_FALSE(std::filesystem::exists(Path("a")));
  EXPECT_EQ(Use("b", 0, 3), 0);
  EXPECT_EQ(Use("b", 0, 3), 3);
}

TEST_F(ActivationStoreBudgetTest, NoBudgetKeepsNoFile) {
  Open(0);
  const SpacePtr space = Space("k");
  space->Write("a", RowOf("a").data());
  EXPECT_FALSE(Has(space, "a"));
  EXPECT_EQ(store_->stats().dropped, 1);
  EXPECT_FALSE(std::filesystem::exists(Path("k")));
}

TEST_F(ActivationStoreBudgetTest, AHeldFileIsNotEvicted) {
  Open(2 * (kHeaderBytes + 5 * kRecordBytes));
  MakeSpace("a", 5);
  const SpacePtr held = Space("a");
  MakeSpace("b", 5);
  const SpacePtr other = Space("c");
  other->Write("0", RowOf("0").data());
  EXPECT_FALSE(std::filesystem::exists(Path("b")));
  for (int i = 0; i < 20; ++i) other->Write(absl::StrCat(i), RowOf(absl::StrCat(i)).data());
  EXPECT_TRUE(std::filesystem::exists(Path("a")));
  EXPECT_TRUE(Has(held, "4"));
  EXPECT_EQ(other->rows(), 5);
}

TEST_F(ActivationStoreBudgetTest, NoFileIsDeletedWhenThatMakesNotEnoughRoom) {
  Open(2 * (kHeaderBytes + 5 * kRecordBytes));
  MakeSpace("a", 5);
  const SpacePtr big = Space("big", 1'000'000);
  big->Write("0", RowOf("0", 1'000'000).data());
  EXPECT_EQ(store_->stats().dropped, 1);
  EXPECT_EQ(store_->stats().evicted_files, 0);
  EXPECT_EQ(Space("a")->rows(), 5);
}

TEST_F(ActivationStoreBudgetTest, FilesOfOthersAreLeftAlone) {
  std::filesystem::create_directories(directory_);
  const std::vector<std::string> names = {"notes.act", std::string(32, 'A') + ".act", std::string(32, 'g') + ".act",
                                          std::string(32, 'a') + ".txt", std::string(33, 'a') + ".act"};
  for (const std::string& name : names) std::ofstream(directory_ + "/" + name) << std::string(1000, 'x');
  const std::string ours = directory_ + "/" + std::string(32, 'a') + ".act";
  std::ofstream(ours) << std::string(1000, 'x');
  Open(500);
  EXPECT_EQ(store_->stats().bytes, 0);
  EXPECT_EQ(store_->stats().evicted_files, 1);
  EXPECT_FALSE(std::filesystem::exists(ours));
  for (const std::string& name : names) EXPECT_TRUE(std::filesystem::exists(directory_ + "/" + name)) << name;
}

// Lets no file of this process grow beyond `bytes`, which fails writes as a full disk does.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(int64_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before_);
    rlimit limit = before_;
    limit.rlim_cur = static_cast<rlim_t>(bytes);
    EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  void (*const handler_)(int);
  rlimit before_;
};

TEST_F(ActivationStoreBudgetTest, AFullDiskDropsWritesUntilThereIsRoom) {
  Open();
  const SpacePtr space = Space("k");
  space->Write("0", RowOf("0").data());
  {
    const FileSizeLimit limit(kHeaderBytes + kRecordBytes + 100);  // the second record is torn
    space->Write("1", RowOf("1").data());
    EXPECT_FALSE(Has(space, "1"));
    EXPECT_TRUE(Has(space, "0"));
    EXPECT_EQ(store_->stats().dropped, 1);
    EXPECT_EQ(store_->stats().bytes, kHeaderBytes + kRecordBytes);
  }
  space->Write("2", RowOf("2").data());
  for (const char* id : {"0", "2"}) EXPECT_TRUE(Has(space, id));
  EXPECT_EQ(store_->stats().bytes, kHeaderBytes + 2 * kRecordBytes);
}

TEST_F(ActivationStoreBudgetTest, AFileWhoseHeaderFoundNoRoomIsMadeLater) {
  Open();
  const SpacePtr space = Space("k");
  {
    const FileSizeLimit limit(kHeaderBytes - 1);
    space->Write("0", RowOf("0").data());
    EXPECT_EQ(store_->stats().dropped, 1);
    EXPECT_EQ(store_->stats().bytes, 0);
    EXPECT_FALSE(std::filesystem::exists(Path("k")));
  }
  space->Write("0", RowOf("0").data());
  EXPECT_TRUE(Has(space, "0"));
}

TEST_F(ActivationStoreBudgetTest, ManyThreadsOpenCloseAndEvictSpaces) {
  constexpr int kThreads = 4, kRounds = 60, kKeys = 5;
  constexpr int64_t kBudget = 5 * (kHeaderBytes + 10 * kRecordBytes) - 1;  // one less than all could have
  Open(kBudget);
  const auto run = [&](int thread) {
    for (int round = 0; round < kRounds; ++round) {
      const SpacePtr space = Space(absl::StrCat((round * (thread + 1)) % kKeys));
      for (int i = 0; i < 10; ++i) {
        if (!Has(space, absl::StrCat(i))) space->Write(absl::StrCat(i), RowOf(absl::StrCat(i)).data());
      }
      EXPECT_LE(store_->stats().bytes, kBudget);
    }
  };
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) threads.emplace_back(run, t);
  for (std::thread& thread : threads) thread.join();
  int64_t on_disk = 0;
  for (const auto& entry : std::filesystem::directory_iterator(directory_)) {
    on_disk += static_cast<int64_t>(entry.file_size());
  }
  EXPECT_EQ(store_->stats().bytes, on_disk);
  EXPECT_LE(on_disk, kBudget);
  EXPECT_GT(store_->stats().evicted_files, 0);
  EXPECT_EQ(store_->stats().corrupt, 0);
}

}  // namespace
}  // namespace graft

#include "client/folder_tar.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/client/read_tar.h"
#include "tests/client/test_files.h"

namespace graft {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

struct Written {
  absl::Status status;
  std::string tar;
  size_t largest_chunk = 0;
  int64_t content_bytes = 0;
};

Written TarOf(const std::vector<FolderFile>& files) {
  Written written;
  written.status = WriteTar(
      files,
      [&](const char* data, size_t size) {
        written.tar.append(data, size);
        written.largest_chunk = std::max(written.largest_chunk, size);
        return true;
      },
      [&](int64_t bytes) { written.content_bytes = bytes; });
  return written;
}

TEST(FolderTarTest, FolderReadsBackSortedByName) {
  const auto folder = TestFolder();
  MakeFile(folder / "tulip" / "2.jpg", "two");
  MakeFile(folder / "rose" / "1.jpg", "one");
  const auto files = ListFolder(folder.string(), nullptr);
  ASSERT_TRUE(files.ok()) << files.status();
  const Written written = TarOf(*files);
  ASSERT_TRUE(written.status.ok()) << written.status;
  EXPECT_THAT(ReadTar(written.tar), ElementsAre(Pair("rose/1.jpg", "one"), Pair("tulip/2.jpg", "two")));
  EXPECT_EQ(written.content_bytes, 6);
}

TEST(FolderTarTest, LongAndNonAsciiNamesSurvive) {
  const auto folder = TestFolder();
  const std::string label = "Gänseblümchen-" + std::string(120, 'x');
  const std::string name = std::string(140, 'y') + ".jpg";
  MakeFile(folder / label / name, "flower");
  const auto files = ListFolder(folder.string() + "/", nullptr);
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_THAT(ReadTar(TarOf(*files).tar), ElementsAre(Pair(label + "/" + name, "flower")));
}

TEST(FolderTarTest, SameFilesGiveSameBytes) {
  const auto folder = TestFolder();
  const auto path = MakeFile(folder / "a" / "1.jpg", "one");
  const std::string before = TarOf(*ListFolder(folder.string(), nullptr)).tar;
  std::filesystem::last_write_time(path, std::filesystem::last_write_time(path) - std::chrono::hours(24));
  EXPECT_EQ(TarOf(*ListFolder(folder.string(), nullptr)).tar, before);
}

TEST(FolderTarTest, ChunksAreAtMostOneMebibyte) {
  const auto folder = TestFolder();
  const std::string content(3 * (1 << 20) + 17, 'z');
  MakeFile(folder / "a" / "big.jpg", content);
  const Written written = TarOf(*ListFolder(folder.string(), nullptr));
  EXPECT_EQ(written.largest_chunk, size_t{1} << 20);
  EXPECT_THAT(ReadTar(written.tar), ElementsAre(Pair("a/big.jpg", content)));
}

TEST(FolderTarTest, LinksAreLeftOutWithAWarning) {
  const auto folder = TestFolder();
  MakeFile(folder / "a" / "1.jpg", "one");
  std::filesystem::create_symlink("/etc/hostname", folder / "a" / "link.jpg");
  std::filesystem::create_directory_symlink("/etc", folder / "etc");
  std::vector<std::string> warnings;
  const auto files = ListFolder(folder.string(), [&](const std::string& w) { warnings.push_back(w); });
  ASSERT_TRUE(files.ok()) << files.status();
  ASSERT_EQ(files->size(), 1u);
  EXPECT_EQ(files->front().name, "a/1.jpg");
  EXPECT_THAT(warnings, testing::UnorderedElementsAre("a/link.jpg: left out, a link", "etc: left out, a link"));
}

TEST(FolderTarTest, FileReplacedByALinkIsNotFollowed) {
  const auto folder = TestFolder();
  const std::string path = MakeFile(folder / "a" / "1.jpg", "one");
  const auto files = ListFolder(folder.string(), nullptr);
  std::filesystem::remove(path);
  std::filesystem::create_symlink("/etc/hostname", path);
  EXPECT_FALSE(TarOf(*files).status.ok());
}

TEST(FolderTarTest, EmptyFolderIsInvalidArgument) {
  EXPECT_TRUE(absl::IsInvalidArgument(ListFolder(TestFolder().string(), nullptr).status()));
}

TEST(FolderTarTest, MissingFolderIsNotFound) {
  const auto files = ListFolder((TestFolder() / "none").string(), nullptr);
  EXPECT_TRUE(absl::IsNotFound(files.status())) << files.status();
}

TEST(FolderTarTest, SinkThatSaysFalseCancels) {
  const auto folder = TestFolder();
  MakeFile(folder / "a" / "big.jpg", std::string(3 << 20, 'z'));
  int calls = 0;
  const auto status = WriteTar(*ListFolder(folder.string(), nullptr),
                               [&](const char*, size_t) { return ++calls < 2; }, nullptr);
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
  EXPECT_EQ(calls, 2);
}

TEST(FolderTarTest, FileThatVanishesIsNotFound) {
  const auto folder = TestFolder();
  const std::string path = MakeFile(folder / "a" / "1.jpg", "one");
  const auto files = ListFolder(folder.string(), nullptr);
  std::filesystem::remove(path);
  const absl::Status status = TarOf(*files).status;
  EXPECT_TRUE(absl::IsNotFound(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("1.jpg"));
}

// The file is cut from the progress callback, when its first MiB has been read.
TEST(FolderTarTest, FileCutWhileReadIsDataLoss) {
  const auto folder = TestFolder();
  const std::string path = MakeFile(folder / "a" / "big.jpg", std::string(3 << 20, 'z'));
  const auto status = WriteTar(
      *ListFolder(folder.string(), nullptr), [](const char*, size_t) { return true; },
      [&](int64_t) { std::filesystem::resize_file(path, 10); });
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
}

TEST(FolderTarTest, WriteFileSendsTheBytesAsTheyAre) {
  const std::string content(2 * (1 << 20) + 5, 'q');
  const std::string path = MakeFile(TestFolder() / "set.zip", content);
  std::string sent;
  const auto sink = [&](const char* data, size_t size) {
    sent.append(data, size);
    return true;
  };
  EXPECT_TRUE(WriteFile(path, sink, nullptr).ok());
  EXPECT_EQ(sent, content);
}

}  // namespace
}  // namespace graft

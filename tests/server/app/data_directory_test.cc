#include "server/data_directory.h"

#include <filesystem>
#include <fstream>

#include "gtest/gtest.h"
#include "tests/server/store/store_fixture.h"

namespace graft {
namespace {

TEST(DataDirectoryTest, IsMadeWhenMissing) {
  const ScratchDirectory scratch;
  const auto directory = DataDirectory::Open(scratch.path() + "/a/b");
  ASSERT_TRUE(directory.ok()) << directory.status();
  EXPECT_TRUE(std::filesystem::is_directory(scratch.path() + "/a/b"));
}

TEST(DataDirectoryTest, BelongsToOneAtATime) {
  const ScratchDirectory scratch;
  auto first = DataDirectory::Open(scratch.path());
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_TRUE(absl::IsFailedPrecondition(DataDirectory::Open(scratch.path()).status()));
  first->reset();
  EXPECT_TRUE(DataDirectory::Open(scratch.path()).ok());
}

TEST(DataDirectoryTest, FileInTheWayIsInternal) {
  const ScratchDirectory scratch;
  std::ofstream(scratch.path() + "/file") << "x";
  EXPECT_TRUE(absl::IsInternal(DataDirectory::Open(scratch.path() + "/file").status()));
}

}  // namespace
}  // namespace graft

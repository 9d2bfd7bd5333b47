#include "server/jobs/state_files.h"

#include <filesystem>
#include <fstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/store/store_fixture.h"

namespace graft {
namespace {

using testing::IsEmpty;
using testing::UnorderedElementsAre;

class StateFilesTest : public testing::Test {
 protected:
  StateFiles Open() {
    auto files = StateFiles::Open(directory_.path() + "/states");
    GRAFT_CHECK(files.ok());
    return *std::move(files);
  }
  ScratchDirectory directory_;
};

TEST_F(StateFilesTest, KeepsTheNewestState) {
  const StateFiles files = Open();
  ASSERT_TRUE(files.Write("job-1", "old and longer").ok());
  ASSERT_TRUE(files.Write("job-1", std::string("new\0", 4)).ok());
  EXPECT_EQ(*Open().Read("job-1"), std::string("new\0", 4));
}

TEST_F(StateFilesTest, NoStateIsEmpty) { EXPECT_EQ(*Open().Read("job-1"), ""); }

TEST_F(StateFilesTest, RemovedStateIsGone) {
  const StateFiles files = Open();
  ASSERT_TRUE(files.Write("job-1", "state").ok());
  files.Remove("job-1");
  EXPECT_EQ(*files.Read("job-1"), "");
  EXPECT_THAT(files.Jobs(), IsEmpty());
}

TEST_F(StateFilesTest, ListsJobsAndRemovesUnfinishedWrites) {
  const StateFiles files = Open();
  ASSERT_TRUE(files.Write("job-1", "a").ok());
  ASSERT_TRUE(files.Write("job-2", "b").ok());
  const std::string unfinished = directory_.path() + "/states/job-3.state.new";
  std::ofstream(unfinished) << "half";
  EXPECT_THAT(files.Jobs(), UnorderedElementsAre("job-1", "job-2"));
  EXPECT_FALSE(std::ifstream(unfinished).is_open());
}

TEST_F(StateFilesTest, DirectoryThatCannotBeMadeIsInternal) {
  std::ofstream(directory_.path() + "/file") << "in the way";
  EXPECT_TRUE(absl::IsInternal(StateFiles::Open(directory_.path() + "/file/states").status()));
}

TEST_F(StateFilesTest, StateThatCannotBeWrittenIsInternal) {
  const StateFiles files = Open();
  EXPECT_TRUE(absl::IsInternal(files.Write("no/such/folder", "state")));
}

TEST_F(StateFilesTest, AFullDiskIsResourceExhausted) {
  const StateFiles files = Open();
  std::filesystem::create_symlink("/dev/full", directory_.path() + "/states/job-1.state.new");
  EXPECT_TRUE(absl::IsResourceExhausted(files.Write("job-1", "state")));
  EXPECT_EQ(*files.Read("job-1"), "");
}

TEST_F(StateFilesTest, KeepsAStateOfManyBytes) {
  const StateFiles files = Open();
  std::string state;
  for (int i = 0; i < 300'000; ++i) state.push_back(static_cast<char>(i % 251));
  ASSERT_TRUE(files.Write("job-1", state).ok());
  EXPECT_TRUE(*files.Read("job-1") == state);
}

TEST_F(StateFilesTest, StateThatCannotBeReadIsInternal) {
  const StateFiles files = Open();
  std::filesystem::create_directory(directory_.path() + "/states/job-1.state");
  EXPECT_TRUE(absl::IsInternal(files.Read("job-1").status()));
}

}  // namespace
}  // namespace graft

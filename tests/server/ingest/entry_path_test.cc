#include "server/ingest/entry_path.h"

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace graft {
namespace {

using ::testing::HasSubstr;

std::string Normalized(absl::string_view name) { return NormalizeEntryPath(name).value_or("refused"); }
std::string Refusal(absl::string_view name) { return std::string(NormalizeEntryPath(name).status().message()); }

TEST(EntryPathTest, DropsDotsAndTheLastSlash) {
  EXPECT_EQ(Normalized("a/b.jpg"), "a/b.jpg");
  EXPECT_EQ(Normalized("./a/./b.jpg"), "a/b.jpg");
  EXPECT_EQ(Normalized("a/b/"), "a/b");
  EXPECT_EQ(Normalized("./"), "");
  EXPECT_EQ(Normalized("a/..b"), "a/..b");
  EXPECT_EQ(Normalized(std::string(1024, 'a')), std::string(1024, 'a'));
}

TEST(EntryPathTest, RefusesWhatLeadsElsewhere) {
  EXPECT_THAT(Refusal("/etc/passwd"), HasSubstr("entry \"/etc/passwd\": got an absolute path"));
  EXPECT_THAT(Refusal("a/../../b"), HasSubstr("got \"..\""));
  EXPECT_THAT(Refusal(".."), HasSubstr("got \"..\""));
  EXPECT_THAT(Refusal("../"), HasSubstr("got \"..\""));
  EXPECT_THAT(Refusal("a\\b"), HasSubstr("got a backslash"));
  EXPECT_THAT(Refusal("C:/a"), HasSubstr("got a drive letter"));
  EXPECT_THAT(Refusal("a//b"), HasSubstr("got an empty component"));
  EXPECT_THAT(Refusal("a//"), HasSubstr("got an empty component"));
  EXPECT_THAT(Refusal("/"), HasSubstr("got an absolute path"));
  EXPECT_THAT(Refusal(""), HasSubstr("got an empty name"));
  EXPECT_THAT(Refusal("a\nb"), HasSubstr("entry \"a\\nb\": got a control character"));
  EXPECT_THAT(Refusal(absl::string_view("a\0b", 3)), HasSubstr("got a control character"));
  EXPECT_THAT(Refusal(std::string(1025, 'a')), HasSubstr("got over 1024 bytes"));
  EXPECT_EQ(NormalizeEntryPath("..").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(EntryPathTest, KnowsJunk) {
  for (const char* path : {".DS_Store", "a/.git/x.jpg", "__MACOSX/a/._x.jpg", "a/Thumbs.db", "a/LICENSE", "README.md",
                           "a/classes.TXT", "desktop.ini"})
    EXPECT_TRUE(IsJunk(path)) << path;
  for (const char* path : {"a/x.jpg", "README/x.jpg", "a/x", "a/license.jpg", "a.txt/x.jpg", "manifest.csv"})
    EXPECT_FALSE(IsJunk(path)) << path;
}

}  // namespace
}  // namespace graft

#include "server/ingest/folder_layout.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace graft {
namespace {

using ::testing::ElementsAre;

// "label/split" of each, or "-" for a path that belongs nowhere.
std::vector<std::string> Place(const std::vector<std::string>& paths) {
  std::vector<std::string> placed;
  for (const Placement& place : PlaceByFolders(paths))
    placed.push_back(place.reason.empty() ? absl::StrCat(place.label, "/", SplitName(place.split)) : "-");
  return placed;
}

TEST(FolderLayoutTest, ClassFolders) {
  EXPECT_THAT(Place({"cats/1", "dogs/2", "dogs/sub/3", "4"}),
              ElementsAre("cats/unspecified", "dogs/unspecified", "dogs/unspecified", "-"));
}

TEST(FolderLayoutTest, SplitFolders) {
  EXPECT_THAT(Place({"train/cats/1", "val/cats/2", "validation/dogs/3", "TEST/dogs/sub/4", "valid/a/5"}),
              ElementsAre("cats/train", "cats/validation", "dogs/validation", "dogs/test", "a/validation"));
}

TEST(FolderLayoutTest, WhatIsNotLikeTheOthersBelongsNowhere) {
  EXPECT_THAT(Place({"train/cats/1", "cats/2", "test/3", "4"}), ElementsAre("cats/train", "-", "-", "-"));
}

TEST(FolderLayoutTest, OneTopFolderIsIgnored) {
  EXPECT_THAT(Place({"data/cats/1", "data/dogs/2"}), ElementsAre("cats/unspecified", "dogs/unspecified"));
  EXPECT_THAT(Place({"set/train/cats/1", "set/test/cats/2", "cover", "set/3"}),
              ElementsAre("cats/train", "cats/test", "-", "-"));
}

TEST(FolderLayoutTest, TheOnlyFolderIsTheLabel) {
  EXPECT_THAT(Place({"cats/1", "cats/2"}), ElementsAre("cats/unspecified", "cats/unspecified"));
  EXPECT_THAT(Place({"cats/1", "cats/sub/2"}), ElementsAre("cats/unspecified", "cats/unspecified"));
}

TEST(FolderLayoutTest, TheOnlySplitFolderIsNoTopFolder) {
  EXPECT_THAT(Place({"train/cats/1", "train/dogs/2"}), ElementsAre("cats/train", "dogs/train"));
}

TEST(FolderLayoutTest, SplitsWithoutClassesAreNoClasses) {
  EXPECT_THAT(Place({"train/1", "test/2"}), ElementsAre("-", "-"));
}

TEST(FolderLayoutTest, NoPictures) { EXPECT_TRUE(Place({}).empty()); }

}  // namespace
}  // namespace graft

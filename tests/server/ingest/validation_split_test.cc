#include "server/ingest/validation_split.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace graft {
namespace {

using ::testing::Each;
using ::testing::Pair;

DatasetItem Item(int64_t number, std::vector<int> labels, Split split = Split::kUnspecified) {
  DatasetItem item;
  item.file_name = absl::StrCat(number);
  item.image_digest = absl::StrCat("sha256:", number);
  item.labels = std::move(labels);
  item.split = split;
  return item;
}

// Training and validation pictures of each class; of class -1 those without one.
std::map<int, std::array<int, 2>> Counts(const std::vector<DatasetItem>& items) {
  std::map<int, std::array<int, 2>> counts;
  for (const DatasetItem& item : items) {
    const std::vector<int> labels = item.labels.empty() ? std::vector<int>{-1} : item.labels;
    for (const int label : labels) ++counts[label][item.split == Split::kValidation ? 1 : 0];
  }
  return counts;
}

std::map<std::string, Split> Splits(const std::vector<DatasetItem>& items) {
  std::map<std::string, Split> splits;
  for (const DatasetItem& item : items) splits[item.image_digest] = item.split;
  return splits;
}

// Pictures whose classes go together in uneven ways: 0 is on every second, 1 on every third, ... 9 on every eleventh.
std::vector<DatasetItem> Mixed(int count) {
  std::vector<DatasetItem> items;
  for (int i = 0; i < count; ++i) {
    std::vector<int> labels;
    for (int label = 0; label < 10; ++label) {
      if (i % (label + 2) == 0) labels.push_back(label);
    }
    items.push_back(Item(i, labels));
  }
  return items;
}

TEST(ValidationSplitTest, EachClassGivesItsShare) {
  std::vector<DatasetItem> items;
  for (int i = 0; i < 30; ++i) items.push_back(Item(i, {i < 20 ? 0 : 1}));
  SplitOffValidation({0.25, 1}, &items);
  EXPECT_THAT(Counts(items), testing::ElementsAre(Pair(0, std::array{15, 5}), Pair(1, std::array{7, 3})));
}

TEST(MultiLabelSplitTest, OneClassAPictureGivesTheCountsOfSingleLabel) {
  for (const double fraction : {0.1, 0.2, 0.5, 0.9}) {
    std::vector<DatasetItem> items;
    for (int i = 0; i < 60; ++i) items.push_back(Item(i, {i < 37 ? 0 : i < 58 ? 1 : i < 59 ? 2 : 3}));
    std::vector<DatasetItem> single = items;
    SplitOffValidation({fraction, 3}, &single);
    SplitOffMultiLabelValidation({fraction, 3}, &items);
    EXPECT_EQ(Counts(items), Counts(single)) << fraction;
  }
}

TEST(MultiLabelSplitTest, EachClassAndPicturesWithoutOneGiveAboutTheirShare) {
  std::vector<DatasetItem> items = Mixed(600);
  SplitOffMultiLabelValidation({0.2, 5}, &items);
  for (const auto& [label, counts] : Counts(items)) {
    const double share = static_cast<double>(counts[1]) / (counts[0] + counts[1]);
    EXPECT_NEAR(share, 0.2, 0.03) << label << ": " << counts[0] << " " << counts[1];
  }
  const auto validation = std::count_if(items.begin(), items.end(),
                                        [](const DatasetItem& item) { return item.split == Split::kValidation; });
  EXPECT_NEAR(static_cast<double>(validation), 120, 6);
}

TEST(MultiLabelSplitTest, OrderAndNamesDoNotMatterAndTheSeedDoes) {
  std::vector<DatasetItem> items = Mixed(200), reversed = items, other = items;
  std::reverse(reversed.begin(), reversed.end());
  for (DatasetItem& item : reversed) item.file_name = "x";
  SplitOffMultiLabelValidation({0.2, 1}, &items);
  SplitOffMultiLabelValidation({0.2, 1}, &reversed);
  SplitOffMultiLabelValidation({0.2, 2}, &other);
  EXPECT_EQ(Splits(items), Splits(reversed));
  EXPECT_NE(Splits(items), Splits(other));
}

TEST(MultiLabelSplitTest, EachClassKeepsATrainingPicture) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    // Ten classes of two pictures each, in a ring: whatever goes to validation takes two of them along.
    std::vector<DatasetItem> items;
    for (int i = 0; i < 10; ++i) items.push_back(Item(i, {std::min(i, (i + 1) % 10), std::max(i, (i + 1) % 10)}));
    items.push_back(Item(10, {3}));
    SplitOffMultiLabelValidation({0.9, seed}, &items);
    int validation = 0;
    for (const auto& [label, counts] : Counts(items)) {
      EXPECT_GE(counts[0], 1) << label << ", seed " << seed;
      validation += counts[1];
    }
    EXPECT_GE(validation, 1) << seed;
  }
}

TEST(MultiLabelSplitTest, TheOnlyPictureOfAClassStaysInTraining) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    std::vector<DatasetItem> items{Item(0, {0}), Item(1, {0}), Item(2, {0, 1}), Item(3, {})};
    SplitOffMultiLabelValidation({0.9, seed}, &items);
    EXPECT_EQ(items[2].split, Split::kTrain);
    EXPECT_EQ(items[3].split, Split::kTrain);
  }
}

TEST(MultiLabelSplitTest, TestPicturesStayAndDoNotCount) {
  std::vector<DatasetItem> items = Mixed(60);
  for (int i = 0; i < 30; ++i) items[i].split = Split::kTest;
  SplitOffMultiLabelValidation({0.2, 1}, &items);
  std::vector<Split> first;
  for (int i = 0; i < 30; ++i) first.push_back(items[i].split);
  EXPECT_THAT(first, Each(Split::kTest));
  for (size_t i = 30; i < 60; ++i) EXPECT_NE(items[i].split, Split::kUnspecified);
}

TEST(MultiLabelSplitTest, NothingIsSplitIntoNothing) {
  std::vector<DatasetItem> items;
  SplitOffMultiLabelValidation({}, &items);
  EXPECT_TRUE(items.empty());
}

}  // namespace
}  // namespace graft

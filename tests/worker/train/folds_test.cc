#include "worker/train/folds.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

namespace graft {
namespace {

using ::testing::IsSubsetOf;

// Class c has 3 + 7c examples, in mixed order.
std::vector<int> UnevenLabels() {
  std::vector<int> labels;
  for (int i = 0; i < 31; ++i) {
    for (int c = 0; c < 5; ++c) {
      if (i < 3 + 7 * c) labels.push_back(c);
    }
  }
  return labels;
}

template <typename Counts>
int Spread(const Counts& counts) {
  const auto [low, high] = std::minmax_element(counts.begin(), counts.end());
  return *high - *low;
}

TEST(StratifiedFoldsTest, SharesOfAClassDifferByAtMostOne) {
  const std::vector<int> labels = UnevenLabels();
  for (const int folds : {1, 2, 3, 5, 10}) {
    const std::vector<int> fold_of = StratifiedFolds(labels, folds, 7);
    ASSERT_EQ(fold_of.size(), labels.size());
    std::map<int, std::vector<int>> counts;
    for (size_t i = 0; i < labels.size(); ++i) {
      ASSERT_GE(fold_of[i], 0);
      ASSERT_LT(fold_of[i], folds);
      counts[labels[i]].resize(folds);
      ++counts[labels[i]][fold_of[i]];
    }
    for (const auto& [label, shares] : counts) EXPECT_LE(Spread(shares), 1) << "class " << label;
  }
}

TEST(StratifiedFoldsTest, WholeFoldsDifferByAtMostOne) {
  // Each class alone would put its only example into fold 0.
  std::vector<int> sizes(4);
  for (const int fold : StratifiedFolds({0, 1, 2, 3, 4, 5}, 4, 7)) ++sizes[fold];
  EXPECT_LE(Spread(sizes), 1);
}

TEST(StratifiedFoldsTest, DependsOnTheSeed) {
  const std::vector<int> labels = UnevenLabels();
  EXPECT_EQ(StratifiedFolds(labels, 5, 7), StratifiedFolds(labels, 5, 7));
  EXPECT_NE(StratifiedFolds(labels, 5, 7), StratifiedFolds(labels, 5, 8));
}

TEST(StratifiedFoldsTest, NoExamplesNoFolds) { EXPECT_TRUE(StratifiedFolds({}, 5, 0).empty()); }

TEST(StratifiedSubsetTest, TakesTheFractionOfEachClassAndAtLeastOne) {
  const std::vector<int> labels = UnevenLabels();
  const std::vector<int64_t> subset = StratifiedSubset(labels, 0.1, 7);
  EXPECT_TRUE(std::is_sorted(subset.begin(), subset.end()));
  std::map<int, int> counts;
  for (const int64_t i : subset) ++counts[labels.at(i)];
  EXPECT_EQ(counts, (std::map<int, int>{{0, 1}, {1, 1}, {2, 2}, {3, 2}, {4, 3}})) << "of 3, 10, 17, 24, 31";
}

TEST(StratifiedSampleTest, IsASubsetOfAboutSoManyOrAll) {
  std::vector<int> one_each(90, 0);
  one_each.resize(100, 1);
  const Labelling labels{one_each};
  EXPECT_EQ(StratifiedSample(labels, 50, 7), StratifiedSubset(labels, 0.5, 7));
  EXPECT_EQ(StratifiedSample(labels, 50, 7).size(), 50u);
  for (const int64_t most : {100, 1000}) {
    const std::vector<int64_t> all = StratifiedSample(labels, most, 7);
    ASSERT_EQ(all.size(), 100u);
    for (int64_t i = 0; i < 100; ++i) EXPECT_EQ(all[i], i);
  }
}

TEST(StratifiedSubsetTest, SmallerIsPartOfLarger) {
  const std::vector<int> labels = UnevenLabels();
  std::vector<int64_t> smaller;
  for (const double fraction : {0.0, 0.02, 0.1, 0.25, 0.26, 0.5, 0.9, 1.0}) {
    const std::vector<int64_t> larger = StratifiedSubset(labels, fraction, 7);
    EXPECT_THAT(smaller, IsSubsetOf(larger)) << fraction;
    smaller = larger;
  }
  EXPECT_EQ(smaller.size(), labels.size());
  EXPECT_EQ(std::set<int64_t>(smaller.begin(), smaller.end()).size(), labels.size());
}

TEST(StratifiedSubsetTest, DependsOnTheSeed) {
  const std::vector<int> labels = UnevenLabels();
  EXPECT_EQ(StratifiedSubset(labels, 0.5, 7), StratifiedSubset(labels, 0.5, 7));
  EXPECT_NE(StratifiedSubset(labels, 0.5, 7), StratifiedSubset(labels, 0.5, 8));
}

// A resumed job must see the same subset and folds. Written down from the functions themselves on libstdc++ 12; they
// use integer arithmetic on a sequence that the C++ standard fixes.
TEST(FoldsTest, NeverChange) {
  const std::vector<int> labels = {0, 1, 0, 1, 0, 1, 2, 2, 0, 1};
  EXPECT_EQ(StratifiedFolds(labels, 3, 42), (std::vector<int>{2, 2, 0, 1, 1, 0, 0, 2, 0, 1}));
  EXPECT_EQ(StratifiedSubset(labels, 0.5, 42), (std::vector<int64_t>{0, 1, 3, 6, 8}));
}

// Twenty kinds of pictures of five classes, the last of them rare, in mixed order.
Labelling ManySets(int pictures) {
  std::vector<std::vector<int>> sets;
  for (int i = 0; i < pictures; ++i) {
    std::vector<int> set;
    for (int c = 0; c < 4; ++c) {
      if ((i * 7 + i / 3) % (c + 2) == 0) set.push_back(c);
    }
    if (i % 25 == 3) set.push_back(4);
    sets.push_back(set);
  }
  return Labelling::AnyNumber(sets);
}

TEST(StratifiedFoldsTest, OfAnyNumberOfClassesAreEvenInEachClass) {
  const Labelling labels = ManySets(200);
  const std::vector<int> fold_of = StratifiedFolds(labels, 4, 7);
  std::vector<int> sizes(4);
  std::vector<std::vector<int>> of_class(6, std::vector<int>(4));
  for (size_t i = 0; i < labels.size(); ++i) {
    ++sizes[fold_of[i]];
    for (const int label : labels.sets()[i]) ++of_class[label][fold_of[i]];
    if (labels.sets()[i].empty()) ++of_class[5][fold_of[i]];
  }
  EXPECT_LE(Spread(sizes), 4);
  EXPECT_EQ(of_class[4], (std::vector<int>{2, 2, 2, 2})) << "the rarest are dealt first";
  for (const std::vector<int>& counts : of_class) EXPECT_LE(Spread(counts), 4);
  EXPECT_EQ(StratifiedFolds(labels, 4, 7), fold_of);
  EXPECT_NE(StratifiedFolds(labels, 4, 8), fold_of);
}

TEST(StratifiedFoldsTest, OfAnyNumberOfClassesNoneIsEmpty) {
  for (const int folds : {1, 2, 5, 9}) {
    const std::vector<int> fold_of = StratifiedFolds(ManySets(9), folds, 7);
    EXPECT_EQ(std::set<int>(fold_of.begin(), fold_of.end()).size(), static_cast<size_t>(folds));
  }
  EXPECT_TRUE(StratifiedFolds(Labelling::AnyNumber({}), 3, 7).empty());
}

// Pictures in each fold; with a label, those that have it.
std::vector<int> Shares(const Labelling& labels, int folds, int label = -1) {
  const std::vector<int> fold_of = StratifiedFolds(labels, folds, 7);
  std::vector<int> shares(folds);
  for (size_t i = 0; i < labels.size(); ++i) shares[fold_of[i]] += label < 0 || labels.Has(i, label);
  return shares;
}

TEST(StratifiedFoldsTest, OfEqualSetsDifferByAtMostOne) {
  for (const std::vector<int>& set : {std::vector<int>{}, std::vector<int>{2}, std::vector<int>{0, 1, 2}}) {
    const Labelling labels = Labelling::AnyNumber(std::vector<std::vector<int>>(23, set));
    for (const int folds : {2, 5, 23}) EXPECT_LE(Spread(Shares(labels, folds)), 1) << set.size() << " " << folds;
  }
}

TEST(StratifiedSubsetTest, OfEqualSetsIsTheirShare) {
  for (const std::vector<int>& set : {std::vector<int>{}, std::vector<int>{0, 1, 2}}) {
    const Labelling labels = Labelling::AnyNumber(std::vector<std::vector<int>>(23, set));
    EXPECT_EQ(StratifiedSubset(labels, 0.3, 7).size(), 7u);
    EXPECT_EQ(StratifiedSubset(labels, 0, 7).size(), set.empty() ? 0u : 1u) << "one of each class";
  }
}

// The first picture counts for every class.
TEST(StratifiedFoldsTest, OfOnePictureWithAllClassesAndOthersWithOneAreEvenInEachClass) {
  std::vector<std::vector<int>> sets = {{0, 1, 2, 3, 4}};
  for (int i = 0; i < 20; ++i) sets.push_back({i % 5});
  const Labelling labels = Labelling::AnyNumber(sets);
  for (int label = 0; label < 5; ++label) EXPECT_EQ(Shares(labels, 5, label), std::vector<int>(5, 1)) << label;
  EXPECT_EQ(Shares(labels, 21), std::vector<int>(21, 1)) << "none is empty";
}

TEST(StratifiedSubsetTest, OfAnyNumberOfClassesIsNestedAndHasEachClass) {
  const Labelling labels = ManySets(200);
  const std::vector<int64_t> all = labels.Counts(5);
  std::vector<int64_t> smaller;
  for (const double fraction : {0.0, 0.01, 0.125, 0.3, 0.5, 0.9, 1.0}) {
    const std::vector<int64_t> subset = StratifiedSubset(labels, fraction, 7);
    EXPECT_TRUE(std::is_sorted(subset.begin(), subset.end()));
    EXPECT_THAT(smaller, IsSubsetOf(subset));
    EXPECT_NEAR(static_cast<double>(subset.size()), 200 * fraction, 5) << fraction;
    const std::vector<int64_t> counts = labels.At(subset).Counts(5);
    for (int c = 0; c < 5; ++c) {
      EXPECT_GE(counts[c], 1) << fraction;
      EXPECT_NEAR(static_cast<double>(counts[c]), fraction * static_cast<double>(all[c]), 5) << fraction;
    }
    smaller = subset;
  }
  EXPECT_EQ(smaller.size(), 200u);
  EXPECT_EQ(StratifiedSubset(labels, 0.5, 7), StratifiedSubset(labels, 0.5, 7));
  EXPECT_NE(StratifiedSubset(labels, 0.5, 7), StratifiedSubset(labels, 0.5, 8));
  EXPECT_TRUE(StratifiedSubset(Labelling::AnyNumber({}), 0.5, 7).empty());
}

// What is stored depends on it: numbers of this program's first version.
TEST(StratifiedFoldsTest, OfAnyNumberOfClassesAreTheSameEverywhere) {
  const Labelling labels = Labelling::AnyNumber({{0}, {0, 1}, {}, {1}, {2}, {0, 2}, {}, {1, 2}});
  EXPECT_EQ(StratifiedFolds(labels, 3, 42), (std::vector<int>{2, 1, 2, 2, 1, 0, 1, 0}));
  EXPECT_EQ(StratifiedSubset(labels, 0.5, 42), (std::vector<int64_t>{0, 2, 4, 7}));
}

}  // namespace
}  // namespace graft

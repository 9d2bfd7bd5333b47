#include "worker/data/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>

namespace graft {
namespace {

TEST(ShuffledIndicesTest, IsAPermutation) {
  for (const int64_t count : {0, 1, 2, 1000}) {
    std::vector<int64_t> indices = ShuffledIndices(count, 1, 2, 3), want(count);
    std::sort(indices.begin(), indices.end());
    std::iota(want.begin(), want.end(), 0);
    EXPECT_EQ(indices, want);
  }
}

TEST(ShuffledIndicesTest, DependsOnSeedPhaseAndEpochAlone) {
  EXPECT_EQ(ShuffledIndices(100, 1, 2, 3), ShuffledIndices(100, 1, 2, 3));
  const std::set<std::vector<int64_t>> different = {ShuffledIndices(100, 1, 2, 3), ShuffledIndices(100, 0, 2, 3),
                                                    ShuffledIndices(100, 1, 0, 3), ShuffledIndices(100, 1, 2, 0),
                                                    ShuffledIndices(100, 1 + (uint64_t{1} << 32), 2, 3)};
  EXPECT_EQ(different.size(), 5u);
}

// A stored training state goes on with the same order in every later version. Written down from ShuffledIndices()
// itself on libstdc++ 12; the standard fixes both of the sequences that it is made from.
TEST(ShuffledIndicesTest, OrderNeverChanges) {
  EXPECT_EQ(ShuffledIndices(10, 42, 1, 7), (std::vector<int64_t>{8, 4, 0, 3, 2, 9, 1, 6, 5, 7}));
}

TEST(ShuffledIndicesTest, EachPlaceIsEquallyLikely) {
  constexpr int kRounds = 6000;
  int at_front[3] = {};
  for (int epoch = 0; epoch < kRounds; ++epoch) ++at_front[ShuffledIndices(3, 5, 0, epoch)[0]];
  for (const int count : at_front) EXPECT_NEAR(count, kRounds / 3, 5 * 37) << "five standard deviations";
}

}  // namespace
}  // namespace graft

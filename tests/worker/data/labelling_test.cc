#include "worker/data/labelling.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/pictures.h"

namespace graft {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(LabellingTest, OneClassEach) {
  const Labelling labels = Labelling::Of(ColourDataset(3, 1, 1).train);
  EXPECT_FALSE(labels.multi_label());
  EXPECT_EQ(labels.size(), 3u);
  EXPECT_THAT(labels.one_each(), ElementsAre(0, 1, 2));
  EXPECT_TRUE(labels.Has(1, 1));
  EXPECT_FALSE(labels.Has(1, 2));
  EXPECT_THAT(labels.At({2, 0}).one_each(), ElementsAre(2, 0));
  EXPECT_THAT(labels.At({2, 0}).Counts(4), ElementsAre(1, 0, 1, 0));
}

TEST(LabellingTest, AnyNumberOfClassesEach) {
  const Labelling labels = Labelling::Of(LightsDataset(1, 1).train);
  EXPECT_TRUE(labels.multi_label());
  EXPECT_EQ(labels.size(), 8u);
  EXPECT_THAT(labels.sets()[0], IsEmpty());
  EXPECT_THAT(labels.sets()[6], ElementsAre(1, 2));
  EXPECT_TRUE(labels.Has(6, 2));
  EXPECT_FALSE(labels.Has(6, 0));
  EXPECT_THAT(labels.Counts(3), ElementsAre(4, 4, 4));
  const Labelling some = labels.At({7, 0});
  EXPECT_TRUE(some.multi_label());
  EXPECT_THAT(some.sets(), ElementsAre(ElementsAre(0, 1, 2), IsEmpty()));
  EXPECT_THAT(labels.one_each(), IsEmpty());
}

TEST(LabellingTest, OfSomeExamplesIsThatOfAllAtThem) {
  const std::vector<int64_t> some = {4, 0, 4};
  for (const Dataset& data : {ColourDataset(3, 2, 1), LightsDataset(1, 1)}) {
    const Labelling got = Labelling::Of(data.train, some.data(), 3), want = Labelling::Of(data.train).At(some);
    EXPECT_EQ(got.multi_label(), data.multi_label);
    EXPECT_EQ(got.one_each(), want.one_each());
    EXPECT_EQ(got.sets(), want.sets());
  }
}

TEST(LabellingTest, NoPictures) {
  EXPECT_EQ(Labelling().size(), 0u);
  EXPECT_EQ(Labelling::Of({}).size(), 0u);
  EXPECT_EQ(Labelling::Of({}, nullptr, 0).size(), 0u);
}

}  // namespace
}  // namespace graft

#include "worker/train/decisions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "worker/train/calibration.h"

namespace graft {
namespace {

using testing::ElementsAre;
using testing::Pointwise;
using testing::FloatNear;

const Labelling kLabels = Labelling::AnyNumber({{0, 2}, {}});
const std::vector<float> kLogits = {3, -1, 0, 0.5f, 2, -2};

TEST(DecisionsTest, OfOneClassEachArePictures) {
  const Decisions d = DecisionsOf({1, 0}, kLogits, 3);
  EXPECT_EQ(d.logits, kLogits);
  EXPECT_THAT(d.labels, ElementsAre(1, 0));
  EXPECT_EQ(d.classes, 3);
  EXPECT_EQ(d.each, 1);
}

TEST(DecisionsTest, OfAnyNumberOfClassesAreOneForEachPictureAndClass) {
  const Decisions d = DecisionsOf(kLabels, kLogits, 3);
  EXPECT_THAT(d.logits, ElementsAre(3, 0, -1, 0, 0, 0, 0.5f, 0, 2, 0, -2, 0));
  EXPECT_THAT(d.labels, ElementsAre(0, 1, 0, 1, 1, 1));
  EXPECT_EQ(d.classes, 2);
  EXPECT_EQ(d.each, 3);
}

TEST(DecisionsTest, OfAClassAreOneForEachPicture) {
  const Decisions d = DecisionsOfClass(kLabels, kLogits, 3, 2);
  EXPECT_THAT(d.logits, ElementsAre(0, 0, -2, 0));
  EXPECT_THAT(d.labels, ElementsAre(0, 1));
  EXPECT_EQ(d.classes, 2);
}

TEST(ProbabilitiesTest, AreSoftmaxOrSigmoid) {
  EXPECT_EQ(ProbabilitiesOf(false, kLogits, 3, 2), Softmax(kLogits, 3, 2));
  const float log_3 = std::log(3.0f);
  EXPECT_THAT(ProbabilitiesOf(true, {2 * log_3, -2 * log_3, 0, -1e30f}, 2, 2),
              Pointwise(FloatNear(1e-6f), {0.75f, 0.25f, 0.5f, 0.0f}));
  EXPECT_EQ(ProbabilitiesOf(true, {0}, 1, 3)[0], 0.5f) << "a tie is a yes";
}

}  // namespace
}  // namespace graft

#include "worker/train/weight_average.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <map>
#include <string>

#include "tests/support/tiny_backbone.h"

namespace graft {
namespace {

Suffix Head() { return Suffix(*TinyBackbone(), 14, HeadOptions(), 2, 1); }

// As if a step had led there.
void SetAll(const Suffix& suffix, double value) {
  torch::NoGradGuard no_grad;
  for (auto& [name, tensor] : suffix.State()) at::Tensor(tensor).fill_(value);
}

void ExpectAll(const std::map<std::string, at::Tensor>& tensors, double want) {
  for (const auto& [name, tensor] : tensors) {
    EXPECT_NEAR(tensor.min().item<double>(), want, 1e-5) << name;
    EXPECT_NEAR(tensor.max().item<double>(), want, 1e-5) << name;
  }
}

TEST(WeightAverageTest, FirstStepsForgetTheBeginning) {
  const Suffix suffix = Head();
  WeightAverage average(0.999);
  SetAll(suffix, 1);
  average.Update(suffix);
  ExpectAll(average.averages(), 1);
  SetAll(suffix, 5);
  average.Update(suffix);  // decay 3 / 12
  ExpectAll(average.averages(), 0.25 * 1 + 0.75 * 5);
  SetAll(suffix, -3);
  average.Update(suffix);  // decay 4 / 13
  ExpectAll(average.averages(), 4.0 / 13 * 4 - 9.0 / 13 * 3);
  EXPECT_EQ(average.steps(), 3);
  EXPECT_EQ(average.averages().size(), suffix.State().size());
}

TEST(WeightAverageTest, FollowsTheRecurrence) {
  const Suffix suffix = Head();
  WeightAverage average(0.5);
  double want = 0;
  for (int t = 1; t <= 20; ++t) {  // from t = 8 on the decay is 0.5
    const double value = t * t % 7;
    SetAll(suffix, value);
    average.Update(suffix);
    const double decay = std::min(0.5, (1.0 + t) / (10.0 + t));
    want = t == 1 ? value : decay * want + (1 - decay) * value;
    ExpectAll(average.averages(), want);
  }
}

TEST(WeightAverageTest, RunningStatisticsAreAveragedToo) {
  const Suffix suffix(*TinyBackbone(), 12, HeadOptions(), 2, 1);
  WeightAverage average(0.9);
  SetAll(suffix, 1);
  average.Update(suffix);
  SetAll(suffix, 5);
  average.Update(suffix);
  ASSERT_EQ(average.averages().count("features.12.1.running_mean"), 1u);
  ExpectAll(average.averages(), 4);
}

TEST(WeightAverageTest, IsNotTheWeightsOwnMemory) {
  const Suffix suffix = Head();
  WeightAverage average(0.9);
  SetAll(suffix, 1);
  average.Update(suffix);
  SetAll(suffix, 9);
  ExpectAll(average.averages(), 1);
  ExpectAll(suffix.State(), 9);
  for (const auto& [name, tensor] : average.averages()) EXPECT_FALSE(tensor.requires_grad()) << name;
}

TEST(WeightAverageTest, WeightsAreTheAveragesOnceThereAreSome) {
  const Suffix suffix = Head();
  WeightAverage average(0.9);
  SetAll(suffix, 2);
  ExpectAll(average.Weights(suffix), 2);
  average.Update(suffix);
  SetAll(suffix, 7);
  EXPECT_EQ(average.Weights(suffix).size(), suffix.State().size());
  ExpectAll(average.Weights(suffix), 2);
}

TEST(WeightAverageTest, OffItKeepsNothing) {
  const Suffix suffix = Head();
  WeightAverage average(0);
  EXPECT_FALSE(average.on());
  EXPECT_TRUE(WeightAverage(0.9).on());
  SetAll(suffix, 2);
  average.Update(suffix);
  SetAll(suffix, 7);
  EXPECT_TRUE(average.averages().empty());
  EXPECT_EQ(average.steps(), 0);
  ExpectAll(average.Weights(suffix), 7);
}

TEST(WeightAverageTest, RestoredItGoesOnToTheBit) {
  const Suffix suffix = Head();
  WeightAverage whole(0.9), half(0.9), restored(0.9);
  const auto update = [&](int t, WeightAverage* average) {
    SetAll(suffix, 1.0 / t);
    average->Update(suffix);
  };
  for (int t = 1; t <= 6; ++t) update(t, &whole);
  for (int t = 1; t <= 3; ++t) update(t, &half);
  restored.Restore(half.averages(), half.steps());
  EXPECT_EQ(restored.steps(), 3);
  update(9, &half);  // the restored one has its own copies
  for (int t = 4; t <= 6; ++t) update(t, &restored);
  ASSERT_EQ(restored.averages().size(), whole.averages().size());
  for (const auto& [name, tensor] : whole.averages()) {
    EXPECT_TRUE(at::equal(restored.averages().at(name), tensor)) << name;
  }
}

}  // namespace
}  // namespace graft

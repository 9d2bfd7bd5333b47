#include "worker/train/train_state.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "worker/backbone/safetensors.h"

namespace graft {
namespace {

TrainState State() {
  TrainState state;
  state.fingerprint = "sha256:abc";
  state.phase = 1;
  state.epoch = 7;
  state.weights = {{"head.weight", at::arange(6, at::kFloat).view({2, 3})}, {"head.bias", at::ones({2})}};
  state.momentum = {{"head.weight", at::full({2, 3}, 0.25f)}};
  return state;
}

TEST(TrainStateTest, SurvivesARoundTrip) {
  const auto back = ParseTrainState(SerializeTrainState(State()));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->fingerprint, "sha256:abc");
  EXPECT_EQ(back->phase, 1);
  EXPECT_EQ(back->epoch, 7);
  ASSERT_EQ(back->weights.size(), 2u);
  ASSERT_EQ(back->momentum.size(), 1u);
  EXPECT_TRUE(at::equal(back->weights.at("head.weight"), State().weights.at("head.weight")));
  EXPECT_TRUE(at::equal(back->momentum.at("head.weight"), State().momentum.at("head.weight")));
}

TEST(TrainStateTest, DamageIsDataLoss) {
  const std::string bytes = SerializeTrainState(State());
  EXPECT_EQ(ParseTrainState("").status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(ParseTrainState(bytes.substr(0, bytes.size() / 2)).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(ParseTrainState(bytes + "x").status().code(), absl::StatusCode::kDataLoss);
}

TEST(TrainStateTest, NoPhaseOrEpochIsDataLoss) {
  for (const char* key : {"phase", "epoch"}) {
    SafeTensors file = *ParseSafeTensors(SerializeTrainState(State()));
    file.metadata.erase(key);
    EXPECT_EQ(ParseTrainState(SerializeSafeTensors(file)).status().code(), absl::StatusCode::kDataLoss);
    file.metadata[key] = "many";
    EXPECT_EQ(ParseTrainState(SerializeSafeTensors(file)).status().code(), absl::StatusCode::kDataLoss);
  }
}

}  // namespace
}  // namespace graft

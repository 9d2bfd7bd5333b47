#include "worker/train/train_state.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <string>

#include "worker/backbone/safetensors.h"

namespace graft {
namespace {

// Every field differs from its default and from the others.
TrainState State() {
  TrainState state;
  state.fingerprint = "sha256:abc";
  state.phase = 1;
  state.epoch = 7;
  state.totals.loss = 0.1 + 0.2;  // not a short decimal: its bits must come back
  state.totals.weight = 2.0 / 3;
  state.totals.correct = 11;
  state.totals.images = 12;
  state.totals.last_rate_factor = 1.0 / 7;
  state.epoch_seconds = 3.25;
  state.rate_tested = true;
  state.found_rate = 0.1 / 3;
  state.weights = {{"head.weight", at::arange(6, at::kFloat).view({2, 3})}, {"head.bias", at::ones({2})}};
  state.optimizer = {{"momentum.head.weight", at::full({2, 3}, 0.25f)},
                     {"step.head.weight", at::full({1}, 5, at::kLong)}};
  state.averages = {{"head.weight", at::full({2, 3}, 0.5f)}};
  state.average_steps = 13;
  state.loss_scale = 1024;
  state.sound_steps = 14;
  state.best_weights = {{"head.weight", at::full({2, 3}, 0.75f)}};
  state.best_metric = -0.1;
  state.best_epoch = 5;
  state.stale_epochs = 2;
  return state;
}

void ExpectEqual(const TrainState::Tensors& got, const TrainState::Tensors& want) {
  ASSERT_EQ(got.size(), want.size());
  for (const auto& [name, value] : want) {
    ASSERT_EQ(got.count(name), 1u) << name;
    EXPECT_EQ(got.at(name).scalar_type(), value.scalar_type()) << name;
    EXPECT_TRUE(at::equal(got.at(name), value)) << name;
  }
}

TEST(TrainStateTest, EveryFieldSurvivesARoundTrip) {
  const auto back = ParseTrainState(SerializeTrainState(State()));
  ASSERT_TRUE(back.ok()) << back.status();
  const TrainState want = State();
  EXPECT_EQ(back->fingerprint, want.fingerprint);
  EXPECT_EQ(back->phase, 1);
  EXPECT_EQ(back->epoch, 7);
  EXPECT_EQ(back->totals.loss, want.totals.loss);
  EXPECT_EQ(back->totals.weight, want.totals.weight);
  EXPECT_EQ(back->totals.correct, 11);
  EXPECT_EQ(back->totals.images, 12);
  EXPECT_EQ(back->totals.last_rate_factor, want.totals.last_rate_factor);
  EXPECT_EQ(back->epoch_seconds, 3.25);
  EXPECT_TRUE(back->rate_tested);
  EXPECT_EQ(back->found_rate, want.found_rate);
  EXPECT_EQ(back->average_steps, 13);
  EXPECT_EQ(back->loss_scale, 1024);
  EXPECT_EQ(back->sound_steps, 14);
  EXPECT_EQ(back->best_metric, want.best_metric);
  EXPECT_EQ(back->best_epoch, 5);
  EXPECT_EQ(back->stale_epochs, 2);
  ExpectEqual(back->weights, want.weights);
  ExpectEqual(back->optimizer, want.optimizer);
  ExpectEqual(back->averages, want.averages);
  ExpectEqual(back->best_weights, want.best_weights);
}

TEST(TrainStateTest, FoundRatesSurviveARoundTrip) {
  TrainState state = State();
  state.found_rates = {{"fine-tune", 0.1 / 3}, {"unfreeze-1", 1e-7 / 3}};
  const auto back = ParseTrainState(SerializeTrainState(state));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->found_rates, state.found_rates);
}

TEST(TrainStateTest, GroupsMayBeEmpty) {
  TrainState state;
  state.weights = State().weights;
  const auto back = ParseTrainState(SerializeTrainState(state));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_TRUE(back->optimizer.empty());
  EXPECT_TRUE(back->averages.empty());
  EXPECT_TRUE(back->best_weights.empty());
}

TEST(TrainStateTest, DamageIsDataLoss) {
  const std::string bytes = SerializeTrainState(State());
  EXPECT_EQ(ParseTrainState("").status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(ParseTrainState(bytes.substr(0, bytes.size() / 2)).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(ParseTrainState(bytes + "x").status().code(), absl::StatusCode::kDataLoss);
}

class TrainStateNumberTest : public testing::TestWithParam<const char*> {};

TEST_P(TrainStateNumberTest, MissingOrDamagedIsDataLoss) {
  SafeTensors file = *ParseSafeTensors(SerializeTrainState(State()));
  ASSERT_EQ(file.metadata.erase(GetParam()), 1u);
  EXPECT_EQ(ParseTrainState(SerializeSafeTensors(file)).status().code(), absl::StatusCode::kDataLoss);
  file.metadata[GetParam()] = "many";
  EXPECT_EQ(ParseTrainState(SerializeSafeTensors(file)).status().code(), absl::StatusCode::kDataLoss);
}

INSTANTIATE_TEST_SUITE_P(All, TrainStateNumberTest,
                         testing::Values("phase", "epoch", "loss", "weight", "correct", "images", "rate_factor",
                                         "epoch_seconds", "rate_tested", "found_rate", "average_steps", "loss_scale",
                                         "sound_steps", "best_metric", "best_epoch", "stale_epochs"));

TEST(TrainStateTest, ARateThatNoTestFindsIsDataLoss) {
  const auto parse = [](const char* tested, const char* rate) {
    SafeTensors file = *ParseSafeTensors(SerializeTrainState(State()));
    file.metadata["rate_tested"] = tested;
    file.metadata["found_rate"] = rate;
    return ParseTrainState(SerializeSafeTensors(file)).status().code();
  };
  EXPECT_EQ(parse("1", "0.5"), absl::StatusCode::kOk);
  EXPECT_EQ(parse("1", "0"), absl::StatusCode::kOk);
  EXPECT_EQ(parse("0", "0"), absl::StatusCode::kOk);
  EXPECT_EQ(parse("0", "0.5"), absl::StatusCode::kDataLoss);
  EXPECT_EQ(parse("2", "0.5"), absl::StatusCode::kDataLoss);
  for (const char* rate : {"-0.5", "inf", "nan"}) EXPECT_EQ(parse("1", rate), absl::StatusCode::kDataLoss) << rate;
}

TEST(TrainStateTest, ACountBelowZeroIsDataLoss) {
  for (const char* key : {"phase", "epoch", "images", "stale_epochs"}) {
    SafeTensors file = *ParseSafeTensors(SerializeTrainState(State()));
    file.metadata[key] = "-1";
    EXPECT_EQ(ParseTrainState(SerializeSafeTensors(file)).status().code(), absl::StatusCode::kDataLoss) << key;
  }
}

}  // namespace
}  // namespace graft

#include "worker/model/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/tiny_backbone.h"
#include "tests/support/tiny_checkpoint.h"
#include "worker/backbone/safetensors.h"

namespace graft {
namespace {

using nlohmann::json;
using testing::HasSubstr;

SafeTensors Parsed() {
  static const SafeTensors file = *ParseSafeTensors(SerializeCheckpoint(TinyCheckpoint(*TinyBackbone(), 14)));
  return file;
}

absl::Status ParseWith(const std::function<void(json*)>& change) {
  SafeTensors file = Parsed();
  json header = json::parse(file.metadata.at("graft"));
  change(&header);
  file.metadata["graft"] = header.dump();
  return ParseCheckpoint(SerializeSafeTensors(file)).status();
}

void ExpectDataLoss(const absl::Status& status, const std::string& message) {
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(message));
}

TEST(CheckpointTest, SurvivesARoundTrip) {
  Checkpoint c = TinyCheckpoint(*TinyBackbone(), 12);
  c.class_names = {"caf\u00e9", "\"quoted\"", "c"};
  c.preprocessing.resize_px = 300;
  c.preprocessing.mean = {0.1f, 0.2f, 0.3f};
  c.preprocessing.interpolation = Interpolation::kBicubic;
  c.temperature = 1.25;
  c.training_config = R"({"epochs":3})";
  const auto back = ParseCheckpoint(SerializeCheckpoint(c));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->backbone, c.backbone);
  EXPECT_EQ(back->backbone_digest, c.backbone_digest);
  EXPECT_EQ(back->split_point, 12);
  EXPECT_EQ(back->class_names, c.class_names);
  EXPECT_EQ(back->preprocessing, c.preprocessing);
  EXPECT_EQ(back->temperature, 1.25);
  EXPECT_EQ(back->training_config, c.training_config);
  EXPECT_TRUE(at::equal(back->golden_logits, c.golden_logits));
  ASSERT_EQ(back->weights.size(), c.weights.size());
  for (const auto& [name, tensor] : c.weights) EXPECT_TRUE(at::equal(back->weights.at(name), tensor)) << name;
}

TEST(CheckpointTest, EqualContentGivesEqualBytes) {
  EXPECT_EQ(SerializeCheckpoint(TinyCheckpoint(*TinyBackbone(), 12)),
            SerializeCheckpoint(TinyCheckpoint(*TinyBackbone(), 12)));
}

TEST(CheckpointTest, AFrozenHeadModelTakesKilobytes) {
  EXPECT_LT(SerializeCheckpoint(TinyCheckpoint(*TinyBackbone(), 14)).size(), 10'000u);
}

TEST(CheckpointTest, NoSafetensorsFileIsDataLoss) {
  ExpectDataLoss(ParseCheckpoint("").status(), "safetensors");
  ExpectDataLoss(ParseCheckpoint("x").status(), "safetensors");
}

TEST(CheckpointTest, ASafetensorsFileOfOthersIsDataLoss) {
  SafeTensors file = Parsed();
  file.metadata.clear();
  ExpectDataLoss(ParseCheckpoint(SerializeSafeTensors(file)).status(), "checkpoint: ");
  file.metadata["graft"] = "[1";
  ExpectDataLoss(ParseCheckpoint(SerializeSafeTensors(file)).status(), "checkpoint: ");
}

TEST(CheckpointTest, EachMissingOrMistypedFieldIsDataLoss) {
  const json header = json::parse(Parsed().metadata.at("graft"));
  for (const auto& [key, value] : header.items()) {
    const std::string name = key;
    ExpectDataLoss(ParseWith([&](json* j) { j->erase(name); }), "checkpoint: ");
    if (name == "training") continue;  // kept for the record, never looked into
    ExpectDataLoss(ParseWith([&](json* j) { (*j)[name] = json::object(); }), "checkpoint: ");
  }
  for (const char* key : {"resize_px", "crop_px", "mean", "std"}) {
    ExpectDataLoss(ParseWith([&](json* j) { (*j)["preprocessing"].erase(key); }), "checkpoint: ");
  }
}

TEST(CheckpointTest, AnotherFormatIsDataLoss) {
  ExpectDataLoss(ParseWith([](json* j) { (*j)["format"] = 2; }), "another version");
}

TEST(CheckpointTest, BadTemperatureIsDataLoss) {
  for (const double temperature : {0.0, -1.0}) {
    ExpectDataLoss(ParseWith([&](json* j) { (*j)["temperature"] = temperature; }), "temperature");
  }
}

TEST(CheckpointTest, FewerThanTwoClassesIsDataLoss) {
  ExpectDataLoss(ParseWith([](json* j) { (*j)["classes"] = {"one"}; }), "fewer than two classes");
}

TEST(CheckpointTest, PreprocessingOutOfRangeIsDataLoss) {
  ExpectDataLoss(ParseWith([](json* j) { (*j)["preprocessing"]["crop_px"] = 0; }), "checkpoint: ");
  ExpectDataLoss(ParseWith([](json* j) { (*j)["preprocessing"]["std"] = {0, 1, 1}; }), "checkpoint: ");
}

// Checkpoints from before there was a choice do not name it.
TEST(CheckpointTest, NoInterpolationIsBilinear) {
  Checkpoint c = TinyCheckpoint(*TinyBackbone(), 14);
  c.preprocessing.interpolation = Interpolation::kBicubic;
  SafeTensors file = *ParseSafeTensors(SerializeCheckpoint(c));
  json header = json::parse(file.metadata.at("graft"));
  ASSERT_EQ(header["preprocessing"].erase("interpolation"), 1u);
  file.metadata["graft"] = header.dump();
  const auto back = ParseCheckpoint(SerializeSafeTensors(file));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->preprocessing.interpolation, Interpolation::kBilinear);
}

TEST(CheckpointTest, UnknownInterpolationIsDataLoss) {
  ExpectDataLoss(ParseWith([](json* j) { (*j)["preprocessing"]["interpolation"] = "nearest"; }),
                 "interpolation: got \"nearest\"");
  ExpectDataLoss(ParseWith([](json* j) { (*j)["preprocessing"]["interpolation"] = 1; }), "checkpoint: ");
}

TEST(CheckpointTest, NoGoldenLogitsIsDataLoss) {
  SafeTensors file = Parsed();
  file.tensors.erase("golden.logits");
  ExpectDataLoss(ParseCheckpoint(SerializeSafeTensors(file)).status(), "no golden logits");
}

TEST(KeyOfTest, DiffersInEachField) {
  const std::string key = KeyOf(PreprocessSpec());
  EXPECT_EQ(KeyOf(PreprocessSpec()), key);
  std::vector<PreprocessSpec> others(5);
  others[0].resize_px = 255;
  others[1].crop_px = 223;
  others[2].mean[2] = std::nextafter(others[2].mean[2], 1.0f);
  others[3].std[0] = std::nextafter(others[3].std[0], 1.0f);
  others[4].interpolation = Interpolation::kBicubic;
  for (const PreprocessSpec& other : others) EXPECT_NE(KeyOf(other), key);
}

TEST(GoldenInputsTest, AreTwoPicturesOfTheCropsSize) {
  PreprocessSpec spec;
  spec.crop_px = 32;
  const at::Tensor inputs = GoldenInputs(spec);
  EXPECT_EQ(inputs.sizes(), (std::vector<int64_t>{2, 3, 32, 32}));
  EXPECT_TRUE(inputs.is_contiguous(at::MemoryFormat::ChannelsLast));
  EXPECT_FALSE(at::equal(inputs[0], inputs[1]));
  EXPECT_TRUE(at::equal(inputs, GoldenInputs(spec)));
}

}  // namespace
}  // namespace graft

#include "worker/model/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

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
  c.head = {HeadType::kMlp, 256, 0.5};
  c.temperature = 1.25;
  c.training_config = R"({"epochs":3})";
  c.found_rates = {{"fine-tune", 0.1 / 3}};
  const auto back = ParseCheckpoint(SerializeCheckpoint(c));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->backbone, c.backbone);
  EXPECT_EQ(back->backbone_digest, c.backbone_digest);
  EXPECT_EQ(back->split_point, 12);
  EXPECT_EQ(back->class_names, c.class_names);
  EXPECT_EQ(back->preprocessing, c.preprocessing);
  EXPECT_TRUE(back->head == c.head);
  EXPECT_EQ(back->temperature, 1.25);
  EXPECT_EQ(back->training_config, c.training_config);
  EXPECT_EQ(back->found_rates, c.found_rates);
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
    // Older checkpoints have no head: see NoHeadIsLinear.
    if (name != "head") ExpectDataLoss(ParseWith([&](json* j) { j->erase(name); }), "checkpoint: ");
    if (name == "training") continue;  // kept for the record, never looked into
    ExpectDataLoss(ParseWith([&](json* j) { (*j)[name] = json::object(); }), "checkpoint: ");
  }
  for (const char* key : {"resize_px", "crop_px", "mean", "std"}) {
    ExpectDataLoss(ParseWith([&](json* j) { (*j)["preprocessing"].erase(key); }), "checkpoint: ");
  }
  for (const char* key : {"type", "hidden_width", "dropout"}) {
    ExpectDataLoss(ParseWith([&](json* j) { (*j)["head"].erase(key); }), "checkpoint: ");
    ExpectDataLoss(ParseWith([&](json* j) { (*j)["head"][key] = json::array(); }), "checkpoint: ");
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

// Checkpoints from before there was a choice name neither interpolation nor head.
TEST(CheckpointTest, NoHeadIsLinear) {
  Checkpoint c = TinyCheckpoint(*TinyBackbone(), 14);
  c.head = {HeadType::kMlp, 256, 0.5};
  SafeTensors file = *ParseSafeTensors(SerializeCheckpoint(c));
  json header = json::parse(file.metadata.at("graft"));
  ASSERT_EQ(header.erase("head"), 1u);
  file.metadata["graft"] = header.dump();
  const auto back = ParseCheckpoint(SerializeSafeTensors(file));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_TRUE(back->head == HeadOptions());
}

TEST(CheckpointTest, ABadHeadIsDataLoss) {
  const auto with_head = [](const json& head) { return ParseWith([&](json* j) { (*j)["head"] = head; }); };
  EXPECT_TRUE(with_head({{"type", "cosine"}, {"hidden_width", 0}, {"dropout", 0.5}}).ok());
  ExpectDataLoss(with_head({{"type", "x"}, {"hidden_width", 0}, {"dropout", 0}}), "checkpoint: head.type: got \"x\"");
  ExpectDataLoss(with_head({{"type", "linear"}, {"hidden_width", 5}, {"dropout", 0}}),
                 "checkpoint: head.hidden_width: got 5, want it only with the mlp head");
  ExpectDataLoss(with_head({{"type", "mlp"}, {"hidden_width", 8193}, {"dropout", 0}}),
                 "checkpoint: head.hidden_width: got 8193, want 1 to 8192");
  ExpectDataLoss(with_head({{"type", "linear"}, {"hidden_width", 0}, {"dropout", 1}}),
                 "checkpoint: head.dropout: got 1, want 0 <= dropout < 1");
}

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

TEST(GoldenInputsTest, AreTwoPicturesOfTheCropsSize) {
  PreprocessSpec spec;
  spec.crop_px = 32;
  const at::Tensor inputs = GoldenInputs(spec);
  EXPECT_EQ(inputs.sizes(), (std::vector<int64_t>{2, 3, 32, 32}));
  EXPECT_TRUE(inputs.is_contiguous(at::MemoryFormat::ChannelsLast));
  EXPECT_FALSE(at::equal(inputs[0], inputs[1]));
  EXPECT_TRUE(at::equal(inputs, GoldenInputs(spec)));
}

TEST(CheckpointTest, MultiLabelIsWrittenOnlyWhenItIs) {
  Checkpoint c = TinyCheckpoint(*TinyBackbone(), 14);
  EXPECT_FALSE(json::parse(Parsed().metadata.at("graft")).contains("multi_label")) << "files stay what they were";
  c.multi_label = true;
  const auto back = ParseCheckpoint(SerializeCheckpoint(c));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_TRUE(back->multi_label);
  EXPECT_FALSE(ParseCheckpoint(SerializeCheckpoint(TinyCheckpoint(*TinyBackbone(), 14)))->multi_label);
  ExpectDataLoss(ParseWith([](json* j) { (*j)["multi_label"] = "yes"; }), "checkpoint: ");
  const auto with_classes = [](const json& names) {
    return ParseWith([&](json* j) {
      (*j)["multi_label"] = true;
      (*j)["classes"] = names;
    });
  };
  EXPECT_TRUE(with_classes({"one"}).ok()) << "one class is a yes or a no";
  ExpectDataLoss(with_classes(json::array()), "no classes");
}

}  // namespace
}  // namespace graft

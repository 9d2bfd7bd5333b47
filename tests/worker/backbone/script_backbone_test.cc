#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/script.h>
#include <torch/torch.h>

#include <fstream>
#include <string>

#include "worker/backbone/backbone.h"

namespace graft {
namespace {

using testing::HasSubstr;

constexpr char kManifest[] = R"({"feature_width": 3, "resize_px": 40, "crop_px": 32, "mean": [0, 0, 0],
                                 "std": [1, 1, 1], "source": "a test"})";

// A TorchScript file whose forward() is `body`.
std::string ScriptFile(const std::string& body) {
  torch::jit::Module module("Network");
  module.register_parameter("scale", at::full({3}, 2.f), /*is_buffer=*/false);
  module.define("def forward(self, x):\n  " + body + "\n");
  const std::string path = testing::TempDir() + "/script_backbone.pt";
  module.save(path);
  return path;
}

absl::Status LoadError(const std::string& path, const std::string& manifest) {
  return Backbone::LoadScript(path, manifest, "mine").status();
}

TEST(ScriptBackboneTest, IsOneFrozenStage) {
  const auto loaded = Backbone::LoadScript(ScriptFile("return x.mean([2, 3]) * self.scale"), kManifest, "mine");
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  const Backbone& backbone = **loaded;
  EXPECT_EQ(backbone.name(), "mine");
  EXPECT_EQ(backbone.num_stages(), 1);
  EXPECT_EQ(backbone.feature_width(), 3);
  EXPECT_EQ(backbone.parameter_count(0, 1), 3);
  EXPECT_FALSE(backbone.architecture().trainable);
  EXPECT_EQ(backbone.preprocessing().crop_px, 32);
  EXPECT_EQ(backbone.source(), "a test");
  EXPECT_THAT(backbone.digest(), testing::StartsWith("sha256:"));
  EXPECT_TRUE(backbone.class_names().empty());
  EXPECT_TRUE(at::allclose(backbone.Forward(at::ones({5, 3, 32, 32}), 0, 1), at::full({5, 3}, 2.f)));
  EXPECT_EQ(backbone.PreprocessingFor(64).status().message(), "input_px: got 64, want 32 px");
}

TEST(ScriptBackboneTest, TheManifestSaysWhichSizesWork) {
  const auto loaded = Backbone::LoadScript(
      ScriptFile("return x.mean([2, 3])"),
      R"({"feature_width": 3, "crop_px": 64, "min_px": 32, "max_px": 128, "multiple_px": 32})", "mine");
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_TRUE((*loaded)->PreprocessingFor(96).ok());
  EXPECT_FALSE((*loaded)->PreprocessingFor(100).ok());
  EXPECT_FALSE((*loaded)->PreprocessingFor(160).ok());
}

TEST(ScriptBackboneTest, ABadManifestIsInvalidArgument) {
  const std::string path = ScriptFile("return x.mean([2, 3])");
  for (const char* manifest :
       {"", "[]", "{}", R"({"feature_width": 0})", R"({"feature_width": -3})", R"({"feature_width": "3"})",
        R"({"feature_width": 3, "crop_px": 0})", R"({"feature_width": 3, "crop_px": 100000})",
        R"({"feature_width": 3, "mean": [1, 2]})", R"({"feature_width": 3, "std": [0, 1, 1]})",
        R"({"feature_width": 3, "interpolation": "lanczos"})", R"({"feature_width": 3, "interpolation": 1})",
        R"({"feature_width": 3, "crop_px": 100, "multiple_px": 32})", R"({"feature_width": 3, "max_px": 5000})", R"({"feature_width": 3, "surprise": 1})"}) {
    EXPECT_EQ(LoadError(path, manifest).code(), absl::StatusCode::kInvalidArgument) << manifest;
  }
}

TEST(ScriptBackboneTest, AForwardThatGivesSomethingElseIsInvalidArgument) {
  for (const char* body : {"return x", "return x.mean([2, 3]).double()", "return x.mean([0, 2, 3])",
                           "return x.mean([2, 3])[:1]", "return x.mean([2, 3]) @ x.mean([2, 3])", "return 1", "return x.sub_(1).mean([2, 3])"}) {
    const absl::Status status = LoadError(ScriptFile(body), kManifest);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << body << ": " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("forward()")) << body;
  }
}

TEST(ScriptBackboneTest, OtherFilesAreDataLossOrNotFound) {
  const std::string path = testing::TempDir() + "/no_script.pt";
  std::ofstream(path, std::ios::binary) << "garbage";
  EXPECT_EQ(LoadError(path, kManifest).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(LoadError(path + ".absent", kManifest).code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace graft

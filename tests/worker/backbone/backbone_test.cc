#include "worker/backbone/backbone.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <fstream>
#include <functional>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/support/tiny_backbone.h"
#include "worker/backbone/stage.h"
#include "worker/backbone/torch_status.h"

namespace graft {
namespace {

using testing::AllOf;
using testing::HasSubstr;

at::Tensor Pictures(int64_t n) {
  return at::sin(at::arange(n * 3 * 224 * 224, at::kFloat) * 0.37f).view({n, 3, 224, 224});
}

double RelativeDifference(const at::Tensor& got, const at::Tensor& want) {
  return (got - want).abs().max().item<double>() / want.abs().max().item<double>();
}

std::string CreateError(const SafeTensors& file, const std::string& fallback = "mobilenet_v3_small") {
  const auto backbone = Backbone::Create(file, fallback);
  EXPECT_EQ(backbone.status().code(), absl::StatusCode::kInvalidArgument) << backbone.status();
  return std::string(backbone.status().message());
}

TEST(BackboneTest, SaysWhatItIs) {
  const auto backbone = TinyBackbone();
  EXPECT_EQ(backbone->name(), "mobilenet_v3_small");
  EXPECT_EQ(backbone->num_stages(), 14);
  EXPECT_EQ(backbone->stage_names().back(), "avgpool");
  EXPECT_EQ(backbone->feature_width(), 576);
  EXPECT_EQ(backbone->preprocessing(), PreprocessSpec());
  // torchvision 0.14: sum(p.numel() for p in mobilenet_v3_small().features.parameters())
  EXPECT_EQ(backbone->parameter_count(0, 14), 927'008);
  EXPECT_EQ(backbone->parameter_count(13, 14), 0) << "pooling";
}

TEST(BackboneTest, AllProblemsOfTheWeightsAreListed) {
  SafeTensors file = TinyWeights();
  file.tensors.erase("features.0.0.weight");
  file.tensors.erase("features.12.1.running_var");
  file.tensors["features.1.block.0.0.weight"] = at::zeros({16, 1, 5, 5});
  file.tensors["features.0.1.bias"] = at::zeros({16}, at::kLong);
  file.tensors["surprise"] = at::zeros({1});
  EXPECT_THAT(
      CreateError(file),
      AllOf(HasSubstr("features.0.0.weight: missing"), HasSubstr("features.12.1.running_var: missing"),
            HasSubstr("features.1.block.0.0.weight: got [16, 1, 5, 5], want [16, 1, 3, 3]"),
            HasSubstr("features.0.1.bias: got integers, want floating point"), HasSubstr("surprise: unexpected")));
}

TEST(BackboneTest, CountersOfBatchNormAreAccepted) {
  SafeTensors file = TinyWeights();
  file.tensors["features.0.1.num_batches_tracked"] = at::zeros({}, at::kLong);
  EXPECT_TRUE(Backbone::Create(file, "").ok());
}

TEST(BackboneTest, UnknownArchitectureIsInvalidArgument) {
  SafeTensors file;
  EXPECT_THAT(CreateError(file, "resnet1"),
              HasSubstr("architecture: got \"resnet1\", want one of convnext_small, convnext_tiny, densenet121"));
  file.metadata["architecture"] = "resnet2";
  EXPECT_THAT(CreateError(file), HasSubstr("resnet2"));
}

TEST(BackboneTest, BadMetadataIsInvalidArgument) {
  for (const char* text : {"", "1", "1,2", "1,2,3,4", "1,2,x"}) {
    SafeTensors file = TinyWeights();
    file.metadata["mean"] = text;
    EXPECT_THAT(CreateError(file), HasSubstr("metadata mean")) << text;
  }
  SafeTensors file = TinyWeights();
  file.metadata["std"] = "0,1,1";
  CreateError(file);
  file.metadata["std"] = "1,1,1";
  file.metadata["padding"] = "same";
  EXPECT_THAT(CreateError(file), HasSubstr("metadata padding: got \"same\""));
}

TEST(BackboneTest, MetadataSetsPreprocessingAndSource) {
  SafeTensors file = TinyWeights();
  file.metadata["mean"] = "0.5,0.25,0.125";
  file.metadata["std"] = "1,2,4";
  file.metadata["source"] = "a test";
  const auto backbone = Backbone::Create(file, "");
  ASSERT_TRUE(backbone.ok()) << backbone.status();
  EXPECT_EQ((*backbone)->preprocessing().mean, (std::array<float, 3>{0.5f, 0.25f, 0.125f}));
  EXPECT_EQ((*backbone)->preprocessing().std, (std::array<float, 3>{1, 2, 4}));
  EXPECT_EQ((*backbone)->source(), "a test");
}

TEST(BackboneTest, LoadReadsFiles) {
  const std::string path = testing::TempDir() + "/backbone.safetensors";
  std::ofstream(path, std::ios::binary) << SerializeSafeTensors(TinyWeights());
  const auto loaded = Backbone::Load(path, "");
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ((*loaded)->digest(), TinyBackbone()->digest());
  std::ofstream(path, std::ios::binary) << "garbage";
  EXPECT_EQ(Backbone::Load(path, "").status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(Backbone::Load(testing::TempDir() + "/absent", "").status().code(), absl::StatusCode::kNotFound);
}

TEST(BackboneTest, DigestDependsOnNamesAndValuesOnly) {
  SafeTensors file = TinyWeights();
  const std::string digest = TinyBackbone()->digest();
  EXPECT_THAT(digest, testing::MatchesRegex("sha256:[0-9a-f]+"));
  file.metadata["source"] = "elsewhere";
  EXPECT_EQ((*Backbone::Create(file, ""))->digest(), digest);
  at::Tensor& weight = file.tensors["features.3.block.0.0.weight"];
  weight = weight.contiguous(at::MemoryFormat::ChannelsLast);
  EXPECT_EQ((*Backbone::Create(file, ""))->digest(), digest) << "layout is no value";
  weight = weight.clone();
  weight.view({-1})[0] += 1;
  EXPECT_NE((*Backbone::Create(file, ""))->digest(), digest);
}

TEST(BackboneTest, PreparedStagesGiveWhatTheUnpreparedGive) {
  const auto backbone = TinyBackbone();
  torch::NoGradGuard no_grad;
  at::Tensor want = Pictures(2), got = want;
  const auto stages = backbone->CopyStages(0, backbone->num_stages());
  for (int i = 0; i < backbone->num_stages(); ++i) {
    stages[i]->eval();
    got = backbone->Forward(got, i, i + 1);
    want = stages[i]->Forward(want);
    EXPECT_EQ(got.sizes(), want.sizes());
    EXPECT_LT(RelativeDifference(got, want), 1e-4) << backbone->stage_names()[i];
  }
  EXPECT_EQ(want.sizes(), (std::vector<int64_t>{2, 576}));
}

TEST(BackboneTest, ForwardInTwoPartsIsForwardInOne) {
  const auto backbone = TinyBackbone();
  const at::Tensor x = Pictures(1);
  const at::Tensor x_before = x.clone();
  const at::Tensor whole = backbone->Forward(x, 0, 14);
  const at::Tensor middle = backbone->Forward(x, 0, 5);
  const at::Tensor middle_before = middle.clone();
  EXPECT_TRUE(at::equal(backbone->Forward(middle, 5, 14), whole));
  EXPECT_TRUE(at::equal(middle, middle_before)) << "inputs are not written to";
  EXPECT_TRUE(at::equal(x, x_before));
  EXPECT_TRUE(at::equal(backbone->Forward(x, 0, 0), x));
}

TEST(BackboneTest, CopiesAreTrainableAndIndependent) {
  const auto backbone = TinyBackbone();
  const auto stages = backbone->CopyStages(11, 14);
  ASSERT_EQ(stages.size(), 3u);
  torch::NoGradGuard no_grad;
  for (at::Tensor& parameter : stages[0]->parameters()) {
    EXPECT_TRUE(parameter.requires_grad());
    parameter.zero_();
  }
  EXPECT_GT(backbone->CopyStages(11, 12)[0]->parameters()[0].abs().max().item<float>(), 0);
}

// TinyWeights() with a classifier of `classes` classes that answers its biases, 0, 1, 2 ...
SafeTensors WithClassifier(int64_t classes) {
  SafeTensors file = TinyWeights();
  file.tensors["classifier.0.weight"] = at::full({1024, 576}, 0.01f);
  file.tensors["classifier.0.bias"] = at::zeros({1024});
  file.tensors["classifier.3.weight"] = at::zeros({classes, 1024});
  file.tensors["classifier.3.bias"] = at::arange(classes, at::kFloat);
  return file;
}

TEST(BackboneTest, WithoutAClassifierItHasNoClassNames) { EXPECT_TRUE(TinyBackbone()->class_names().empty()); }

TEST(BackboneTest, OwnLogitsHaveTheClassifiersClasses) {
  const auto backbone = Backbone::Create(WithClassifier(7), "");
  ASSERT_TRUE(backbone.ok()) << backbone.status();
  EXPECT_TRUE(at::equal((*backbone)->OwnLogits(at::ones({2, 576})), at::arange(7, at::kFloat).expand({2, 7})));
  EXPECT_THAT((*backbone)->class_names(), testing::ElementsAre("0", "1", "2", "3", "4", "5", "6"));
}

TEST(BackboneTest, ClassNamesAreTheMetadatasOrImageNets) {
  SafeTensors file = WithClassifier(2);
  file.metadata["classes"] = R"(["cat", "dog"])";
  EXPECT_THAT((*Backbone::Create(file, ""))->class_names(), testing::ElementsAre("cat", "dog"));
  for (const char* text : {"", "[]", R"(["cat"])", R"(["cat", 1])", "imagenet_1000", "cat,dog"}) {
    file.metadata["classes"] = text;
    EXPECT_THAT(CreateError(file), HasSubstr("metadata classes: got")) << text;
  }
  const auto imagenet = Backbone::Create(WithClassifier(1000), "");
  ASSERT_TRUE(imagenet.ok()) << imagenet.status();
  EXPECT_EQ((*imagenet)->class_names()[281], "tabby");
  EXPECT_EQ((*imagenet)->class_names().size(), 1000u);
}

TEST(BackboneTest, MetadataSetsSizesAndInterpolation) {
  SafeTensors file = TinyWeights();
  file.metadata["resize_px"] = "100";
  file.metadata["crop_px"] = "96";
  file.metadata["interpolation"] = "bicubic";
  const auto backbone = Backbone::Create(file, "");
  ASSERT_TRUE(backbone.ok()) << backbone.status();
  EXPECT_EQ((*backbone)->preprocessing().resize_px, 100);
  EXPECT_EQ((*backbone)->preprocessing().crop_px, 96);
  EXPECT_EQ((*backbone)->preprocessing().interpolation, Interpolation::kBicubic);
  for (const auto& [key, value] : std::vector<std::pair<std::string, std::string>>{
           {"crop_px", "8"}, {"crop_px", "many"}, {"resize_px", ""}, {"interpolation", "lanczos"},
           {"norm_epsilon", "0"}, {"norm_epsilon", "2"}}) {
    SafeTensors bad = TinyWeights();
    bad.metadata[key] = value;
    EXPECT_THAT(CreateError(bad), HasSubstr(absl::StrCat("metadata ", key, ": got")));
  }
}

TEST(BackboneTest, NormEpsilonOfTheWeightsIsUsed) {
  SafeTensors file = TinyWeights();
  const auto usual = Backbone::Create(file, "");
  file.metadata["norm_epsilon"] = "0.5";
  const auto other = Backbone::Create(file, "");
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_FALSE(at::allclose((*usual)->Forward(Pictures(1), 0, 1), (*other)->Forward(Pictures(1), 0, 1)));
  EXPECT_NE((*usual)->digest(), (*other)->digest()) << "it is part of what the weights compute";
}

TEST(BackboneTest, PreprocessingForAnotherSizeKeepsTheRatio) {
  const auto backbone = TinyBackbone();
  EXPECT_EQ(*backbone->PreprocessingFor(0), backbone->preprocessing());
  const auto half = backbone->PreprocessingFor(112);
  ASSERT_TRUE(half.ok()) << half.status();
  EXPECT_EQ(half->crop_px, 112);
  EXPECT_EQ(half->resize_px, 128);
  for (const int side_px : {-1, 16, 100'000}) {
    const absl::Status status = backbone->PreprocessingFor(side_px).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(status.message(), absl::StrCat("input_px: got ", side_px, ", want from 32 px to 512 px"));
  }
}

TEST(BackboneTest, UntrainedIsTheSameEachTimeAndWithoutClassifier) {
  const auto first = Backbone::Untrained("small_convnet"), second = Backbone::Untrained("small_convnet");
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ((*first)->digest(), "untrained:small_convnet");
  EXPECT_TRUE((*first)->class_names().empty());
  const at::Tensor x = at::ones({1, 3, 150, 150});
  const at::Tensor features = (*first)->Forward(x, 0, 4);
  EXPECT_EQ(features.sizes(), (std::vector<int64_t>{1, 64}));
  EXPECT_TRUE(at::equal(features, (*second)->Forward(x, 0, 4)));
  EXPECT_GT(features.abs().max().item<float>(), 0);
  const auto other = Backbone::Untrained("small_convnet", "cpu", 1);
  EXPECT_FALSE(at::equal(features, (*other)->Forward(x, 0, 4)));
  EXPECT_EQ((*other)->digest(), (*first)->digest());
  EXPECT_EQ(Backbone::Untrained("vgg").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(TryTorchTest, PassesTheStatusOn) {
  EXPECT_TRUE(TryTorch("work", [] { return absl::OkStatus(); }).ok());
  EXPECT_EQ(TryTorch("work", [] { return absl::DataLossError("lost"); }), absl::DataLossError("lost"));
}

TEST(TryTorchTest, WhatLibTorchThrowsIsInternalWithoutABacktrace) {
  const absl::Status status = TryTorch("add", [] {
    at::zeros({2}) + at::zeros({3});
    return absl::OkStatus();
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("add: "), HasSubstr("size"), testing::Not(HasSubstr("frame #"))));
}

TEST(TryTorchTest, OutOfMemoryIsResourceExhausted) {
  for (const auto& fail : std::vector<std::function<void()>>{
           [] { at::empty({int64_t{1} << 55}, at::kFloat); }, [] { throw std::bad_alloc(); },
           [] { throw std::runtime_error("CUDA out of memory. Tried to allocate 2 GiB"); }}) {
    const absl::Status status = TryTorch("allocate", [&] {
      fail();
      return absl::OkStatus();
    });
    EXPECT_EQ(status, absl::ResourceExhaustedError("allocate: out of memory"));
  }
}

}  // namespace
}  // namespace graft

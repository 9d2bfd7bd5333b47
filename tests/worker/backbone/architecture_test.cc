#include "worker/backbone/architecture.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "worker/backbone/backbone.h"
#include "worker/backbone/stage.h"
#include "worker/backbone/tensor_names.h"

namespace graft {
namespace {

using testing::HasSubstr;

TEST(ArchitectureTest, NamesAreSortedAndFound) {
  EXPECT_THAT(ArchitectureNames(),
              testing::ElementsAre("convnext_small", "convnext_tiny", "densenet121", "efficientnet_b0",
                                   "efficientnet_b1", "efficientnet_b2", "efficientnet_b3", "inception_v3",
                                   "mobilenet_v1", "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small",
                                   "resnet101", "resnet152", "resnet18", "resnet34", "resnet50", "small_convnet",
                                   "vgg16", "vgg16_bn", "vgg19", "vgg19_bn", "vit_b_16", "vit_s_14", "vit_s_16",
                                   "xception"));
  EXPECT_EQ(FindArchitecture("vgg"), nullptr);
  for (const std::string& name : ArchitectureNames()) EXPECT_EQ(FindArchitecture(name)->name, name);
}

// Shapes of all tensors by full name.
std::map<std::string, std::vector<int64_t>> ShapesOf(const Architecture& a) {
  std::map<std::string, std::vector<int64_t>> shapes;
  const auto add = [&](const std::string& prefix, const Stage& stage) {
    for (const auto& [name, tensor] : StateOf(stage)) {
      EXPECT_TRUE(shapes.emplace(FullName(prefix, name), tensor.sizes().vec()).second) << a.name << " " << name;
    }
  };
  const auto stages = a.build_stages({});
  EXPECT_EQ(stages.size(), a.stages.size()) << a.name;
  for (size_t i = 0; i < stages.size(); ++i) add(a.stages[i].prefix, *stages[i]);
  if (!a.output_layer.empty()) add("", *a.build_classifier(1000));
  return shapes;
}

TEST(ArchitectureTest, DeclarationsAgreeWithWhatIsBuilt) {
  for (const std::string& name : ArchitectureNames()) {
    const Architecture& a = *FindArchitecture(name);
    int64_t parameters = 0;
    for (const auto& stage : a.build_stages({})) {
      for (const at::Tensor& parameter : stage->parameters()) parameters += parameter.numel();
    }
    const auto shapes = ShapesOf(a);
    if (!a.output_layer.empty()) {
      for (const at::Tensor& parameter : a.build_classifier(1000)->parameters()) parameters += parameter.numel();
      ASSERT_EQ(shapes.count(a.output_layer + ".bias"), 1u) << name;
      EXPECT_EQ(shapes.at(a.output_layer + ".bias"), std::vector<int64_t>{1000}) << name;
    }
    EXPECT_EQ(parameters, a.parameter_count) << name;
    EXPECT_TRUE(a.input.Allows(a.preprocessing.crop_px)) << name;
    EXPECT_TRUE(a.preprocessing.Validate().ok()) << name;
    EXPECT_FALSE(a.paper.empty()) << name;
    const auto names = a.stage_names();
    EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), names.size()) << name;
  }
}

TEST(ArchitectureTest, EveryAliasIsOfATensorOrALayer) {
  for (const std::string& name : ArchitectureNames()) {
    const Architecture& a = *FindArchitecture(name);
    const auto shapes = ShapesOf(a);
    for (const auto& [alias, ours] : a.aliases) {
      if (ours == "register_tokens") continue;
      const auto at_least = shapes.lower_bound(ours);
      const bool optional = absl::StrContains(ours, "layer_scale_");  // DINOv2's alone
      EXPECT_TRUE(optional || (at_least != shapes.end() && absl::StartsWith(at_least->first, ours)))
          << name << ": " << alias << " -> " << ours;
      EXPECT_EQ(shapes.count(alias), 0u) << name << ": " << alias << " is one of its own names";
    }
  }
}

TEST(ArchitectureTest, InputRuleSaysWhichSizesWork) {
  const InputRule any, patches{32, 16, 512}, fixed{150, 1, 150}, range{64, 32, 256};
  EXPECT_TRUE(any.Allows(33));
  EXPECT_FALSE(any.Allows(31));
  EXPECT_EQ(any.Describe(), "from 32 px to 512 px");
  EXPECT_TRUE(patches.Allows(48));
  EXPECT_FALSE(patches.Allows(40));
  EXPECT_EQ(patches.Describe(), "multiples of 16 px, from 32 px to 512 px");
  EXPECT_FALSE(fixed.Allows(151));
  EXPECT_EQ(fixed.Describe(), "150 px");
  EXPECT_FALSE(range.Allows(288));
  EXPECT_EQ(range.Describe(), "multiples of 32 px, from 64 px to 256 px");
}

// Random, but such that nothing overflows.
SafeTensors RandomWeights(const Architecture& a, uint64_t seed) {
  at::Generator generator = at::detail::createCPUGenerator(seed);
  SafeTensors file;
  file.metadata["architecture"] = a.name;
  for (const auto& [name, shape] : ShapesOf(a)) {
    at::Tensor tensor = at::empty(shape);
    const double fan_in = static_cast<double>(tensor.numel()) / static_cast<double>(tensor.size(0));
    if (shape.size() > 1) {
      tensor.normal_(0, 1 / std::sqrt(std::max(fan_in, 1.0)), generator);
    } else {
      tensor.uniform_(0.5, 1, generator);
    }
    file.tensors.emplace(name, tensor);
  }
  return file;
}

// One of each family whose names differ, with a few names written out from timm's own state dicts.
class TimmNamesTest : public testing::TestWithParam<std::pair<std::string, std::vector<std::string>>> {};

TEST_P(TimmNamesTest, GiveTheSameNetwork) {
  const Architecture& a = *FindArchitecture(GetParam().first);
  SafeTensors ours = RandomWeights(a, 3), theirs;
  theirs.metadata = ours.metadata;
  std::map<std::string, std::string> timm;  // ours -> theirs
  for (const auto& [alias, own] : a.aliases) {
    if (!absl::StrContains(alias, "linear_")) timm[own] = alias;
  }
  for (const auto& [name, tensor] : ours.tensors) {
    const size_t dot = name.rfind('.');
    const std::string layer = name.substr(0, dot);
    if (timm.count(name) > 0) {
      theirs.tensors[timm[name]] = tensor;
    } else {
      theirs.tensors[timm.count(layer) > 0 ? timm[layer] + name.substr(dot) : name] = tensor;
    }
  }
  for (const std::string& name : GetParam().second) EXPECT_EQ(theirs.tensors.count(name), 1u) << name;
  if (a.norm_epsilon > 0) theirs.metadata["norm_epsilon"] = ours.metadata["norm_epsilon"] = "1e-4";
  const auto want = Backbone::Create(ours, a.name), got = Backbone::Create(theirs, a.name);
  ASSERT_TRUE(want.ok()) << want.status();
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ((*got)->digest(), (*want)->digest());
}

using Named = std::pair<std::string, std::vector<std::string>>;
INSTANTIATE_TEST_SUITE_P(
    Families, TimmNamesTest,
    testing::Values(
        Named{"mobilenet_v3_small",
              {"conv_stem.weight", "blocks.0.0.se.conv_reduce.bias", "blocks.0.0.conv_pw.weight",
               "blocks.1.0.conv_pwl.weight", "blocks.4.2.bn3.running_var", "blocks.5.0.conv.weight",
               "blocks.5.0.bn1.weight", "conv_head.bias", "classifier.weight"}},
        Named{"mobilenet_v3_large", {"blocks.0.0.conv_dw.weight", "blocks.6.0.conv.weight"}},
        Named{"mobilenet_v2", {"blocks.0.0.conv_pw.weight", "blocks.1.0.conv_dw.weight", "bn2.bias"}},
        Named{"mobilenet_v1", {"blocks.0.0.conv_dw.weight", "blocks.4.1.bn2.weight", "classifier.bias"}},
        Named{"efficientnet_b0",
              {"blocks.0.0.se.conv_expand.weight", "blocks.6.0.conv_pwl.weight", "conv_head.weight", "bn2.weight"}},
        Named{"convnext_tiny",
              {"stem.0.weight", "stages.0.blocks.0.gamma", "stages.0.blocks.0.mlp.fc1.weight",
               "stages.1.downsample.1.weight", "head.norm.weight", "head.fc.bias"}},
        Named{"vit_s_16",
              {"cls_token", "pos_embed", "patch_embed.proj.weight", "blocks.11.attn.qkv.bias", "blocks.0.norm1.weight",
               "blocks.3.mlp.fc2.bias", "norm.weight", "head.weight"}},
        Named{"vit_s_14", {"blocks.0.ls1.gamma", "blocks.11.ls2.gamma", "pos_embed"}},
        Named{"densenet121", {"features.denseblock1.denselayer1.norm.1.weight"}}),
    [](const auto& info) { return info.param.first; });

TEST(TimmNamesTest, TheirEpsilonIsTakenUnlessTheFileSaysOtherwise) {
  const Architecture& a = *FindArchitecture("mobilenet_v3_small");
  SafeTensors ours = RandomWeights(a, 3), theirs = ours;
  theirs.tensors["conv_stem.weight"] = theirs.tensors.at("features.0.0.weight");
  theirs.tensors.erase("features.0.0.weight");
  const auto digest = [&](SafeTensors file, const char* epsilon) {
    if (epsilon != nullptr) file.metadata["norm_epsilon"] = epsilon;
    const auto backbone = Backbone::Create(file, a.name);
    EXPECT_TRUE(backbone.ok()) << backbone.status();
    return (*backbone)->digest();
  };
  EXPECT_EQ(digest(theirs, nullptr), digest(ours, "1e-5"));
  EXPECT_EQ(digest(theirs, "1e-3"), digest(ours, nullptr));
  EXPECT_EQ(digest(ours, "1e-3"), digest(ours, nullptr)) << "it is the architecture's own";
}

TEST(BuildOptionsTest, WhatTheNetworkCannotDoIsInvalidArgument) {
  for (const char* name : {"resnet18", "xception", "vgg16_bn", "convnext_tiny", "vit_s_16"}) {
    SafeTensors file;
    file.metadata["padding"] = "tensorflow_same";
    const auto status = Backbone::Create(file, name).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr("metadata padding: got \"tensorflow_same\"")) << name;
  }
  for (const char* name : {"vgg16", "convnext_tiny", "vit_s_16", "small_convnet"}) {
    SafeTensors file;
    file.metadata["norm_epsilon"] = "1e-3";
    EXPECT_THAT(std::string(Backbone::Create(file, name).status().message()), HasSubstr("has no batch norm")) << name;
  }
}

TEST(TimmNamesTest, LinearLayersMayBeWrittenAsConvolutions) {
  const Architecture& a = *FindArchitecture("mobilenet_v3_small");
  SafeTensors file = RandomWeights(a, 3);
  const auto move = [&](const std::string& from, const std::string& to, const std::vector<int64_t>& shape) {
    file.tensors[to] = file.tensors.at(from).view(shape);
    file.tensors.erase(from);
  };
  move("classifier.0.weight", "conv_head.weight", {1024, 576, 1, 1});
  move("classifier.0.bias", "conv_head.bias", {1024});
  EXPECT_TRUE(Backbone::Create(file, a.name).ok());
  file.tensors["conv_head.weight"] = at::zeros({576, 1024, 1, 1});
  const auto status = Backbone::Create(file, a.name).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("classifier.0.weight (conv_head.weight): got [576, 1024, 1, 1], want [1024, 576]"));
}

TEST(TimmNamesTest, OneTensorUnderTwoNamesIsInvalidArgument) {
  const Architecture& a = *FindArchitecture("mobilenet_v3_small");
  SafeTensors file = RandomWeights(a, 3);
  file.tensors["conv_stem.weight"] = file.tensors.at("features.0.0.weight");
  const auto status = Backbone::Create(file, a.name).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("both are features.0.0.weight"));
}

TEST(VisionTransformerTest, PositionsOfAnotherSizeAndWithoutTheClassTokenAreTaken) {
  const Architecture& a = *FindArchitecture("vit_s_16");
  for (const int64_t tokens : {10, 9, 197, 196}) {
    SafeTensors file = RandomWeights(a, 3);
    file.tensors["encoder.pos_embedding"] = at::zeros({1, tokens, 384});
    const auto backbone = Backbone::Create(file, a.name);
    ASSERT_TRUE(backbone.ok()) << backbone.status();
    EXPECT_EQ((*backbone)->Forward(at::zeros({1, 3, 48, 48}), 0, 1).sizes(), (std::vector<int64_t>{1, 10, 384}));
  }
  for (const std::vector<int64_t>& shape :
       std::vector<std::vector<int64_t>>{{1, 12, 384}, {1, 1'000'000'000'000, 0}, {1, int64_t{1} << 62, 0}}) {
    SafeTensors file = RandomWeights(a, 3);
    for (const char* name : {"encoder.pos_embedding", "register_tokens"}) file.tensors[name] = at::zeros(shape);
    EXPECT_EQ(Backbone::Create(file, a.name).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST(InceptionTest, TheAuxiliaryClassifierIsLeftOut) {
  SafeTensors file = RandomWeights(*FindArchitecture("inception_v3"), 3);
  file.tensors["AuxLogits.fc.weight"] = at::zeros({1000, 768});
  EXPECT_TRUE(Backbone::Create(file, "inception_v3").ok());
}

// TensorFlow's SAME on a strided convolution, prepared: the shifted kernel, and the padding where it cannot serve.
TEST(SamePaddingTest, PreparedGivesWhatTheUnpreparedGives) {
  const Architecture& a = *FindArchitecture("mobilenet_v2");
  SafeTensors file = RandomWeights(a, 3);
  file.metadata["padding"] = "tensorflow_same";
  const auto backbone = Backbone::Create(file, a.name);
  ASSERT_TRUE(backbone.ok()) << backbone.status();
  torch::NoGradGuard no_grad;
  const auto stages = (*backbone)->CopyStages(0, 4);
  for (const auto& [height, width] : std::vector<std::pair<int64_t, int64_t>>{{64, 64}, {63, 63}, {64, 63}, {61, 66}}) {
    at::Tensor want = at::sin(at::arange(3 * height * width, at::kFloat)).view({1, 3, height, width}), got = want;
    for (int i = 0; i < 4; ++i) {
      stages[i]->eval();
      want = stages[i]->Forward(want);
      got = (*backbone)->Forward(got, i, i + 1);
    }
    ASSERT_EQ(got.sizes(), want.sizes());
    EXPECT_LT((got - want).abs().max().item<float>(), 1e-4 * want.abs().max().item<float>()) << height << "x" << width;
  }
}

}  // namespace
}  // namespace graft

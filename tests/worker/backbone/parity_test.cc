// graft's architectures against torchvision's, through tests/golden/backbone/export.py.

#include <gtest/gtest.h>
#include <torch/torch.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "worker/backbone/backbone.h"
#include "worker/backbone/stage.h"

namespace graft {
namespace {

constexpr double kTolerance = 1e-4;          // of outputs, relative to the largest value: rounding in another order
constexpr double kGradientTolerance = 1e-3;  // the same after a backward pass through all layers

double RelativeDifference(const at::Tensor& got, const at::Tensor& want) {
  return (got - want).abs().max().item<double>() / want.abs().max().item<double>();
}

bool HaveTorchvision() { return std::system("/usr/bin/python3 -c 'import torchvision' 2>/dev/null") == 0; }

class ParityTest : public testing::TestWithParam<std::tuple<std::string, int>> {
 protected:
  void SetUp() override {
    const auto& [architecture, side_px] = GetParam();
    // Tests of one architecture may run at the same time.
    const std::string path = absl::StrCat(testing::TempDir(), "/parity_", getpid(), ".safetensors");
    const std::string command = absl::StrCat("/usr/bin/python3 -B ", GRAFT_GOLDEN_DIR, "/backbone/export.py ",
                                             architecture, " ", side_px, " ", path);
    if (std::system(command.c_str()) != 0) {
      if (std::getenv("GRAFT_REQUIRE_SHARED") != nullptr || HaveTorchvision()) FAIL() << command;
      GTEST_SKIP() << "no python3-torchvision";
    }
    const auto exported = ReadSafeTensors(path);
    std::remove(path.c_str());
    ASSERT_TRUE(exported.ok()) << exported.status();
    SafeTensors weights;
    for (const auto& [name, tensor] : exported->tensors) {
      absl::string_view rest = name;
      if (absl::ConsumePrefix(&rest, "weights.")) weights.tensors.emplace(rest, tensor);
      if (absl::ConsumePrefix(&rest, "out.")) want_.emplace(rest, tensor);
    }
    images_ = exported->tensors.at("in.images");
    const auto backbone = Backbone::Create(weights, architecture);
    ASSERT_TRUE(backbone.ok()) << backbone.status();
    backbone_ = *backbone;
    for (const std::string layer : {"0", "1", "3"}) {
      const auto weight = weights.tensors.find("classifier." + layer + ".weight");
      if (weight != weights.tensors.end())
        classifier_.emplace_back(weight->second, weights.tensors.at("classifier." + layer + ".bias"));
    }
  }

  // torchvision's classifier without dropout, written down again: hardswish between two layers.
  at::Tensor Classify(at::Tensor x) const {
    for (size_t i = 0; i < classifier_.size(); ++i) {
      x = at::linear(i == 0 ? x : at::hardswish(x), classifier_[i].first, classifier_[i].second);
    }
    return x;
  }

  at::Tensor images_;
  std::map<std::string, at::Tensor> want_;
  std::shared_ptr<const Backbone> backbone_;
  std::vector<std::pair<at::Tensor, at::Tensor>> classifier_;
};

TEST_P(ParityTest, EveryStageAndTheLogitsAgree) {
  at::Tensor x = images_;
  for (int i = 0; i + 1 < backbone_->num_stages(); ++i) {
    x = backbone_->Forward(x, i, i + 1);
    const at::Tensor& want = want_.at(absl::StrCat("stage.", i));
    ASSERT_EQ(x.sizes(), want.sizes());
    EXPECT_LT(RelativeDifference(x, want), kTolerance) << backbone_->stage_names()[i];
  }
  EXPECT_LT(RelativeDifference(backbone_->OwnLogits(images_), want_.at("logits")), kTolerance);
}

TEST_P(ParityTest, GradientsAgree) {
  at::AutoGradMode enable_grad(true);
  const auto stages = backbone_->CopyStages(0, backbone_->num_stages());
  at::Tensor x = images_;
  for (const auto& stage : stages) {
    stage->eval();
    ToChannelsLast(stage.get());
    x = stage->Forward(x);
  }
  at::cross_entropy_loss(Classify(x), want_.at("labels")).backward();
  const auto weight_gradient = [](const Stage& stage) { return stage.named_parameters()["0.weight"].grad(); };
  EXPECT_LT(RelativeDifference(weight_gradient(*stages.front()), want_.at("gradient.first")), kGradientTolerance);
  EXPECT_LT(RelativeDifference(weight_gradient(*stages[stages.size() - 2]), want_.at("gradient.last")),
            kGradientTolerance);
}

INSTANTIATE_TEST_SUITE_P(Torchvision, ParityTest,
                         testing::Combine(testing::Values("mobilenet_v2", "mobilenet_v3_small"),
                                          testing::Values(192, 224)),
                         [](const auto& info) {
                           return absl::StrCat(std::get<0>(info.param), "_", std::get<1>(info.param));
                         });

}  // namespace
}  // namespace graft

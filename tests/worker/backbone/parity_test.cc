// graft's architectures against references, through tests/golden/backbone/export.py: torchvision's networks, and
// independent ones for those that torchvision has not. tests/bench/backbone_parity prints what is measured here.

#include <gtest/gtest.h>
#include <torch/torch.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "worker/backbone/backbone.h"
#include "worker/backbone/stage.h"
#include "worker/backbone/tensor_names.h"

namespace graft {
namespace {

constexpr double kTolerance = 1e-4;          // of outputs, relative to the largest value: rounding in another order
constexpr double kGradientTolerance = 1e-3;  // the same after a backward pass through all layers

double RelativeDifference(const at::Tensor& got, const at::Tensor& want) {
  if (got.sizes() != want.sizes()) return INFINITY;
  return (got - want).abs().max().item<double>() / want.abs().max().item<double>();
}

bool HaveTorchvision() { return std::system("/usr/bin/python3 -c 'import torchvision' 2>/dev/null") == 0; }

struct Case {
  const char* reference;  // export.py's name
  std::vector<int> sides_px;           // gradients at the first: the smaller one is cheaper
  const char* architecture = nullptr;  // where it is another
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.reference; }

class ParityTest : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    // Tests of one architecture may run at the same time.
    const std::string path = absl::StrCat(testing::TempDir(), "/parity_", getpid(), ".safetensors");
    const std::string command =
        absl::StrCat("/usr/bin/python3 -B ", GRAFT_GOLDEN_DIR, "/backbone/export.py ", GetParam().reference, " ", path,
                     " ", absl::StrJoin(GetParam().sides_px, " "));
    const int status = std::system(command.c_str());
    if (status != 0) {
      if (std::getenv("GRAFT_REQUIRE_SHARED") != nullptr || HaveTorchvision()) FAIL() << command;
      GTEST_SKIP() << "no python3-torchvision";
    }
    auto exported = ReadSafeTensors(path);
    std::remove(path.c_str());
    ASSERT_TRUE(exported.ok()) << exported.status();
    SafeTensors weights;
    for (auto& [name, tensor] : exported->tensors) {
      absl::string_view rest = name;
      (absl::ConsumePrefix(&rest, "weights.") ? weights.tensors : want_).emplace(rest, std::move(tensor));
    }
    metadata_ = exported->metadata;
    exported->tensors.clear();
    const char* name = GetParam().architecture != nullptr ? GetParam().architecture : GetParam().reference;
    const auto backbone = Backbone::Create(weights, name);
    ASSERT_TRUE(backbone.ok()) << backbone.status();
    backbone_ = *backbone;
    const auto names = OurNames(weights.tensors, backbone_->architecture());
    ASSERT_TRUE(names.ok());
    for (const auto& [ours, named] : names->by_name) ours_[named.file_name] = ours;
    if (backbone_->class_names().empty()) return;
    classifier_ = backbone_->architecture().build_classifier(names->classes);
    torch::NoGradGuard no_grad;
    for (auto& [name, tensor] : StateOf(*classifier_)) tensor.copy_(names->by_name.at(name).tensor);
  }

  const at::Tensor& Want(int side_px, const std::string& name) const {
    return want_.at(absl::StrCat(side_px, ".", name));
  }

  // Largest difference of any stage's output, each computed from ours before it.
  double StageDifference(int side_px) const {
    at::Tensor x = Want(side_px, "images");
    double largest = 0;
    for (int i = 0; i < backbone_->num_stages(); ++i) {
      const at::Tensor input = x, before = x.clone();
      x = backbone_->Forward(input, i, i + 1);
      EXPECT_TRUE(at::equal(input, before)) << backbone_->stage_names()[i] << " writes to its input";
      const double difference = RelativeDifference(x, Want(side_px, "stage." + backbone_->stage_names()[i]));
      EXPECT_LT(difference, kTolerance) << backbone_->stage_names()[i] << " at " << side_px << " px";
      largest = std::max(largest, difference);
    }
    return largest;
  }

  // The gradient of the exported tensor `file_name` in freshly copied stages.
  at::Tensor GradientOf(const std::string& file_name, const std::vector<std::shared_ptr<Stage>>& stages) const {
    const std::string& name = ours_.at(file_name);
    const std::vector<StageInfo>& infos = backbone_->architecture().stages;
    for (size_t i = 0; i < stages.size(); ++i) {
      for (const auto& item : stages[i]->named_parameters()) {
        if (FullName(infos[i].prefix, item.key()) == name) return item.value().grad();
      }
    }
    ADD_FAILURE() << "no stage has " << name;
    return {};
  }

  // Of the cross-entropy, in float64 on both sides: in float32 a ReLU whose input is within rounding of zero, or a tie
  // under a max pooling, turns over and moves single gradients by a percent.
  double GradientDifference() const {
    at::AutoGradMode enable_grad(true);
    const int side_px = GetParam().sides_px.front();
    const auto trained = backbone_->CopyStages(0, backbone_->num_stages());
    at::Tensor x = Want(side_px, "images").to(at::kDouble);
    for (const auto& stage : trained) {
      stage->eval();
      stage->to(at::kDouble);
      ToChannelsLast(stage.get());
      x = stage->Forward(x);
    }
    if (classifier_ != nullptr) classifier_->to(at::kDouble);
    x = classifier_ == nullptr ? x.narrow(1, 0, 10) : classifier_->Forward(x);
    at::cross_entropy_loss(x, Want(side_px, "labels")).backward();
    double largest = 0;
    for (const char* which : {"first", "last"}) {
      const at::Tensor got = GradientOf(metadata_.at(absl::StrCat("gradient_", which)), trained);
      const double difference = RelativeDifference(got, want_.at(absl::StrCat("gradient.", which)));
      EXPECT_LT(difference, kGradientTolerance) << which;
      largest = std::max(largest, difference);
    }
    return largest;
  }

  void CheckCounts() const {
    int64_t parameters = 0;
    double multiply_adds = 0;
    ASSERT_TRUE(absl::SimpleAtoi(metadata_.at("parameters"), &parameters));
    ASSERT_TRUE(absl::SimpleAtod(metadata_.at("multiply_adds"), &multiply_adds));
    const Architecture& architecture = backbone_->architecture();
    // Register tokens are optional and not counted in the declaration.
    const bool registers = ours_.count("register_tokens") > 0;
    EXPECT_EQ(architecture.parameter_count + (registers ? 4 * architecture.feature_width : 0), parameters);
    if (!registers) {
      EXPECT_NEAR(architecture.gflops, multiply_adds / 1e9, 0.03 * architecture.gflops);
    }
  }

  std::map<std::string, at::Tensor> want_;
  std::map<std::string, std::string> metadata_, ours_;  // ours_: by the file's name
  std::shared_ptr<const Backbone> backbone_;
  std::shared_ptr<Stage> classifier_;  // null: the network has none
};

// One test for each: writing the reference takes longer than all checks together.
TEST_P(ParityTest, StagesLogitsGradientsAndCountsAgree) {
  double stages = 0, logits = 0;
  for (const int side_px : GetParam().sides_px) {
    stages = std::max(stages, StageDifference(side_px));
    if (classifier_ == nullptr) continue;
    const at::Tensor features = backbone_->Forward(Want(side_px, "images"), 0, backbone_->num_stages());
    const double difference = RelativeDifference(backbone_->OwnLogits(features), Want(side_px, "logits"));
    EXPECT_LT(difference, kTolerance) << "logits at " << side_px << " px";
    logits = std::max(logits, difference);
  }
  const double gradients = GradientDifference();
  CheckCounts();
  RecordProperty("sides_px", absl::StrJoin(GetParam().sides_px, ", "));
  RecordProperty("stages", absl::StrCat(stages));
  RecordProperty("logits", classifier_ == nullptr ? "none" : absl::StrCat(logits));
  RecordProperty("gradients", absl::StrCat(gradients));
}

INSTANTIATE_TEST_SUITE_P(
    Reference, ParityTest,
    testing::Values(Case{"convnext_small", {96, 224}}, Case{"convnext_tiny", {96, 224}}, Case{"densenet121", {96, 224}},
                    Case{"efficientnet_b0", {96, 224}}, Case{"efficientnet_b1", {96, 240}},
                    Case{"efficientnet_b2", {96, 224}}, Case{"efficientnet_b3", {96, 224}},
                    Case{"inception_v3", {107, 299}}, Case{"mobilenet_v1", {96, 224}}, Case{"mobilenet_v2", {96, 224}},
                    Case{"mobilenet_v3_large", {96, 224}}, Case{"mobilenet_v3_small", {96, 224}},
                    Case{"resnet18", {96, 224}}, Case{"resnet34", {96, 224}}, Case{"resnet50", {96, 224}},
                    Case{"resnet101", {96, 224}}, Case{"resnet152", {96, 224}}, Case{"small_convnet", {150}},
                    Case{"vgg16", {96, 224}}, Case{"vgg16_bn", {96, 224}}, Case{"vgg19", {96, 224}},
                    Case{"vgg19_bn", {96, 224}}, Case{"vit_b_16", {96, 224}}, Case{"vit_s_14", {98, 224}},
                    Case{"vit_s_14_reg", {98, 224}, "vit_s_14"}, Case{"vit_s_16", {96, 224}},
                    Case{"xception", {107, 299}}),
    [](const auto& info) { return std::string(info.param.reference); });

}  // namespace
}  // namespace graft

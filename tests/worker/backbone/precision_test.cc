#include "worker/backbone/precision.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <thread>
#include <vector>

#include "tests/support/script_file.h"
#include "tests/support/tiny_backbone.h"
#include "worker/backbone/backbone.h"

namespace graft {
namespace {

const at::Device kCpu(at::kCPU);

TEST(PrecisionTest, HasNamesAndScalarTypes) {
  EXPECT_EQ(PrecisionName(Precision::kAuto), "auto");
  EXPECT_EQ(PrecisionName(Precision::kFloat32), "float32");
  EXPECT_EQ(PrecisionName(Precision::kBfloat16), "bfloat16");
  EXPECT_EQ(PrecisionName(Precision::kFloat16), "float16");
  EXPECT_EQ(ScalarTypeOf(Precision::kFloat32), at::kFloat);
  EXPECT_EQ(ScalarTypeOf(Precision::kBfloat16), at::kBFloat16);
  EXPECT_EQ(ScalarTypeOf(Precision::kFloat16), at::kHalf);
}

TEST(ResolvePrecisionTest, AutoIsDecidedAndTheOthersStay) {
  const auto decided = ResolvePrecision(Precision::kAuto, kCpu);
  ASSERT_TRUE(decided.ok());
  EXPECT_TRUE(*decided == Precision::kFloat32 || *decided == Precision::kBfloat16);
  EXPECT_EQ(*ResolvePrecision(Precision::kAuto, kCpu), *decided);
  EXPECT_EQ(*ResolvePrecision(Precision::kFloat32, kCpu), Precision::kFloat32);
  EXPECT_EQ(*ResolvePrecision(Precision::kBfloat16, kCpu), Precision::kBfloat16);
}

TEST(ResolvePrecisionTest, Float16OnTheCpuIsFailedPrecondition) {
  EXPECT_EQ(ResolvePrecision(Precision::kFloat16, kCpu).status(),
            absl::FailedPreconditionError("precision: got float16, want auto, float32 or bfloat16 on the device cpu"));
}

// What a matrix product of float32 computes in.
at::ScalarType ComputedIn() { return at::linear(at::ones({2, 4}), at::ones({3, 4})).scalar_type(); }

TEST(AutocastScopeTest, LowersMatrixProductsWhileItLives) {
  EXPECT_EQ(ComputedIn(), at::kFloat);
  {
    const AutocastScope scope(Precision::kBfloat16, kCpu);
    EXPECT_EQ(ComputedIn(), at::kBFloat16);
  }
  EXPECT_EQ(ComputedIn(), at::kFloat);
  {
    const AutocastScope scope(Precision::kFloat32, kCpu);
    EXPECT_EQ(ComputedIn(), at::kFloat);
  }
  EXPECT_EQ(ComputedIn(), at::kFloat);
}

TEST(AutocastScopeTest, AnInnerScopeRestoresTheOuterOne) {
  const AutocastScope outer(Precision::kBfloat16, kCpu);
  {
    const AutocastScope inner(Precision::kBfloat16, kCpu);
    EXPECT_EQ(ComputedIn(), at::kBFloat16);
  }
  EXPECT_EQ(ComputedIn(), at::kBFloat16);
  {
    const AutocastScope inner(Precision::kFloat32, kCpu);
    EXPECT_EQ(ComputedIn(), at::kFloat) << "computes in its own precision";
  }
  EXPECT_EQ(ComputedIn(), at::kBFloat16);
}

TEST(AutocastScopeTest, IsTheCallingThreadsAlone) {
  const AutocastScope scope(Precision::kBfloat16, kCpu);
  at::ScalarType elsewhere = at::kBFloat16;
  std::thread([&] { elsewhere = ComputedIn(); }).join();
  EXPECT_EQ(elsewhere, at::kFloat);
}

TEST(AutocastScopeTest, GradientsAreFloat32) {
  at::AutoGradMode enable_grad(true);
  const at::Tensor weight = at::ones({3, 4}).requires_grad_(true);
  {
    const AutocastScope scope(Precision::kBfloat16, kCpu);
    at::linear(at::full({2, 4}, 3.0f), weight).to(at::kFloat).sum().backward();
  }
  EXPECT_EQ(weight.grad().scalar_type(), at::kFloat);
  EXPECT_TRUE(at::equal(weight.grad(), at::full({3, 4}, 6.0f)));
}

TEST(AutocastScopeTest, KeepsNoLowerCopyOfWeightsThatChange) {
  at::AutoGradMode enable_grad(true);
  const at::Tensor weight = at::ones({1, 4}).requires_grad_(true);
  for (const float want : {4.0f, 8.0f, 16.0f}) {
    {
      const AutocastScope scope(Precision::kBfloat16, kCpu);
      EXPECT_EQ(at::linear(at::ones({1, 4}), weight).item<float>(), want);
    }
    torch::NoGradGuard no_grad;
    at::Tensor(weight).mul_(2);
  }
}

at::Tensor Pictures(const Backbone& backbone) {
  const int64_t side = backbone.preprocessing().crop_px;
  return at::sin(at::arange(2 * 3 * side * side, at::kFloat) * 0.37f).view({2, 3, side, side});
}

// bfloat16 has 8 bits of precision, 0.4 %; a dozen layers of it add up.
void ExpectClose(const at::Tensor& got, const at::Tensor& want) {
  EXPECT_EQ(got.scalar_type(), at::kFloat);
  ASSERT_EQ(got.sizes(), want.sizes());
  const double difference = (got.to(at::kFloat) - want).abs().max().item<double>();
  EXPECT_LT(difference, 3e-2 * want.abs().max().item<double>());
  EXPECT_GT(difference, 0) << "it was not computed in a lower precision";
}

TEST(BackbonePrecisionTest, Bfloat16IsCloseAndGivesFloat32Features) {
  const auto backbone = TinyBackbone();
  const at::Tensor pictures = Pictures(*backbone);
  const at::Tensor want = backbone->Forward(pictures, 0, 14);
  ExpectClose(backbone->Forward(pictures, 0, 14, Precision::kBfloat16), want);
  EXPECT_TRUE(at::equal(backbone->Forward(pictures, 0, 14), want)) << "float32 is as before";
}

// Its last stage has parameters.
TEST(BackbonePrecisionTest, FeaturesOfADenseLayerAreFloat32Too) {
  const auto backbone = Backbone::Untrained("small_convnet");
  ASSERT_TRUE(backbone.ok()) << backbone.status();
  const at::Tensor pictures = Pictures(**backbone);
  const int stages = (*backbone)->num_stages();
  ExpectClose((*backbone)->Forward(pictures, 0, stages, Precision::kBfloat16),
              (*backbone)->Forward(pictures, 0, stages));
}

TEST(BackbonePrecisionTest, Bfloat16GoesOnFromAnyStage) {
  const auto backbone = TinyBackbone();
  const at::Tensor pictures = Pictures(*backbone);
  const at::Tensor want = backbone->Forward(pictures, 0, 14, Precision::kBfloat16);
  for (const int split : {1, 11, 13}) {
    const at::Tensor half = backbone->Forward(pictures, 0, split, Precision::kBfloat16);
    EXPECT_EQ(half.scalar_type(), at::kBFloat16) << split;
    EXPECT_TRUE(at::equal(backbone->Forward(half, split, 14, Precision::kBfloat16), want)) << split;
  }
}

TEST(BackbonePrecisionTest, ManyThreadsShareTheLowerStages) {
  const auto backbone = Backbone::Untrained("small_convnet");  // whose lower stages don't exist yet
  ASSERT_TRUE(backbone.ok()) << backbone.status();
  const at::Tensor pictures = Pictures(**backbone);
  std::vector<at::Tensor> rows(4);
  std::vector<std::thread> threads;
  for (at::Tensor& each : rows) {
    threads.emplace_back([&] { each = (*backbone)->Forward(pictures, 0, 2, Precision::kBfloat16); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const at::Tensor& each : rows) EXPECT_TRUE(at::equal(each, rows[0]));
}

TEST(BackbonePrecisionTest, AScriptStaysFloat32) {
  InstallScript(testing::TempDir(), "precision_test");
  const auto backbone = Backbone::LoadScript(testing::TempDir() + "/precision_test.pt",
                                             R"({"feature_width": 3, "crop_px": 8})", "mean_colour");
  ASSERT_TRUE(backbone.ok()) << backbone.status();
  const at::Tensor pictures = Pictures(**backbone);
  EXPECT_TRUE(at::equal((*backbone)->Forward(pictures, 0, 1, Precision::kBfloat16),
                        (*backbone)->Forward(pictures, 0, 1)));
}

}  // namespace
}  // namespace graft

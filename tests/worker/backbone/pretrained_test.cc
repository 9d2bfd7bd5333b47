// Real weights, where there are some: $GRAFT_SHARED/weights.

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "worker/backbone/backbone.h"
#include "worker/model/checkpoint.h"

namespace graft {
namespace {

class PretrainedTest : public testing::TestWithParam<std::string> {};

TEST_P(PretrainedTest, LoadsAndPredicts) {
  const char* shared = std::getenv("GRAFT_SHARED");
  if (shared == nullptr) {
    if (std::getenv("GRAFT_REQUIRE_SHARED") != nullptr) FAIL() << "GRAFT_SHARED is not set";
    GTEST_SKIP() << "GRAFT_SHARED is not set";
  }
  const auto backbone = Backbone::Load(absl::StrCat(shared, "/weights/", GetParam(), ".safetensors"), GetParam());
  ASSERT_TRUE(backbone.ok()) << backbone.status();
  EXPECT_EQ((*backbone)->name(), GetParam());
  const at::Tensor images = GoldenInputs((*backbone)->preprocessing());
  const at::Tensor logits = (*backbone)->OwnLogits((*backbone)->Forward(images, 0, (*backbone)->num_stages()));
  ASSERT_TRUE(logits.defined());
  EXPECT_TRUE(at::isfinite(logits).all().item<bool>());
}

INSTANTIATE_TEST_SUITE_P(Weights, PretrainedTest, testing::Values("mobilenet_v2", "mobilenet_v3_small"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace graft

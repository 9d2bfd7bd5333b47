#include "worker/backbone/depthwise.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <array>
#include <cstdint>

namespace graft {
namespace {

struct Case {
  int64_t n, c, h, w, kernel_h, kernel_w, stride;
  std::array<int64_t, 2> padding;
  bool bias;
};

at::Tensor Values(at::IntArrayRef shape, uint64_t seed) {
  return at::randn(shape, at::detail::createCPUGenerator(seed)).to(at::kDouble);
}

// The largest difference, relative to the largest value.
double Difference(const at::Tensor& got, const at::Tensor& want) {
  return (got.to(at::kDouble) - want).abs().max().item<double>() / want.abs().max().item<double>();
}

class DepthwiseTest : public testing::TestWithParam<Case> {};

// The reference is LibTorch's own convolution in float64.
TEST_P(DepthwiseTest, ValuesAndGradientsAreConv2ds) {
  const Case& p = GetParam();
  const at::Tensor x64 = Values({p.n, p.c, p.h, p.w}, 1).requires_grad_(true);
  const at::Tensor w64 = Values({p.c, 1, p.kernel_h, p.kernel_w}, 2).requires_grad_(true);
  const at::Tensor b64 = p.bias ? Values({p.c}, 3).requires_grad_(true) : at::Tensor();
  const auto leaf = [](const at::Tensor& t) {
    const auto format = t.dim() == 4 ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
    return t.detach().to(at::kFloat).contiguous(format).requires_grad_(true);
  };
  const at::Tensor x = leaf(x64), w = leaf(w64), b = p.bias ? leaf(b64) : at::Tensor();
  ASSERT_TRUE(IsDepthwise(x, w, p.c));
  const at::Tensor want = at::conv2d(x64, w64, b64, {p.stride, p.stride}, p.padding, {1, 1}, p.c);
  const at::Tensor got = DepthwiseConv(x, w, b, p.stride, p.padding);
  ASSERT_EQ(got.sizes(), want.sizes());
  EXPECT_LT(Difference(got.detach(), want.detach()), 1e-5);
  const at::Tensor weights = Values(want.sizes(), 4);
  (want * weights).sum().backward();
  (got * weights.to(at::kFloat)).sum().backward();
  EXPECT_LT(Difference(x.grad(), x64.grad()), 1e-5);
  EXPECT_LT(Difference(w.grad(), w64.grad()), 1e-5);
  if (p.bias) {
    EXPECT_LT(Difference(b.grad(), b64.grad()), 1e-5);
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, DepthwiseTest,
                         testing::Values(Case{2, 576, 7, 7, 5, 5, 1, {2, 2}, true},
                                         Case{3, 16, 14, 11, 3, 3, 2, {1, 1}, true},
                                         Case{1, 70, 5, 5, 3, 3, 1, {1, 1}, false},
                                         Case{2, 8, 9, 9, 5, 5, 2, {0, 0}, false},
                                         Case{2, 96, 6, 8, 1, 7, 1, {0, 3}, true},
                                         Case{4, 3, 1, 1, 3, 3, 1, {1, 1}, true}));

TEST(IsDepthwiseTest, WantsOneChannelAGroupInChannelsLastFloat32) {
  const at::Tensor x = at::zeros({1, 8, 4, 4}).contiguous(at::MemoryFormat::ChannelsLast);
  const at::Tensor w = at::zeros({8, 1, 3, 3});
  EXPECT_TRUE(IsDepthwise(x, w, 8));
  EXPECT_FALSE(IsDepthwise(x, at::zeros({8, 2, 3, 3}), 4)) << "two channels a group";
  EXPECT_FALSE(IsDepthwise(x, at::zeros({16, 1, 3, 3}), 8)) << "two outputs a channel";
  EXPECT_FALSE(IsDepthwise(x, at::zeros({8, 8, 3, 3}), 1)) << "no groups";
  EXPECT_FALSE(IsDepthwise(at::zeros({1, 8, 4, 4}), w, 8)) << "layout";
  EXPECT_FALSE(IsDepthwise(x.to(at::kDouble), w.to(at::kDouble), 8)) << "dtype";
}

}  // namespace
}  // namespace graft

#pragma once

#include <array>
#include <cstdint>

#include <ATen/core/Tensor.h>

namespace graft {

// Whether DepthwiseConv() computes this: on the CPU, float32, channels-last, one channel a group.
bool IsDepthwise(const at::Tensor& x, const at::Tensor& weight, int64_t groups);

// at::conv2d() with gradients, for the depthwise convolutions of mobile networks: their backward in oneDNN 2.7 is 15
// times slower than memory bandwidth asks for in channels-last, and most of the time of a training step. `x`: float32
// [n, c, h, w], channels-last; `weight`: [c, 1, kh, kw]; `bias`: [c] or undefined.
at::Tensor DepthwiseConv(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, int64_t stride,
                         const std::array<int64_t, 2>& padding);

}  // namespace graft

#pragma once

#include <cstdint>

namespace graft {

// Gradients of a depthwise convolution. All arrays are channels-last: `grad_out` [n, out_h, out_w, c], `in` and `grad_in`
// [n, in_h, in_w, c], the kernel and its gradient [kernel_h * kernel_w, c]. Adds to grad_in and grad_weight.
struct DepthwiseBackward {
  int64_t n, c, in_h, in_w, out_h, out_w, kernel_h, kernel_w, stride, pad_h, pad_w;
  const float* grad_out;
  const float* in;
  const float* weight;
  float* grad_in;
  float* grad_weight;

  void Run() const;

 private:
  void RunBlock(int64_t image, int64_t first_channel, int64_t channels) const;
};

}  // namespace graft

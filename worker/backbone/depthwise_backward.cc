#include "worker/backbone/depthwise_backward.h"

#include <algorithm>

// One copy of the inner loop for each kind of CPU; sanitizers cannot follow the choice, which the loader makes.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define GRAFT_FOR_EACH_CPU __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define GRAFT_FOR_EACH_CPU
#endif

namespace graft {
namespace {

// Channels that are computed together: kernel, its gradient and a picture's maps of so many fit the first cache.
constexpr int64_t kChannelBlock = 64;

// For one output pixel and kernel tap: what flows back to the input pixel and to the tap's weights.
GRAFT_FOR_EACH_CPU
void AddTap(const float* grad_out, const float* in, const float* weight, float* grad_in, float* grad_weight,
            int64_t channels) {
  for (int64_t c = 0; c < channels; ++c) {
    grad_in[c] += grad_out[c] * weight[c];
    grad_weight[c] += grad_out[c] * in[c];
  }
}

}  // namespace

void DepthwiseBackward::RunBlock(int64_t image, int64_t first_channel, int64_t channels) const {
  for (int64_t oy = 0; oy < out_h; ++oy) {
    for (int64_t ox = 0; ox < out_w; ++ox) {
      const float* g = grad_out + ((image * out_h + oy) * out_w + ox) * c + first_channel;
      for (int64_t ky = 0; ky < kernel_h; ++ky) {
        const int64_t iy = oy * stride - pad_h + ky;
        if (iy < 0 || iy >= in_h) continue;
        for (int64_t kx = 0; kx < kernel_w; ++kx) {
          const int64_t ix = ox * stride - pad_w + kx;
          if (ix < 0 || ix >= in_w) continue;
          const int64_t pixel = ((image * in_h + iy) * in_w + ix) * c + first_channel;
          const int64_t tap = (ky * kernel_w + kx) * c + first_channel;
          AddTap(g, in + pixel, weight + tap, grad_in + pixel, grad_weight + tap, channels);
        }
      }
    }
  }
}

void DepthwiseBackward::Run() const {
  for (int64_t first = 0; first < c; first += kChannelBlock) {
    for (int64_t image = 0; image < n; ++image) RunBlock(image, first, std::min(kChannelBlock, c - first));
  }
}

}  // namespace graft

#pragma once

#include <ATen/core/Tensor.h>

namespace graft {

// `x` on `device`. Pinned memory goes to CUDA on a copy stream of this thread's own, beside what the device computes;
// what this thread queues on the current stream after the call waits for it. On the CPU it is `x` itself.
at::Tensor ToDevice(const at::Tensor& x, at::Device device);

}  // namespace graft

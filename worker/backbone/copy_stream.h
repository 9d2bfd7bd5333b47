#pragma once

#include <ATen/core/Tensor.h>

namespace graft {

// `x` on `device`. Pinned memory goes to CUDA on the device's copy stream, beside what the device computes; what this
// thread queues on the current stream after the call waits for it. On the CPU it is `x` itself.
//
// Threads: safe from several; one stream for all of them, as a device has one engine for copies to it.
at::Tensor ToDevice(const at::Tensor& x, at::Device device);

}  // namespace graft

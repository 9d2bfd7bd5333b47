#pragma once

#include <cstdint>
#include <memory>

#include "worker/backbone/backbone.h"
#include "worker/backbone/safetensors.h"

namespace graft {

// Weights of mobilenet_v3_small that need no file: values from `seed` in the range that keeps activations near 1, and
// batch-norm statistics that are not the identity. The network has learned nothing, but its features tell colours
// apart.
SafeTensors TinyWeights(uint64_t seed = 1);

// A backbone of TinyWeights(): 224 px, one image takes about 5 ms. The same object for each call with the same seed.
std::shared_ptr<const Backbone> TinyBackbone(uint64_t seed = 1);

}  // namespace graft

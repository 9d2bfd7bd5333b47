#pragma once

#include <memory>

#include "worker/backbone/backbone.h"
#include "worker/backbone/safetensors.h"

namespace graft {

// TinyWeights() and a classifier of their own, which has learned nothing, of the classes "ant", "bee" and "cat".
SafeTensors TinyClassifierWeights();

// A backbone of them. The same object for each call.
std::shared_ptr<const Backbone> TinyClassifier();

}  // namespace graft

#pragma once

#include <cstdint>

#include "worker/backbone/backbone.h"
#include "worker/model/checkpoint.h"

namespace graft {

// A sound checkpoint of `classes` classes on `backbone` from `split_point` on, with an untrained head from `seed`.
Checkpoint TinyCheckpoint(const Backbone& backbone, int split_point, int classes = 3, uint64_t seed = 1);

}  // namespace graft

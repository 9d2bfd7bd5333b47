#pragma once

#include <ATen/core/Tensor.h>

#include "absl/status/statusor.h"
#include "worker/base/cancel_token.h"
#include "worker/base/worker_pool.h"
#include "worker/data/activations.h"

namespace graft {

// Of features, [width] each, float32.
struct FeatureStatistics {
  at::Tensor mean, deviation;
};
// Over all examples of activations at the last stage, view 0.   Errors as Activations::Fill().
absl::StatusOr<FeatureStatistics> MeasureStatistics(Activations* activations, WorkerPool* pool,
                                                    const CancelToken& cancel);

}  // namespace graft

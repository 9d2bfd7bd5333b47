#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "absl/status/statusor.h"
#include "worker/backbone/backbone.h"
#include "worker/base/cancel_token.h"
#include "worker/base/worker_pool.h"
#include "worker/data/activations.h"
#include "worker/model/suffix.h"

namespace graft {

struct PredictOptions {
  std::shared_ptr<const Backbone> backbone;
  int split_point = 0;
  HeadOptions head;
  int64_t num_classes = 0;
};

// All of a suffix's weights.   DataLoss: some are missing or misshapen
absl::Status LoadWhole(const std::map<std::string, at::Tensor>& weights, Suffix* suffix);

// Logits of all examples, row-major [activations->size()][classes], by `weights` as they are served: folded, float32.
//   InvalidArgument  they are not finite: the weights overflowed;  Cancelled, DataLoss, ResourceExhausted, Internal
absl::StatusOr<std::vector<float>> PredictLogits(const PredictOptions& options,
                                                 const std::map<std::string, at::Tensor>& weights,
                                                 Activations* activations, WorkerPool* pool, const CancelToken& cancel);

}  // namespace graft

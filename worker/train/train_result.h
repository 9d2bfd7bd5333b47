#pragma once

#include <map>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "absl/status/statusor.h"
#include "worker/base/cancel_token.h"
#include "worker/base/worker_pool.h"
#include "worker/data/dataset.h"
#include "worker/train/train_data.h"
#include "worker/train/trainer.h"

namespace graft {

// What the phases leave.
struct TrainedWeights {
  std::map<std::string, at::Tensor> weights;      // the model's
  std::vector<float> validation_logits;           // of them, row-major [validation][classes]
  std::map<std::string, double> found_rates;      // TrainState's
  // Of the last epoch, when early stopping went back to a better one; else empty.
  std::map<std::string, at::Tensor> last_weights;
  std::vector<float> last_validation_logits;
};

// Assesses the weights and makes checkpoints of them.   Errors as Train().
absl::StatusOr<TrainResult> MakeTrainResult(const TrainOptions& options, const Dataset& data,
                                            const TrainedWeights& trained, TrainData* pictures, WorkerPool* pool,
                                            const CancelToken& cancel);

}  // namespace graft

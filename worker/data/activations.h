#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>

#include "absl/status/statusor.h"
#include "worker/backbone/backbone.h"
#include "worker/base/cancel_token.h"
#include "worker/base/worker_pool.h"
#include "worker/data/dataset.h"
#include "worker/image/image.h"
#include "worker/image/preprocess.h"

namespace graft {

// What the frozen prefix of a backbone gives for each example: computed once, kept in memory up to a budget; what does
// not fit is computed again each time it is asked for.
//
// Threads: Gather() is safe from several threads after Fill().
class Activations {
 public:
  struct Options {
    std::shared_ptr<const Backbone> backbone;
    PreprocessSpec preprocessing;        // of the pictures; a size that the backbone computes
    int split_point = 0;                 // stages [0, split_point) are run
    ImageLimits image_limits;
    int64_t budget_bytes = int64_t{1} << 30;
    int chunk = 8;                       // images per prefix batch (cache-friendly in float32, see Batcher)
  };
  // `examples` outlives this. With `base`, which holds the same examples at an earlier split point and outlives this,
  // only the stages between the two run.
  Activations(Options options, const std::vector<Example>* examples, ImageReader read,
              const Activations* base = nullptr);

  // Computes what fits the budget on the pool. `progress` is called now and then from this thread with the images done.
  //   DataLoss  an image cannot be read or decoded (names it);  Cancelled;  ResourceExhausted;  Internal
  absl::Status Fill(WorkerPool* pool, const CancelToken& cancel,
                    const std::function<absl::Status(int64_t done)>& progress);

  // Rows of the examples at `indices`: float32 [n, ...] on the CPU, channels-last.   Errors as Fill().
  absl::StatusOr<at::Tensor> Gather(const int64_t* indices, int64_t n) const;

  int64_t size() const { return static_cast<int64_t>(examples_->size()); }
  int64_t cached() const { return cached_; }
  const std::vector<Example>& examples() const { return *examples_; }

 private:
  absl::StatusOr<at::Tensor> Compute(const int64_t* indices, int64_t n) const;
  absl::StatusOr<at::Tensor> ReadImages(const int64_t* indices, int64_t n) const;

  const Options options_;
  const std::vector<Example>* const examples_;
  const ImageReader read_;
  const Activations* const base_;
  int64_t cached_ = 0;  // examples [0, cached_) are in rows_
  at::Tensor rows_;
};

}  // namespace graft

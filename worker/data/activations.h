#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "absl/status/statusor.h"
#include "worker/backbone/backbone.h"
#include "worker/base/cancel_token.h"
#include "worker/base/worker_pool.h"
#include "worker/data/activation_store.h"
#include "worker/data/dataset.h"
#include "worker/image/augment.h"
#include "worker/image/image.h"
#include "worker/image/preprocess.h"

namespace graft {

// What the frozen prefix of a backbone gives for views of each example: computed once, kept in memory up to a budget
// and in a store on disk; what is in neither is computed again each time it is asked for. A row depends on its example,
// its view and the options, not on what else is computed with it.
//
// Threads: Gather() is safe from several threads while no Fill() or Prepare() runs; beside PrepareNext() it is safe for
// what was prepared before.
class Activations {
 public:
  struct Options {
    std::shared_ptr<const Backbone> backbone;
    PreprocessSpec preprocessing;        // of the pictures; a size that the backbone computes
    int split_point = 0;                 // stages [0, split_point) are run
    Precision precision = Precision::kFloat32;  // of the stages, and of rows that are no features; not kAuto
    AugmentSpec augment;                 // of the views; all views are alike when it varies nothing
    uint64_t seed = 0;                   // of the views
    int kept_views = 1;                  // 0: none; view v is kept until view v + kept_views is asked for
    bool reduced_decoding = false;       // JPEGs at a fraction of their size, twice the target or more: not quite PIL's
    ImageLimits image_limits;
    int64_t budget_bytes = int64_t{1} << 30;
    ActivationStore* store = nullptr;    // outlives this; null: none
    int chunk = 8;                       // images per prefix batch (cache-friendly, see Batcher)
    int64_t window_bytes = int64_t{256} << 20;  // see WindowImages()
  };
  // `examples` outlives this. With `base`, which was filled, holds the same examples and views at an earlier split
  // point and outlives this, only the stages between the two run.
  Activations(Options options, const std::vector<Example>* examples, ImageReader read,
              const Activations* base = nullptr);

  // Computes view 0 of what fits the budget on the pool. `progress` is called now and then from this thread with the
  // images done.
  //   DataLoss  an image cannot be read or decoded (names it);  Cancelled;  ResourceExhausted;  Internal
  absl::Status Fill(WorkerPool* pool, const CancelToken& cancel,
                    const std::function<absl::Status(int64_t done)>& progress);

  // Computes a view of the examples at `indices` on the pool, so that Gather() finds them: beyond the budget until the
  // next Prepare().   Errors as Fill().
  absl::Status Prepare(int64_t view, const int64_t* indices, int64_t n, WorkerPool* pool, const CancelToken& cancel);

  // Prepare() ahead, of the same view: Gather() finds what was prepared before until UseNext(), beside which nothing
  // else may run, then this.
  absl::Status PrepareNext(int64_t view, const int64_t* indices, int64_t n, WorkerPool* pool,
                           const CancelToken& cancel);
  void UseNext() { std::swap(window_, next_); }

  // Rows of a view of the examples at `indices`: [n, ...] on the CPU, channels-last.   Errors as Fill().
  absl::StatusOr<at::Tensor> Gather(const int64_t* indices, int64_t n, int64_t view = 0) const;

  int64_t size() const { return static_cast<int64_t>(examples_->size()); }
  int64_t cached() const { return capacity_; }  // rows of one view or more that memory holds, after the first Fill()
  bool varies() const { return options_.augment != AugmentSpec(); }
  // How many rows a caller does well to Prepare() at once: at most 1024, and window_bytes.   Errors as Fill().
  absl::StatusOr<int64_t> WindowImages();
  at::IntArrayRef row_sizes() const { return sample_.sizes(); }  // of a batch of one, after the first of the above
  const std::vector<Example>& examples() const { return *examples_; }
  const Options& options() const { return options_; }
  int64_t window_rows() const { return window_.rows.defined() ? window_.rows.size(0) : 0; }  // that it has room for
  int64_t kept_bytes() const { return capacity_ * row_bytes_; }  // of memory, after the first Fill() or Prepare()

 private:
  // Rows that had no slot.
  struct Window {
    at::Tensor rows;
    int64_t view = -1;  // -1: not all are there
    std::unordered_map<int64_t, int64_t> row_of;  // an example's index
  };
  int64_t SlotOf(int64_t view, int64_t index) const;
  bool IsKept(int64_t view, int64_t index) const;
  absl::Status Allocate();
  absl::Status OpenSpaces(int64_t view);
  absl::Status PrepareWindow(int64_t view, const int64_t* indices, int64_t n, WorkerPool* pool,
                             const CancelToken& cancel, Window* window);
  absl::Status ComputeInto(const Window& window, int64_t view, const int64_t* indices, int64_t n);
  // Where a row of a view is: kept ones by slot, others in the window.
  void* RowOf(const Window& window, int64_t view, int64_t index) const;
  absl::StatusOr<at::Tensor> Compute(const int64_t* indices, int64_t n, int64_t view) const;
  int FirstStage() const;
  at::Tensor RunStages(const at::Tensor& input) const;  // may throw
  absl::StatusOr<at::Tensor> ReadImages(const int64_t* indices, int64_t n, int64_t view) const;

  const Options options_;
  const std::vector<Example>* const examples_;
  const ImageReader read_;
  const Activations* const base_;
  at::Tensor sample_;     // one row, for its shape and dtype
  int64_t row_bytes_ = 0;
  int64_t capacity_ = 0;  // slots
  at::Tensor rows_;       // [capacity_, ...]
  std::vector<int64_t> view_in_slot_;  // -1: nothing
  Window window_, next_;  // of the last Prepare() and PrepareNext()
  std::map<int64_t, std::shared_ptr<ActivationStore::Space>> spaces_;  // of views that are in use
};

// Calls `run` with the indices of one window after the other, all rows of view 0 in order, that Prepare() was called
// for.   Errors as Activations::Fill(); those of `run`
absl::Status ForEachWindow(Activations* activations, WorkerPool* pool, const CancelToken& cancel,
                           const std::function<absl::Status(const std::vector<int64_t>& indices)>& run);

// Changes when rows are computed in another way: those of older programs are then left alone.
constexpr char kRowsVersion[] = "rows 1";

// The view that an epoch (from 0) trains on when `kept` views are kept: each is used in kUsesOfAView epochs, then
// replaced. With `kept` 0 every epoch has its own.
constexpr int kUsesOfAView = 4;
int64_t ViewOfEpoch(int64_t epoch, int kept);

}  // namespace graft

#include "worker/train/feature_statistics.h"

#include <torch/torch.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

#include "worker/backbone/torch_status.h"
#include "worker/base/status.h"

namespace graft {

absl::StatusOr<FeatureStatistics> MeasureStatistics(Activations* activations, WorkerPool* pool,
                                                    const CancelToken& cancel) {
  at::Tensor sum, squares;  // float64: in the order of the examples, whatever the threads
  const int64_t count = activations->size();
  ASSIGN_OR_RETURN(const int64_t row_bytes, activations->RowBytes());
  const int64_t window = ImagesInAWindow(row_bytes);
  for (int64_t begin = 0; begin < count; begin += window) {
    std::vector<int64_t> indices(std::min(window, count - begin));
    std::iota(indices.begin(), indices.end(), begin);
    const auto n = static_cast<int64_t>(indices.size());
    RETURN_IF_ERROR(activations->Prepare(0, indices.data(), n, pool, cancel));
    ASSIGN_OR_RETURN(const at::Tensor rows, activations->Gather(indices.data(), n));
    RETURN_IF_ERROR(TryTorch("measure the features", [&] {
      const at::Tensor x = rows.to(at::kDouble);
      sum = sum.defined() ? sum + x.sum(0) : x.sum(0);
      squares = squares.defined() ? squares + (x * x).sum(0) : (x * x).sum(0);
      return absl::OkStatus();
    }));
  }
  FeatureStatistics statistics;
  RETURN_IF_ERROR(TryTorch("measure the features", [&] {
    const at::Tensor mean = sum / static_cast<double>(count);
    statistics.mean = mean.to(at::kFloat);
    // What is left of a feature that never changes is rounding.
    const at::Tensor variance = squares / static_cast<double>(count) - mean * mean;
    const at::Tensor varies = variance > 1e-10 * (mean * mean + 1e-10);
    statistics.deviation = at::where(varies, variance, at::zeros_like(variance)).sqrt().to(at::kFloat);
    return absl::OkStatus();
  }));
  return statistics;
}

}  // namespace graft

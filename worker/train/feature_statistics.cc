#include "worker/train/feature_statistics.h"

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "worker/backbone/torch_status.h"
#include "worker/base/status.h"

namespace graft {

absl::StatusOr<FeatureStatistics> MeasureStatistics(Activations* activations, WorkerPool* pool,
                                                    const CancelToken& cancel) {
  at::Tensor sum, squares;  // float64: in the order of the examples, whatever the threads
  RETURN_IF_ERROR(ForEachWindow(activations, pool, cancel, [&](const std::vector<int64_t>& indices) -> absl::Status {
    ASSIGN_OR_RETURN(const at::Tensor rows,
                     activations->Gather(indices.data(), static_cast<int64_t>(indices.size())));
    return TryTorch("measure the features", [&] {
      const at::Tensor x = rows.to(at::kDouble);
      sum = sum.defined() ? sum + x.sum(0) : x.sum(0);
      squares = squares.defined() ? squares + (x * x).sum(0) : (x * x).sum(0);
      return absl::OkStatus();
    });
  }));
  const auto count = static_cast<double>(activations->size());
  FeatureStatistics statistics;
  RETURN_IF_ERROR(TryTorch("measure the features", [&] {
    const at::Tensor mean = sum / count;
    statistics.mean = mean.to(at::kFloat);
    // What is left of a feature that never changes is rounding.
    const at::Tensor variance = squares / count - mean * mean;
    const at::Tensor varies = variance > 1e-10 * (mean * mean + 1e-10);
    statistics.deviation = at::where(varies, variance, at::zeros_like(variance)).sqrt().to(at::kFloat);
    return absl::OkStatus();
  }));
  return statistics;
}

}  // namespace graft

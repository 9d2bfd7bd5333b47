#include "worker/train/predict_logits.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "worker/backbone/torch_status.h"
#include "worker/base/status.h"

namespace graft {
namespace {

constexpr int64_t kPredictBatch = 32;

// The last step of an epoch can overflow after its loss was still finite.
absl::Status CheckFinite(const std::vector<float>& logits) {
  if (std::all_of(logits.begin(), logits.end(), [](float z) { return std::isfinite(z); })) return absl::OkStatus();
  return absl::InvalidArgumentError("learning_rate: the weights overflowed; want a lower one");
}

}  // namespace

absl::Status LoadWhole(const std::map<std::string, at::Tensor>& weights, Suffix* suffix) {
  ASSIGN_OR_RETURN(const int absent, suffix->LoadState(weights));
  if (absent == 0) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(absent, " weights are missing"));
}

absl::StatusOr<std::vector<float>> PredictLogits(const PredictOptions& options,
                                                 const std::map<std::string, at::Tensor>& weights,
                                                 Activations* activations, WorkerPool* pool,
                                                 const CancelToken& cancel) {
  const int64_t classes = options.num_classes;
  std::vector<float> logits(activations->size() * classes);
  std::unique_ptr<Suffix> suffix;
  RETURN_IF_ERROR(TryTorch("prepare to predict", [&]() -> absl::Status {
    suffix = std::make_unique<Suffix>(*options.backbone, options.split_point, options.head, classes, 0);
    RETURN_IF_ERROR(LoadWhole(weights, suffix.get()));
    suffix->PrepareToPredict();
    return absl::OkStatus();
  }));
  const auto run = [&](const std::vector<int64_t>& indices, int64_t begin) -> absl::Status {
    RETURN_IF_ERROR(cancel.status());
    const int64_t n = std::min<int64_t>(kPredictBatch, static_cast<int64_t>(indices.size()) - begin);
    ASSIGN_OR_RETURN(const at::Tensor input, activations->Gather(indices.data() + begin, n));
    return TryTorch("evaluate a batch", [&] {
      torch::NoGradGuard no_grad;
      const at::Tensor rows = suffix->Forward(input.to(at::kFloat)).cpu().contiguous();
      std::copy_n(rows.data_ptr<float>(), n * classes, logits.data() + indices[begin] * classes);
      return absl::OkStatus();
    });
  };
  RETURN_IF_ERROR(ForEachWindow(activations, pool, cancel, [&](const std::vector<int64_t>& indices) {
    const int64_t batches = (static_cast<int64_t>(indices.size()) + kPredictBatch - 1) / kPredictBatch;
    return pool->ParallelFor(batches, [&](int, int64_t batch) { return run(indices, batch * kPredictBatch); });
  }));
  RETURN_IF_ERROR(CheckFinite(logits));
  return logits;
}

}  // namespace graft

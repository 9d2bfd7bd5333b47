#include "worker/data/activations.h"

#include <torch/torch.h>

#include <algorithm>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "worker/backbone/torch_status.h"
#include "worker/base/status.h"
#include "worker/image/decode.h"
#include "worker/image/preprocess.h"

namespace graft {
namespace {

constexpr int64_t kChunksPerReport = 16;  // of each pool thread

// Rows for `count` examples, laid out so that any run of rows is a channels-last batch.
at::Tensor EmptyRows(int64_t count, const at::Tensor& sample) {
  std::vector<int64_t> shape = sample.sizes().vec();
  shape[0] = count;
  if (shape.size() != 4) return at::empty(shape, at::kFloat);
  return at::empty(shape, at::TensorOptions(at::kFloat).memory_format(at::MemoryFormat::ChannelsLast));
}

}  // namespace

Activations::Activations(Options options, const std::vector<Example>* examples, ImageReader read,
                         const Activations* base)
    : options_(std::move(options)), examples_(examples), read_(std::move(read)), base_(base) {
  GRAFT_CHECK(base_ == nullptr || base_->options_.split_point <= options_.split_point);
}

absl::StatusOr<at::Tensor> Activations::ReadImages(const int64_t* indices, int64_t n) const {
  const PreprocessSpec& spec = options_.preprocessing;
  const int64_t pixels = int64_t{spec.crop_px} * spec.crop_px * 3;
  at::Tensor batch = at::empty({n, 3, spec.crop_px, spec.crop_px}, options_.backbone->input_options());
  for (int64_t i = 0; i < n; ++i) {
    const Example& example = (*examples_)[indices[i]];
    const absl::StatusOr<std::string> bytes = read_(example.id);
    if (!bytes.ok()) return absl::DataLossError(absl::StrCat("picture ", example.id, ": ", bytes.status().message()));
    const absl::StatusOr<Image> image = DecodeImage(*bytes, options_.image_limits);
    if (!image.ok()) return absl::DataLossError(absl::StrCat("picture ", example.id, ": ", image.status().message()));
    Preprocess(*image, spec, batch.data_ptr<float>() + i * pixels);
  }
  return batch;
}

absl::StatusOr<at::Tensor> Activations::Compute(const int64_t* indices, int64_t n) const {
  absl::StatusOr<at::Tensor> result;
  RETURN_IF_ERROR(TryTorch("run the frozen stages", [&]() -> absl::Status {
    absl::StatusOr<at::Tensor> input = base_ != nullptr ? base_->Gather(indices, n) : ReadImages(indices, n);
    RETURN_IF_ERROR(input.status());
    const int begin = base_ != nullptr ? base_->options_.split_point : 0;
    const at::Tensor output = options_.backbone->Forward(*input, begin, options_.split_point).cpu();
    result = output.contiguous(output.dim() == 4 ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous);
    return absl::OkStatus();
  }));
  return result;
}

absl::Status Activations::Fill(WorkerPool* pool, const CancelToken& cancel,
                               const std::function<absl::Status(int64_t)>& progress) {
  if (size() == 0) return absl::OkStatus();
  const int64_t first = 0;
  ASSIGN_OR_RETURN(const at::Tensor sample, Compute(&first, 1));
  cached_ = std::min<int64_t>(size(), options_.budget_bytes / std::max<int64_t>(1, sample.nbytes()));
  if (cached_ == 0) return absl::OkStatus();
  RETURN_IF_ERROR(TryTorch("allocate the activation cache", [&] {
    rows_ = EmptyRows(cached_, sample);
    return absl::OkStatus();
  }));
  const auto fill_chunk = [&](int, int64_t chunk) -> absl::Status {
    RETURN_IF_ERROR(cancel.status());
    const int64_t begin = chunk * options_.chunk;
    const int64_t n = std::min<int64_t>(options_.chunk, cached_ - begin);
    std::vector<int64_t> indices(n);
    std::iota(indices.begin(), indices.end(), begin);
    ASSIGN_OR_RETURN(const at::Tensor computed, Compute(indices.data(), n));
    return TryTorch("store activations", [&] {
      rows_.narrow(0, begin, n).copy_(computed);
      return absl::OkStatus();
    });
  };
  const int64_t chunks = (cached_ + options_.chunk - 1) / options_.chunk;
  const int64_t slice = kChunksPerReport * pool->size();
  for (int64_t begin = 0; begin < chunks; begin += slice) {
    const int64_t count = std::min(slice, chunks - begin);
    RETURN_IF_ERROR(pool->ParallelFor(count, [&](int worker, int64_t i) { return fill_chunk(worker, begin + i); }));
    RETURN_IF_ERROR(progress(std::min<int64_t>(cached_, (begin + count) * options_.chunk)));
  }
  return absl::OkStatus();
}

absl::StatusOr<at::Tensor> Activations::Gather(const int64_t* indices, int64_t n) const {
  std::vector<int64_t> missing;
  for (int64_t i = 0; i < n; ++i) {
    if (indices[i] >= cached_) missing.push_back(indices[i]);
  }
  if (static_cast<int64_t>(missing.size()) == n) return Compute(indices, n);
  at::Tensor computed;
  if (!missing.empty()) {
    ASSIGN_OR_RETURN(computed, Compute(missing.data(), static_cast<int64_t>(missing.size())));
  }
  absl::StatusOr<at::Tensor> result;
  RETURN_IF_ERROR(TryTorch("gather activations", [&] {
    at::Tensor batch = EmptyRows(n, rows_);
    const int64_t row_floats = rows_.numel() / cached_;
    int64_t next_missing = 0;
    for (int64_t i = 0; i < n; ++i) {
      const bool kept = indices[i] < cached_;
      const at::Tensor& from = kept ? rows_ : computed;
      const int64_t row = kept ? indices[i] : next_missing++;
      // A row of a channels-last batch is one run of memory.
      std::copy_n(from.data_ptr<float>() + row * row_floats, row_floats, batch.data_ptr<float>() + i * row_floats);
    }
    result = std::move(batch);
    return absl::OkStatus();
  }));
  return result;
}

}  // namespace graft

#include "worker/data/activations.h"

#include <torch/torch.h>
#include <torch/version.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <unordered_set>

#include "absl/strings/str_cat.h"
#include "worker/backbone/torch_status.h"
#include "worker/base/status.h"
#include "worker/image/decode.h"

namespace graft {
namespace {

constexpr int64_t kChunksPerReport = 16;  // of each pool thread
constexpr int64_t kWindowImages = 1024;

// Rows for `count` examples, laid out so that any run of rows is a channels-last batch.
at::Tensor EmptyRows(int64_t count, const at::Tensor& sample, bool pinned = false) {
  std::vector<int64_t> shape = sample.sizes().vec();
  shape[0] = count;
  at::TensorOptions options = at::TensorOptions(sample.scalar_type()).pinned_memory(pinned);
  if (shape.size() == 4) options = options.memory_format(at::MemoryFormat::ChannelsLast);
  return at::empty(shape, options);
}

char* RowAt(const at::Tensor& rows, int64_t row, int64_t row_bytes) {
  return static_cast<char*>(rows.data_ptr()) + row * row_bytes;
}

// The shorter side that a JPEG may be reduced to: twice what the resized picture needs, so that the antialiased
// reduction that follows decides what is seen.
int SmallestSide(const Activations::Options& options) {
  if (!options.reduced_decoding) return 0;
  const double crop = options.augment.crops() ? std::sqrt(options.augment.crop_scale_min) : 1;
  return static_cast<int>(2 * options.preprocessing.resize_px / crop);
}

// Everything that rows of a view depend on, but the picture.
std::string SpaceKey(const Activations::Options& o, int64_t view) {
  const char* const device = o.backbone->device().is_cuda() ? "cuda" : "cpu";
  std::string key = absl::StrCat(kRowsVersion, " LibTorch ", TORCH_VERSION, " ", device, " ", o.backbone->digest(), " ",
                                 o.split_point, " ", KeyOf(o.preprocessing), " ", PrecisionName(o.precision), " ",
                                 SmallestSide(o), " ", o.chunk);
  if (o.augment != AugmentSpec()) absl::StrAppend(&key, " ", KeyOf(o.augment), " ", o.seed, " ", view);
  return key;
}

}  // namespace

absl::Status ForEachWindow(Activations* activations, WorkerPool* pool, const CancelToken& cancel,
                           const std::function<absl::Status(const std::vector<int64_t>& indices)>& run) {
  const int64_t count = activations->size();
  if (count == 0) return absl::OkStatus();
  ASSIGN_OR_RETURN(const int64_t window, activations->WindowImages());
  for (int64_t begin = 0; begin < count; begin += window) {
    std::vector<int64_t> indices(std::min(window, count - begin));
    std::iota(indices.begin(), indices.end(), begin);
    const auto n = static_cast<int64_t>(indices.size());
    RETURN_IF_ERROR(activations->Prepare(0, indices.data(), n, pool, cancel));
    RETURN_IF_ERROR(run(indices));
  }
  return absl::OkStatus();
}

int64_t ViewOfEpoch(int64_t epoch, int kept) {
  if (kept == 0) return epoch;
  return epoch / (int64_t{kept} * kUsesOfAView) * kept + epoch % kept;
}

Activations::Activations(Options options, const std::vector<Example>* examples, ImageReader read,
                         const Activations* base)
    : options_(std::move(options)), examples_(examples), read_(std::move(read)), base_(base) {
  GRAFT_CHECK(base_ == nullptr || base_->options_.split_point <= options_.split_point);
  GRAFT_CHECK(base_ == nullptr || base_->sample_.defined() || base_->size() == 0);
}

int64_t Activations::SlotOf(int64_t view, int64_t index) const {
  if (options_.kept_views == 0) return capacity_;
  const int64_t slot = view % options_.kept_views * size() + index;
  return std::min(slot, capacity_);  // capacity_: none
}

bool Activations::IsKept(int64_t view, int64_t index) const {
  const int64_t slot = SlotOf(view, index);
  return slot < capacity_ && view_in_slot_[slot] == view;
}

absl::StatusOr<at::Tensor> Activations::ReadImages(const int64_t* indices, int64_t n, int64_t view) const {
  const PreprocessSpec& spec = options_.preprocessing;
  const int64_t pixels = int64_t{spec.crop_px} * spec.crop_px * 3;
  at::Tensor batch = at::empty({n, 3, spec.crop_px, spec.crop_px}, options_.backbone->input_options());
  for (int64_t i = 0; i < n; ++i) {
    const Example& example = (*examples_)[indices[i]];
    const absl::StatusOr<std::string> bytes = read_(example.id);
    if (!bytes.ok()) return absl::DataLossError(absl::StrCat("picture ", example.id, ": ", bytes.status().message()));
    const absl::StatusOr<Image> image = DecodeImage(*bytes, options_.image_limits, SmallestSide(options_));
    if (!image.ok()) return absl::DataLossError(absl::StrCat("picture ", example.id, ": ", image.status().message()));
    Augment(*image, options_.augment, spec, ViewSeed(options_.seed, example.id, view),
            batch.data_ptr<float>() + i * pixels);
  }
  return batch;
}

absl::StatusOr<at::Tensor> Activations::Compute(const int64_t* indices, int64_t n, int64_t view) const {
  absl::StatusOr<at::Tensor> result;
  RETURN_IF_ERROR(TryTorch("run the frozen stages", [&]() -> absl::Status {
    absl::StatusOr<at::Tensor> input =
        base_ != nullptr ? base_->Gather(indices, n, view) : ReadImages(indices, n, view);
    RETURN_IF_ERROR(input.status());
    // oneDNN chooses its kernel by the batch's shape: always the same one, so that a row's bits do not depend on what
    // else was missing.
    if (FirstStage() < options_.split_point && n < options_.chunk) {
      at::Tensor padded = EmptyRows(options_.chunk, *input).zero_();
      padded.narrow(0, 0, n).copy_(*input);
      input = padded;
    }
    result = RunStages(*input).narrow(0, 0, n);
    return absl::OkStatus();
  }));
  return result;
}

int Activations::FirstStage() const { return base_ != nullptr ? base_->options_.split_point : 0; }

at::Tensor Activations::RunStages(const at::Tensor& input) const {
  const Backbone& backbone = *options_.backbone;
  at::Tensor output = backbone.Forward(input, FirstStage(), options_.split_point, options_.precision).cpu();
  if (options_.split_point < backbone.num_stages()) output = output.to(ScalarTypeOf(options_.precision));
  return output.contiguous(output.dim() == 4 ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous);
}

absl::Status Activations::Allocate() {
  if (sample_.defined() || size() == 0) return absl::OkStatus();
  RETURN_IF_ERROR(TryTorch("measure the activations", [&] {
    const int64_t side = options_.preprocessing.crop_px;
    const at::Tensor nothing = base_ != nullptr ? at::zeros_like(base_->sample_) : at::zeros({1, 3, side, side});
    sample_ = RunStages(nothing);
    return absl::OkStatus();
  }));
  row_bytes_ = static_cast<int64_t>(sample_.nbytes());
  const int64_t views = varies() ? options_.kept_views : std::min(options_.kept_views, 1);
  capacity_ = std::min<int64_t>(size() * views, options_.budget_bytes / std::max<int64_t>(1, row_bytes_));
  view_in_slot_.assign(capacity_, -1);
  return TryTorch("allocate the activation cache", [&] {
    rows_ = EmptyRows(capacity_, sample_);
    return absl::OkStatus();
  });
}

absl::StatusOr<int64_t> Activations::WindowImages() {
  RETURN_IF_ERROR(Allocate());
  return std::clamp<int64_t>(options_.window_bytes / std::max<int64_t>(1, row_bytes_), 1, kWindowImages);
}

// Raw pictures are not worth their disk space: a row of split point 0 is larger than its file.
absl::Status Activations::OpenSpaces(int64_t view) {
  if (options_.store == nullptr || options_.split_point == 0 || options_.kept_views == 0) return absl::OkStatus();
  spaces_.erase(spaces_.begin(), spaces_.lower_bound(view - options_.kept_views + 1));
  if (spaces_.count(view) > 0) return absl::OkStatus();
  ASSIGN_OR_RETURN(auto space, options_.store->OpenSpace(SpaceKey(options_, view), row_bytes_));
  spaces_.emplace(view, std::move(space));
  return absl::OkStatus();
}

void* Activations::RowOf(const Window& window, int64_t view, int64_t index) const {
  const int64_t slot = SlotOf(view, index);
  if (slot < capacity_) return RowAt(rows_, slot, row_bytes_);
  return RowAt(window.rows, window.row_of.at(index), row_bytes_);
}

// Up to `chunk` rows, from the store or computed, to where RowOf() says.
absl::Status Activations::ComputeInto(const Window& window, int64_t view, const int64_t* indices, int64_t n) {
  const auto space = spaces_.find(view);
  std::vector<int64_t> missing;
  for (int64_t i = 0; i < n; ++i) {
    const std::string& id = (*examples_)[indices[i]].id;
    const bool stored =
        space != spaces_.end() && space->second->Read(id, static_cast<char*>(RowOf(window, view, indices[i])));
    if (!stored) missing.push_back(indices[i]);
  }
  if (missing.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const at::Tensor computed, Compute(missing.data(), static_cast<int64_t>(missing.size()), view));
  for (size_t i = 0; i < missing.size(); ++i) {
    const char* row = RowAt(computed, static_cast<int64_t>(i), row_bytes_);
    std::memcpy(RowOf(window, view, missing[i]), row, row_bytes_);
    if (space != spaces_.end()) space->second->Write((*examples_)[missing[i]].id, row);
  }
  return absl::OkStatus();
}

absl::Status Activations::Prepare(int64_t view, const int64_t* indices, int64_t n, WorkerPool* pool,
                                  const CancelToken& cancel) {
  return PrepareWindow(view, indices, n, pool, cancel, &window_);
}

absl::Status Activations::PrepareNext(int64_t view, const int64_t* indices, int64_t n, WorkerPool* pool,
                                      const CancelToken& cancel) {
  return PrepareWindow(view, indices, n, pool, cancel, &next_);
}

absl::Status Activations::PrepareWindow(int64_t view, const int64_t* indices, int64_t n, WorkerPool* pool,
                                        const CancelToken& cancel, Window* window) {
  RETURN_IF_ERROR(Allocate());
  if (!varies()) view = 0;
  window->row_of.clear();
  window->view = view;
  std::vector<int64_t> missing;
  std::unordered_set<int64_t> seen;  // a picture may come twice: balanced sampling
  for (int64_t i = 0; i < n; ++i) {
    if (IsKept(view, indices[i]) || !seen.insert(indices[i]).second) continue;
    missing.push_back(indices[i]);
    const int64_t slot = SlotOf(view, indices[i]);
    if (slot == capacity_) window->row_of.emplace(indices[i], static_cast<int64_t>(window->row_of.size()));
    if (slot < capacity_) view_in_slot_[slot] = -1;  // whatever it held, it is being written
  }
  if (missing.empty()) return absl::OkStatus();
  window->view = -1;  // until all is there
  RETURN_IF_ERROR(OpenSpaces(view));
  RETURN_IF_ERROR(TryTorch("allocate the activation cache", [&] {
    const auto rows = static_cast<int64_t>(window->row_of.size());
    if (window->rows.defined() && window->rows.size(0) >= rows) return absl::OkStatus();
    window->rows.reset();  // before there is another
    window->rows = EmptyRows(rows, sample_);
    return absl::OkStatus();
  }));
  const auto count = static_cast<int64_t>(missing.size()), chunk_images = static_cast<int64_t>(options_.chunk);
  RETURN_IF_ERROR(
      pool->ParallelFor((count + chunk_images - 1) / chunk_images, [&](int, int64_t chunk) -> absl::Status {
        RETURN_IF_ERROR(cancel.status());
        const int64_t begin = chunk * chunk_images;
        return ComputeInto(*window, view, missing.data() + begin, std::min(chunk_images, count - begin));
      }));
  for (const int64_t index : missing) {
    const int64_t slot = SlotOf(view, index);
    if (slot < capacity_) view_in_slot_[slot] = view;
  }
  window->view = view;
  return absl::OkStatus();
}

absl::Status Activations::Fill(WorkerPool* pool, const CancelToken& cancel,
                               const std::function<absl::Status(int64_t)>& progress) {
  RETURN_IF_ERROR(Allocate());
  const int64_t count = std::min(capacity_, size()), slice = kChunksPerReport * pool->size() * options_.chunk;
  std::vector<int64_t> indices(count);
  std::iota(indices.begin(), indices.end(), 0);
  for (int64_t begin = 0; begin < count; begin += slice) {
    const int64_t n = std::min(slice, count - begin);
    RETURN_IF_ERROR(Prepare(0, indices.data() + begin, n, pool, cancel));
    RETURN_IF_ERROR(progress(begin + n));
  }
  return absl::OkStatus();
}

absl::StatusOr<at::Tensor> Activations::Gather(const int64_t* indices, int64_t n, int64_t view) const {
  if (!varies()) view = 0;
  std::vector<int64_t> missing;
  const auto is_ready = [&](int64_t index) {
    return IsKept(view, index) || (window_.view == view && window_.row_of.count(index) > 0);
  };
  for (int64_t i = 0; i < n; ++i) {
    if (!is_ready(indices[i])) missing.push_back(indices[i]);
  }
  at::Tensor computed;
  const auto missing_count = static_cast<int64_t>(missing.size());
  for (int64_t begin = 0; begin < missing_count; begin += options_.chunk) {
    const int64_t count = std::min<int64_t>(options_.chunk, missing_count - begin);
    ASSIGN_OR_RETURN(const at::Tensor rows, Compute(missing.data() + begin, count, view));
    RETURN_IF_ERROR(TryTorch("gather activations", [&] {
      if (!computed.defined()) computed = EmptyRows(missing_count, rows);
      computed.narrow(0, begin, count).copy_(rows);
      return absl::OkStatus();
    }));
  }
  if (missing_count == n) return computed;
  absl::StatusOr<at::Tensor> result;
  RETURN_IF_ERROR(TryTorch("gather activations", [&] {
    // A batch goes to the device; what is larger stays here, and pinned memory is never given back.
    const bool pinned = n <= kWindowImages && options_.backbone->input_options().pinned_memory();
    at::Tensor batch = EmptyRows(n, sample_, pinned);
    int64_t next_missing = 0;
    for (int64_t i = 0; i < n; ++i) {
      // A row of a channels-last batch is one run of memory.
      const void* from =
          is_ready(indices[i]) ? RowOf(window_, view, indices[i]) : RowAt(computed, next_missing++, row_bytes_);
      std::memcpy(RowAt(batch, i, row_bytes_), from, row_bytes_);
    }
    result = std::move(batch);
    return absl::OkStatus();
  }));
  return result;
}

}  // namespace graft

#include "worker/infer/batcher.h"

#include <pthread.h>
#include <torch/torch.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "worker/backbone/torch_status.h"
#include "worker/base/status.h"
#include "worker/image/decode.h"
#include "worker/image/preprocess.h"
#include "worker/infer/predictor.h"

namespace graft {

// One Submit(): its pictures may end up in several batches. The last one answers.
struct Batcher::Call {
  ClassifyTask task;
  std::function<void(ClassifyOutcome)> done;
  Mutex mu;
  std::vector<std::vector<Prediction>> predictions ABSL_GUARDED_BY(mu);
  int64_t left ABSL_GUARDED_BY(mu) = 0;
  int64_t failed_index ABSL_GUARDED_BY(mu) = 0;
  absl::Status status ABSL_GUARDED_BY(mu);

  // Whether work on it is still wanted; says why not through `status`.
  bool Wanted(absl::Time now) {
    MutexLock lock(&mu);
    if (status.ok() && task.cancel.stopped()) status = absl::CancelledError("the caller gave up");
    if (status.ok() && now > task.deadline) status = absl::DeadlineExceededError("the deadline passed in the queue");
    return status.ok();
  }
  void Fail(int64_t index, absl::Status error) {
    MutexLock lock(&mu);
    if (!status.ok() && index >= failed_index) return;
    status = std::move(error);
    failed_index = index;
  }
  // One picture is dealt with; the last one answers.
  void Finish() {
    ClassifyOutcome outcome = absl::UnknownError("");
    {
      MutexLock lock(&mu);
      if (--left > 0) return;
      if (status.ok()) {
        outcome = std::move(predictions);
      } else {
        outcome = status;
      }
    }
    std::exchange(done, nullptr)(std::move(outcome));
  }
};

struct Batcher::Item {
  std::shared_ptr<Call> call;
  int64_t index = 0;  // of the picture in the call
  const std::string& bytes() const { return call->task.images[index]; }
};

namespace {

std::vector<Prediction> TopK(const float* probabilities, int classes, int k) {
  std::vector<int> order(classes);
  std::iota(order.begin(), order.end(), 0);
  k = std::min(std::max(k, 1), classes);
  std::partial_sort(order.begin(), order.begin() + k, order.end(), [&](int a, int b) {
    return probabilities[a] != probabilities[b] ? probabilities[a] > probabilities[b] : a < b;
  });
  std::vector<Prediction> best;
  for (int i = 0; i < k; ++i) best.push_back({order[i], probabilities[order[i]]});
  return best;
}

}  // namespace

absl::Status Batcher::Options::Validate() const {
  if (threads < 1 || threads > 1024)
    return absl::InvalidArgumentError(absl::StrCat("threads: got ", threads, ", want 1 to 1024"));
  if (max_batch < 1 || max_batch > 1024)
    return absl::InvalidArgumentError(absl::StrCat("max_batch: got ", max_batch, ", want 1 to 1024"));
  if (max_queued_images < 1)
    return absl::InvalidArgumentError(absl::StrCat("max_queued_images: got ", max_queued_images, ", want >= 1"));
  if (max_queued_bytes < 1)
    return absl::InvalidArgumentError(absl::StrCat("max_queued_bytes: got ", max_queued_bytes, ", want >= 1"));
  return image_limits.Validate();
}

Batcher::Batcher(Options options, Clock* clock) : options_(std::move(options)), clock_(clock) {
  GRAFT_CHECK(options_.Validate().ok());
  for (int i = 0; i < options_.threads; ++i) threads_.emplace_back([this] { Run(); });
}

Batcher::~Batcher() {
  std::deque<Item> waiting;
  {
    MutexLock lock(&mu_);
    stop_ = true;
    waiting.swap(queue_);
    work_.SignalAll();
  }
  for (const Item& item : waiting) {
    item.call->Fail(-1, absl::CancelledError("the server is shutting down"));
    item.call->Finish();
  }
  for (std::thread& thread : threads_) thread.join();
}

absl::Status Batcher::Submit(ClassifyTask task, std::function<void(ClassifyOutcome)> done) {
  const auto count = static_cast<int64_t>(task.images.size());
  if (count == 0) return absl::InvalidArgumentError("images: got 0, want at least 1");
  int64_t bytes = 0;
  for (const std::string& image : task.images) bytes += static_cast<int64_t>(image.size());
  const absl::Time now = clock_->Now();
  auto call = std::make_shared<Call>();
  {
    MutexLock lock(&call->mu);
    call->predictions.resize(count);
    call->left = count;
  }
  MutexLock lock(&mu_);
  if (stop_) return absl::UnavailableError("the server is shutting down");
  if (stats_.queued_images + count > options_.max_queued_images ||
      stats_.queued_bytes + bytes > options_.max_queued_bytes) {
    return absl::ResourceExhaustedError(absl::StrCat("the queue is full: ", stats_.queued_images, " pictures and ",
                                                     stats_.queued_bytes, " bytes wait; retry later"));
  }
  // An idle batcher takes any call: its estimate may stem from one slow picture, and only work corrects it.
  const bool idle = stats_.queued_images == 0;
  const absl::Duration wait =
      absl::Seconds(seconds_per_image_ * static_cast<double>(stats_.queued_images + count) / options_.threads);
  if (now > task.deadline || (!idle && now + wait > task.deadline)) {
    return absl::DeadlineExceededError(absl::StrCat("the deadline is in ", absl::FormatDuration(task.deadline - now),
                                                    ", the queue takes about ", absl::FormatDuration(wait)));
  }
  call->task = std::move(task);
  call->done = std::move(done);
  for (int64_t i = 0; i < count; ++i) queue_.push_back({call, i});
  stats_.queued_images += count;
  stats_.queued_bytes += bytes;
  for (int64_t i = std::min<int64_t>(count, idle_threads_); i > 0; --i) work_.Signal();
  return absl::OkStatus();
}

Batcher::Stats Batcher::stats() const {
  MutexLock lock(&mu_);
  return stats_;
}

// The oldest picture and, in order, those behind it that share its prefix. When little waits, the threads that have
// nothing to do share it; one that is busy would only make two small batches of a large one.
std::vector<Batcher::Item> Batcher::TakeBatch() {
  const int64_t takers = idle_threads_ + 1;
  const auto fair = (static_cast<int64_t>(queue_.size()) + takers - 1) / takers;
  const auto limit = static_cast<size_t>(std::min<int64_t>(options_.max_batch, std::max<int64_t>(1, fair)));
  const std::string key = queue_.front().call->task.predictor->prefix_key();
  std::vector<Item> batch;
  std::deque<Item> others;
  while (!queue_.empty() && batch.size() < limit) {
    Item item = std::move(queue_.front());
    queue_.pop_front();
    (item.call->task.predictor->prefix_key() == key ? batch.emplace_back() : others.emplace_back()) = std::move(item);
  }
  for (; !others.empty(); others.pop_back()) queue_.push_front(std::move(others.back()));
  for (const Item& item : batch) {
    --stats_.queued_images;
    stats_.queued_bytes -= static_cast<int64_t>(item.bytes().size());
  }
  return batch;
}

void Batcher::Run() {
  pthread_setname_np(pthread_self(), "serve");
  if (options_.on_thread_start) options_.on_thread_start();
  while (true) {
    std::vector<Item> batch;
    {
      MutexLock lock(&mu_);
      ++idle_threads_;
      while (!stop_ && queue_.empty()) work_.Wait(&mu_);
      --idle_threads_;
      if (queue_.empty()) return;
      batch = TakeBatch();
    }
    const absl::Time start = absl::Now();
    const auto count = static_cast<int64_t>(batch.size());
    Process(std::move(batch));
    const double seconds = absl::ToDoubleSeconds(absl::Now() - start);
    MutexLock lock(&mu_);
    stats_.images += count;
    ++stats_.batches;
    stats_.busy_seconds += seconds;
    const double each = seconds / static_cast<double>(count);
    seconds_per_image_ = seconds_per_image_ == 0 ? each : 0.9 * seconds_per_image_ + 0.1 * each;
  }
}

// Decodes and preprocesses: `input` gets a row for each of `rows`, the pictures that are wanted and sound.
absl::Status Batcher::MakeInput(const std::vector<Item>& batch, std::vector<const Item*>* rows, at::Tensor* input) {
  const Predictor& first = *batch.front().call->task.predictor;
  const PreprocessSpec& spec = first.preprocessing();
  const int64_t pixels = int64_t{spec.crop_px} * spec.crop_px * 3;
  *input = at::empty({static_cast<int64_t>(batch.size()), 3, spec.crop_px, spec.crop_px},
                     first.backbone().input_options());
  rows->clear();
  for (const Item& item : batch) {
    if (!item.call->Wanted(clock_->Now())) continue;
    const absl::StatusOr<Image> image = DecodeImage(item.bytes(), options_.image_limits);
    if (!image.ok()) {
      // The code stays: running out of memory is not the picture's fault.
      item.call->Fail(item.index, absl::Status(image.status().code(), absl::StrCat("images[", item.index, "]: ",
                                                                                   image.status().message())));
      continue;
    }
    Preprocess(*image, spec, input->data_ptr<float>() + static_cast<int64_t>(rows->size()) * pixels);
    rows->push_back(&item);
  }
  *input = input->narrow(0, 0, static_cast<int64_t>(rows->size()));
  return absl::OkStatus();
}

// The prefix over the whole batch, then each model's suffix over its rows.
absl::Status Batcher::Predict(const std::vector<const Item*>& batch, const at::Tensor& input) {
  torch::NoGradGuard no_grad;
  const at::Tensor activations = batch.front()->call->task.predictor->Prefix(input);
  std::map<const Predictor*, std::vector<int64_t>> rows_of;
  for (size_t i = 0; i < batch.size(); ++i)
    rows_of[batch[i]->call->task.predictor.get()].push_back(static_cast<int64_t>(i));
  for (const auto& [predictor, rows] : rows_of) {
    const at::Tensor own = rows.size() == batch.size()
                               ? activations
                               : activations.index_select(0, torch::tensor(rows).to(activations.device()));
    const at::Tensor probabilities = predictor->Probabilities(own).contiguous();  // [rows, classes]
    const auto classes = static_cast<int>(probabilities.size(1));
    for (size_t i = 0; i < rows.size(); ++i) {
      const Item& item = *batch[rows[i]];
      std::vector<Prediction> best =
          TopK(probabilities.data_ptr<float>() + i * classes, classes, item.call->task.top_k);
      MutexLock lock(&item.call->mu);
      item.call->predictions[item.index] = std::move(best);
    }
  }
  return absl::OkStatus();
}

void Batcher::Process(std::vector<Item> batch) {
  at::Tensor input;
  std::vector<const Item*> rows;
  absl::Status status = TryTorch("preprocess", [&] { return MakeInput(batch, &rows, &input); });
  if (status.ok() && !rows.empty()) status = TryTorch("predict", [&] { return Predict(rows, input); });
  for (const Item& item : batch) {
    if (!status.ok()) item.call->Fail(item.index, status);
    item.call->Finish();
  }
}

}  // namespace graft

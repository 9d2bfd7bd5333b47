#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <ATen/core/Tensor.h>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "worker/base/cancel_token.h"
#include "worker/base/clock.h"
#include "worker/base/mutex.h"
#include "worker/image/image.h"

namespace graft {

class Predictor;

struct Prediction {
  int class_index = 0;
  float probability = 0;
};

// One call: pictures for one model.
struct ClassifyTask {
  std::shared_ptr<const Predictor> predictor;
  std::vector<std::string> images;  // encoded
  int top_k = 5;                    // cut to the number of classes
  absl::Time deadline = absl::InfiniteFuture();
  CancelToken cancel;               // switched when the caller gave up
};

// For each picture its best classes, most probable first.
using ClassifyOutcome = absl::StatusOr<std::vector<std::vector<Prediction>>>;

// Collects pictures of concurrent calls into batches, whatever their models, as long as they share a prefix: decode and
// preprocess, prefix once over the batch, each suffix on its rows. A batch is what is waiting when a thread is free (at
// most `max_batch`): no artificial delay.
//
// Threads:  safe.
// Full:     Submit() answers ResourceExhausted, DeadlineExceeded when the deadline has passed or cannot be met.
// Lifetime: the destructor answers what waits with Cancelled and joins. Every `done` accepted runs exactly once, on a
//           serving thread or, then, on the destructor's.
class Batcher {
 public:
  struct Options {
    int threads = 1;                          // each with one intra-op thread
    int max_batch = 8;                        // images; 8 beats 32 in float32 on CPU (cache)
    int64_t max_queued_images = 1024;
    int64_t max_queued_bytes = int64_t{512} << 20;
    ImageLimits image_limits;
    std::function<void()> on_thread_start;
    absl::Status Validate() const;
  };
  // What happened so far, for metrics.
  struct Stats {
    int64_t queued_images = 0, queued_bytes = 0;
    int64_t images = 0, batches = 0;          // completed
    double busy_seconds = 0;                  // summed over threads
  };

  Batcher(Options options, Clock* clock);
  ~Batcher();

  // `done` gets InvalidArgument naming the first picture that cannot be decoded ("images[3]: ..."), DeadlineExceeded,
  // Cancelled, or the predictions.
  //   ResourceExhausted  the queue is full
  //   DeadlineExceeded   cannot be met
  //   Unavailable        shutting down
  absl::Status Submit(ClassifyTask task, std::function<void(ClassifyOutcome)> done);

  Stats stats() const;

 private:
  struct Call;
  struct Item;
  void Run();
  std::vector<Item> TakeBatch() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status MakeInput(const std::vector<Item>& batch, std::vector<const Item*>* rows, at::Tensor* input);
  absl::Status Predict(const std::vector<const Item*>& batch, const at::Tensor& input);
  void Process(std::vector<Item> batch);

  const Options options_;
  Clock* const clock_;
  mutable Mutex mu_;
  CondVar work_;
  std::deque<Item> queue_ ABSL_GUARDED_BY(mu_);
  Stats stats_ ABSL_GUARDED_BY(mu_);
  double seconds_per_image_ ABSL_GUARDED_BY(mu_) = 0;  // moving average, per thread
  int idle_threads_ ABSL_GUARDED_BY(mu_) = 0;          // that wait for work
  bool stop_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace graft

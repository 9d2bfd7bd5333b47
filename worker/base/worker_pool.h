#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "worker/base/mutex.h"

namespace graft {

// A fixed team of threads that runs loops. Several callers may share one pool: their loops run one after the other.
//
// Threads:  ParallelFor() may be called from any thread but the pool's own.
// Lifetime: the destructor waits for running loops and joins.
class WorkerPool {
 public:
  struct Options {
    int threads = 1;                         // >= 1
    int nice = 0;                            // Linux nice value of the threads, 0 to 19: higher yields to others
    std::string name = "worker";             // thread name, cut to 15 bytes
    std::function<void()> on_thread_start;   // e.g. one intra-op thread
  };
  explicit WorkerPool(Options options);
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  int size() const { return static_cast<int>(threads_.size()); }

  // Calls body(worker, i) for each i in [0, count), worker in [0, size()), and waits. Which worker runs which i is not
  // fixed. After an error no further i starts; the error of the smallest i is returned.
  absl::Status ParallelFor(int64_t count, const std::function<absl::Status(int worker, int64_t i)>& body);

 private:
  void Run(const Options& options, int worker);

  Mutex loop_mu_;  // one loop at a time
  Mutex mu_;
  CondVar work_, done_;
  const std::function<absl::Status(int, int64_t)>* body_ ABSL_GUARDED_BY(mu_) = nullptr;
  int64_t count_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t next_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t running_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t error_index_ ABSL_GUARDED_BY(mu_) = 0;
  absl::Status status_ ABSL_GUARDED_BY(mu_);
  bool stop_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace graft

#include "worker/base/worker_pool.h"

#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <utility>

#include "worker/base/status.h"

namespace graft {

WorkerPool::WorkerPool(Options options) {
  GRAFT_CHECK(options.threads >= 1);
  for (int worker = 0; worker < options.threads; ++worker) {
    threads_.emplace_back([this, options, worker] { Run(options, worker); });
  }
}

WorkerPool::~WorkerPool() {
  {
    MutexLock loop(&loop_mu_);
    MutexLock lock(&mu_);
    stop_ = true;
    work_.SignalAll();
  }
  for (std::thread& thread : threads_) thread.join();
}

absl::Status WorkerPool::ParallelFor(int64_t count, const std::function<absl::Status(int, int64_t)>& body) {
  MutexLock loop(&loop_mu_);
  MutexLock lock(&mu_);
  body_ = &body;
  count_ = count;
  next_ = 0;
  status_ = absl::OkStatus();
  work_.SignalAll();
  while (running_ > 0 || next_ < count_) done_.Wait(&mu_);
  body_ = nullptr;
  return std::exchange(status_, absl::OkStatus());
}

void WorkerPool::Run(const Options& options, int worker) {
  pthread_setname_np(pthread_self(), options.name.substr(0, 15).c_str());
  // A Linux thread has a nice value of its own, set by its thread id; failing to lower ours is harmless.
  if (options.nice > 0) (void)setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), options.nice);
  if (options.on_thread_start) options.on_thread_start();
  mu_.Lock();
  while (true) {
    while (!stop_ && (body_ == nullptr || next_ >= count_)) work_.Wait(&mu_);
    if (stop_) break;
    const int64_t i = next_++;
    ++running_;
    const auto* body = body_;
    mu_.Unlock();
    absl::Status status = (*body)(worker, i);
    mu_.Lock();
    --running_;
    if (!status.ok() && (status_.ok() || i < error_index_)) {
      status_ = std::move(status);
      error_index_ = i;
      next_ = count_;
    }
    if (running_ == 0 && next_ >= count_) done_.SignalAll();
  }
  mu_.Unlock();
}

}  // namespace graft

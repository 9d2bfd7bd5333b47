#pragma once

#include <functional>
#include <thread>
#include <vector>

#include "worker/base/bounded_queue.h"

namespace graft {

// Threads on which RPC handlers do what may wait (SQL, files, loading a model), because gRPC's own threads must not.
//
// Threads:  safe.
// Full:     TryRun() returns false at once.
// Lifetime: the destructor runs everything accepted, then joins.
class Executor {
 public:
  struct Options {
    int threads = 8;      // >= 1; they mostly wait
    int capacity = 1024;  // calls that wait for a thread, >= 1
  };
  explicit Executor(const Options& options);
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // False: full, `work` will not run.
  bool TryRun(std::function<void()> work);

 private:
  void Run();

  BoundedQueue<std::function<void()>> queue_;
  std::vector<std::thread> threads_;
};

}  // namespace graft

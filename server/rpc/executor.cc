#include "server/rpc/executor.h"

#include <cstddef>
#include <optional>
#include <utility>

#include "worker/base/status.h"

namespace graft {

Executor::Executor(const Options& options) : queue_(static_cast<size_t>(options.capacity)) {
  GRAFT_CHECK(options.threads >= 1 && options.capacity >= 1);
  for (int i = 0; i < options.threads; ++i) threads_.emplace_back([this] { Run(); });
}

Executor::~Executor() {
  queue_.Close();
  for (std::thread& thread : threads_) thread.join();
}

bool Executor::TryRun(std::function<void()> work) { return queue_.TryPush(std::move(work)); }

void Executor::Run() {
  while (std::optional<std::function<void()>> work = queue_.Pop()) (*work)();
}

}  // namespace graft

#include "server/shutdown_signal.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

#include "worker/base/status.h"

namespace graft {
namespace {

// Signal handlers reach globals only.
int pipe_ends[2] = {-1, -1};
std::atomic<bool> signalled{false};
static_assert(std::atomic<bool>::is_always_lock_free);  // else no handler may touch it

void OnSignal(int signal) {
  if (signalled.exchange(true)) ::_exit(128 + signal);
  const int saved = errno;
  const auto byte = static_cast<unsigned char>(signal);
  [[maybe_unused]] const ssize_t written = ::write(pipe_ends[1], &byte, 1);  // an empty pipe takes a byte
  errno = saved;
}

}  // namespace

void CatchShutdownSignals() {
  GRAFT_CHECK(::pipe2(pipe_ends, O_CLOEXEC) == 0);
  struct sigaction action = {};
  action.sa_handler = OnSignal;
  action.sa_flags = SA_RESTART;
  ::sigemptyset(&action.sa_mask);
  GRAFT_CHECK(::sigaction(SIGTERM, &action, nullptr) == 0);
  GRAFT_CHECK(::sigaction(SIGINT, &action, nullptr) == 0);
  ::signal(SIGPIPE, SIG_IGN);
}

int WaitForShutdownSignal() {
  unsigned char byte = 0;
  while (::read(pipe_ends[0], &byte, 1) != 1) GRAFT_CHECK(errno == EINTR);
  return byte;
}

}  // namespace graft

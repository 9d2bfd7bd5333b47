#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "client/commands/console.h"

namespace graft {

// While it lives, SIGINT ends the process with status 130 after writing `message` to standard error. A watch has
// nothing to tidy up: the server keeps every event.
//
// Threads:  one object at a time in a process.
class InterruptMessage {
 public:
  explicit InterruptMessage(const std::string& message);
  ~InterruptMessage();
  InterruptMessage(const InterruptMessage&) = delete;
  InterruptMessage& operator=(const InterruptMessage&) = delete;
};

// Shows a job's events from `from_seq` until it has ended. OK when it succeeded.
//   FailedPrecondition   the job failed or was cancelled; the message says why
absl::Status FollowJob(const Console& console, Client* client, const std::string& id, int64_t from_seq);

}  // namespace graft

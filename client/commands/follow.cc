#include "client/commands/follow.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>

#include "absl/strings/str_cat.h"
#include "client/event_view.h"
#include "client/format.h"
#include "worker/base/status.h"

namespace graft {
namespace {

// What the signal handler may touch: fixed before it is installed.
std::array<char, 1024> interrupt_text;
size_t interrupt_bytes = 0;

extern "C" void HandleInterrupt(int) {
  const ssize_t written = ::write(STDERR_FILENO, interrupt_text.data(), interrupt_bytes);
  static_cast<void>(written);
  ::_exit(130);  // 128 + SIGINT, as shells report it
}

// How the job ended, from the last state change seen, or from the server when there was none.
absl::StatusOr<v1::StateChange> EndState(Client* client, const std::string& id, const v1::StateChange& last) {
  if (last.state() == v1::JOB_STATE_SUCCEEDED || last.state() == v1::JOB_STATE_FAILED ||
      last.state() == v1::JOB_STATE_CANCELLED) {
    return last;
  }
  ASSIGN_OR_RETURN(const v1::Job job, client->GetJob(id));
  v1::StateChange end;
  end.set_state(job.state());
  end.set_reason(job.error());
  return end;
}

}  // namespace

InterruptMessage::InterruptMessage(const std::string& message) {
  interrupt_bytes = std::min(message.size(), interrupt_text.size());
  std::copy_n(message.begin(), interrupt_bytes, interrupt_text.begin());
  struct sigaction action = {};
  action.sa_handler = HandleInterrupt;
  ::sigaction(SIGINT, &action, nullptr);
}

InterruptMessage::~InterruptMessage() {
  struct sigaction action = {};
  action.sa_handler = SIG_DFL;
  ::sigaction(SIGINT, &action, nullptr);
}

absl::Status FollowJob(const Console& console, Client* client, const std::string& id, int64_t from_seq) {
  const std::string server = console.server == ClientOptions().server ? "" : absl::StrCat(" --server ", console.server);
  const InterruptMessage interrupt(absl::StrCat(
      "\ngraft: stopped watching, the job goes on; watch it again with: graft", server, " job watch ", id, "\n"));
  EventView view(console.out, {console.terminal, console.width});
  v1::StateChange last;
  WatchOptions options;
  options.from_seq = from_seq;
  options.on_reconnect = [&](const absl::Status& status, absl::Duration pause) {
    console.PrintError(absl::StrCat("connection lost (", Printable(std::string(status.message())),
                                    "), trying again in ", absl::FormatDuration(pause)));
  };
  RETURN_IF_ERROR(client->WatchJob(id, options, [&](const v1::JobEvent& event) {
    if (event.has_state()) last = event.state();
    if (console.json) {
      console.PrintJson(event);
    } else {
      view.Show(event);
    }
    return true;
  }));
  ASSIGN_OR_RETURN(const v1::StateChange end, EndState(client, id, last));
  if (end.state() == v1::JOB_STATE_SUCCEEDED) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("job ", id, " ", FormatState(end.state()), end.reason().empty() ? "" : ": ", end.reason()));
}

}  // namespace graft

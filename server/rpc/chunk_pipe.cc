#include "server/rpc/chunk_pipe.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace graft {

ChunkPipe::ChunkPipe(Options options, std::function<void()> on_room)
    : options_(options), on_room_(std::move(on_room)) {}

bool ChunkPipe::Offer(std::string chunk) {
  MutexLock lock(&mu_);
  if (closed_) return false;
  chunks_.push_back(std::move(chunk));
  changed_.Signal();
  room_wanted_ = chunks_.size() >= options_.capacity;
  return !room_wanted_;
}

void ChunkPipe::Close(absl::Status status) {
  MutexLock lock(&mu_);
  if (closed_) return;
  closed_ = true;
  close_status_ = std::move(status);
  if (!close_status_.ok()) chunks_.clear();
  changed_.SignalAll();
}

absl::StatusOr<std::string> ChunkPipe::Pop() {
  std::string chunk;
  bool room = false;
  {
    MutexLock lock(&mu_);
    while (chunks_.empty() && !closed_) {
      if (!changed_.WaitFor(&mu_, options_.idle_timeout) && chunks_.empty() && !closed_)
        return absl::DeadlineExceededError(
            absl::StrCat("chunk: got none for ", absl::FormatDuration(options_.idle_timeout), ", want the next"));
    }
    if (chunks_.empty()) {
      if (!close_status_.ok()) return close_status_;
      return std::string();
    }
    chunk = std::move(chunks_.front());
    chunks_.pop_front();
    room = std::exchange(room_wanted_, false) && !closed_;
  }
  if (room) on_room_();
  return chunk;
}

}  // namespace graft

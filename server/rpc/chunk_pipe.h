#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "worker/base/mutex.h"

namespace graft {

// Carries chunks from gRPC's reactions, which must not wait, to one import thread, which may. Not a BoundedQueue: the
// producer must learn, without waiting, when there is room again.
//
// Threads: one producer, one consumer; Close() from any.
// Full:    Offer() takes the chunk and says to offer no other before on_room.
// Closed:  after OK the consumer gets what is left, then the end; after an error that error at once.
class ChunkPipe {
 public:
  struct Options {
    size_t capacity = 8;  // chunks
    absl::Duration idle_timeout = absl::Minutes(2);  // a consumer does not wait longer for one chunk
  };
  // `on_room` runs on the consumer's thread, inside Pop(), without locks held.
  ChunkPipe(Options options, std::function<void()> on_room);

  // Whether another chunk may be offered now; if not, on_room is called once when it may (never after Close()).
  bool Offer(std::string chunk);
  // No more chunks; the first call counts.
  void Close(absl::Status status);
  // The next chunk, empty at the end.
  //   DeadlineExceeded  nothing came for `idle_timeout`
  //   and the error of Close()
  absl::StatusOr<std::string> Pop();

 private:
  const Options options_;
  const std::function<void()> on_room_;
  Mutex mu_;
  CondVar changed_;
  std::deque<std::string> chunks_ ABSL_GUARDED_BY(mu_);
  bool room_wanted_ ABSL_GUARDED_BY(mu_) = false;
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status close_status_ ABSL_GUARDED_BY(mu_);
};

}  // namespace graft

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "graft/v1/job.pb.h"
#include "server/store/job_store.h"
#include "worker/base/mutex.h"

namespace graft {

// Brings durable events to those who watch: one thread reads each watched job's log, when this process appended to it
// at once, when another process did within `poll`.
//
// Threads:  safe.
// Lifetime: the destructor joins; no callback runs after it. Outlives the gRPC server's calls.
class EventHub {
 public:
  struct Options {
    absl::Duration poll = absl::Milliseconds(500);
    int batch = 256;           // events read at a time
    int max_watchers = 10'000;
  };
  // `jobs` outlives it.
  EventHub(JobStore* jobs, Options options);
  ~EventHub();

  // One watcher. The hub calls `on_event` (seq order, no gap, no repeat) and then `on_end` once: OK when the job has
  // ended and everything was delivered, else why not (Unavailable: the hub is being destroyed). Both run on the
  // hub's thread and must not block; the first may run before Watch() returns.
  // `on_event` returns false when it cannot take more now; the event is offered again after Resume().
  struct Watcher {
    std::string job_id;
    int64_t from_seq = 1;
    std::function<bool(const v1::JobEvent&)> on_event;
    std::function<void(absl::Status)> on_end;
  };
  //   NotFound           no such job
  //   ResourceExhausted  max_watchers
  absl::StatusOr<int64_t> Watch(Watcher watcher);  // -> handle
  void Resume(int64_t handle);
  // No callback of this watcher runs after the return; not from within a callback.
  void Unwatch(int64_t handle);
  // This process appended events of the job.
  void Notify(const std::string& job_id);

 private:
  struct Active;
  using Batch = std::shared_ptr<const std::vector<v1::JobEvent>>;
  // Watchers of one job that are to be looked at.
  using Due = std::map<std::string, std::vector<std::shared_ptr<Active>>>;

  void Run();
  Due WaitForDue() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool AnyDue() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ServeJob(const std::string& job_id, const std::vector<std::shared_ptr<Active>>& watchers);
  absl::StatusOr<Batch> Read(const std::string& job_id, int64_t from_seq);
  // Offers what is left of the watcher's batch; true when nothing is.
  bool Deliver(const std::shared_ptr<Active>& watcher);
  // Offers one event; false when the watcher is gone or takes no more now.
  bool Offer(const std::shared_ptr<Active>& watcher, const v1::JobEvent& event);
  void End(const std::shared_ptr<Active>& watcher, const absl::Status& status);
  // Between them a callback of the watcher runs, which Unwatch() waits for. False: the watcher is gone.
  bool BeginCallback(const Active& watcher);
  void EndCallback();

  JobStore* const jobs_;
  const Options options_;
  Mutex mu_;
  CondVar wake_, idle_;
  std::map<int64_t, std::shared_ptr<Active>> watchers_ ABSL_GUARDED_BY(mu_);
  int64_t next_handle_ ABSL_GUARDED_BY(mu_) = 1;
  int64_t in_callback_ ABSL_GUARDED_BY(mu_) = 0;  // handle; 0 = none
  absl::Time next_poll_ ABSL_GUARDED_BY(mu_) = absl::InfinitePast();
  bool stop_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace graft

#include "server/rpc/watch_job.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "server/rpc/call_context.h"
#include "server/rpc/call_reactor.h"

namespace graft {
namespace {

class WatchJob : public CallReactor<grpc::ServerWriteReactor<v1::JobEvent>> {
 public:
  WatchJob(const WatchContext& watch, grpc::CallbackServerContext* context, const v1::WatchJobRequest& request)
      : watch_(watch), context_(context), job_id_(request.id()), from_seq_(std::max<int64_t>(request.from_seq(), 1)) {
    if (request.from_seq() < 0) {
      End(absl::InvalidArgumentError(absl::StrCat("from_seq: got ", request.from_seq(), ", want >= 0")));
      return;
    }
    RunOn(watch_.executor, [this] { Begin(); });
    watch_.open->Add(this, [this] { Stop(absl::UnavailableError("the server shuts down: watch again")); });
  }
  ~WatchJob() override { watch_.open->Remove(this); }

  void OnCancel() override { Stop(StopStatus(*context_)); }

  void OnWriteDone(bool ok) override {
    std::optional<int64_t> handle;
    {
      MutexLock lock(&mu_);
      writing_ = false;
      handle = handle_;
    }
    // Without a handle Begin() is about to resume. After a failed write OnCancel() ends the watch.
    if (ok && handle.has_value()) watch_.events->Resume(*handle);
    Release();
  }

 private:
  // On the executor, as the hub asks the store.
  void Begin() {
    Hold();  // for the hub's callbacks; given back by OnEnd() or Unwatch()
    EventHub::Watcher watcher;
    watcher.job_id = job_id_;
    watcher.from_seq = from_seq_;
    watcher.on_event = [this](const v1::JobEvent& event) { return OnEvent(event); };
    watcher.on_end = [this](absl::Status status) { OnEnd(std::move(status)); };
    const absl::StatusOr<int64_t> handle = watch_.events->Watch(std::move(watcher));
    if (!handle.ok()) {
      OnEnd(handle.status());
      return;
    }
    bool stopped = false;
    {
      MutexLock lock(&mu_);
      handle_ = *handle;
      stopped = stop_.has_value();
    }
    watch_.events->Resume(*handle);  // the first write may have ended before there was a handle
    if (stopped) Unwatch();
  }

  bool OnEvent(const v1::JobEvent& event) {
    {
      MutexLock lock(&mu_);
      if (writing_ || stop_.has_value()) return false;
      writing_ = true;
    }
    Hold();  // given back in OnWriteDone()
    event_ = event;
    StartWrite(&event_);
    return true;
  }

  void OnEnd(absl::Status status) {
    {
      MutexLock lock(&mu_);
      ended_ = true;
    }
    End(std::move(status));
    Release();
  }

  // Ends the watch before the job has.
  void Stop(absl::Status why) {
    {
      MutexLock lock(&mu_);
      if (stop_.has_value()) return;
      stop_ = std::move(why);
      if (!handle_.has_value()) return;  // Begin() will see it
    }
    if (!Hold()) return;
    const auto unwatch = [this] {
      Unwatch();
      Release();
    };
    // It waits for a running callback: not for this thread, unless there is no other.
    if (!watch_.executor->TryRun(unwatch)) unwatch();
  }

  void Unwatch() {
    int64_t handle = 0;
    {
      MutexLock lock(&mu_);
      if (std::exchange(unwatched_, true)) return;
      handle = *handle_;
    }
    watch_.events->Unwatch(handle);
    absl::Status why;
    {
      MutexLock lock(&mu_);
      if (std::exchange(ended_, true)) return;
      why = *stop_;
    }
    End(std::move(why));
    Release();
  }

  const WatchContext watch_;
  grpc::CallbackServerContext* const context_;
  const std::string job_id_;
  const int64_t from_seq_;
  v1::JobEvent event_;  // of the write under way
  Mutex mu_;
  std::optional<int64_t> handle_ ABSL_GUARDED_BY(mu_);
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool ended_ ABSL_GUARDED_BY(mu_) = false;      // no callback will come, and the hub's hold is given back
  bool unwatched_ ABSL_GUARDED_BY(mu_) = false;
  std::optional<absl::Status> stop_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

void WatchSet::Add(const void* key, std::function<void()> end) {
  MutexLock lock(&mu_);
  if (ended_) return end();
  ends_[key] = std::move(end);
}

void WatchSet::Remove(const void* key) {
  MutexLock lock(&mu_);
  ends_.erase(key);
}

void WatchSet::EndAll() {
  MutexLock lock(&mu_);
  ended_ = true;
  for (const auto& [key, end] : ends_) end();
}

grpc::ServerWriteReactor<v1::JobEvent>* NewWatchJob(const WatchContext& watch, grpc::CallbackServerContext* context,
                                                    const v1::WatchJobRequest& request) {
  return new WatchJob(watch, context, request);
}

}  // namespace graft

#include "server/jobs/event_hub.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/jobs/encode.h"
#include "worker/base/status.h"

namespace graft {

struct EventHub::Active {
  Active(int64_t h, Watcher w) : handle(h), watcher(std::move(w)), next_seq(std::max<int64_t>(watcher.from_seq, 1)) {}

  const int64_t handle;
  const Watcher watcher;
  // Of the hub's thread alone:
  int64_t next_seq;
  Batch batch;           // read, not yet all taken; shared by watchers that are at one place
  size_t taken = 0;      // of `batch`
  // Guarded by the hub's mutex:
  bool due = true;       // the log may hold more
  bool blocked = false;  // on_event took no more; until Resume()
  bool resumed = false;  // Resume() came since the last offer
};

EventHub::EventHub(JobStore* jobs, Options options) : jobs_(jobs), options_(options), thread_([this] { Run(); }) {}

EventHub::~EventHub() {
  {
    MutexLock lock(&mu_);
    stop_ = true;
    wake_.SignalAll();
  }
  thread_.join();
}

absl::StatusOr<int64_t> EventHub::Watch(Watcher watcher) {
  RETURN_IF_ERROR(jobs_->Get(watcher.job_id).status());
  MutexLock lock(&mu_);
  if (stop_) return absl::UnavailableError("server: shutting down");
  if (watchers_.size() >= static_cast<size_t>(options_.max_watchers)) {
    return absl::ResourceExhaustedError(
        absl::StrCat("watchers: ", watchers_.size(), " are connected, want fewer than ", options_.max_watchers));
  }
  const int64_t handle = next_handle_++;
  watchers_[handle] = std::make_shared<Active>(handle, std::move(watcher));
  wake_.Signal();
  return handle;
}

void EventHub::Resume(int64_t handle) {
  MutexLock lock(&mu_);
  const auto found = watchers_.find(handle);
  if (found == watchers_.end()) return;
  found->second->resumed = true;
  found->second->blocked = false;
  found->second->due = true;
  wake_.Signal();
}

void EventHub::Unwatch(int64_t handle) {
  MutexLock lock(&mu_);
  watchers_.erase(handle);
  while (in_callback_ == handle) idle_.Wait(&mu_);
}

void EventHub::Notify(const std::string& job_id) {
  MutexLock lock(&mu_);
  for (const auto& [handle, active] : watchers_) {
    if (active->watcher.job_id == job_id) active->due = true;
  }
  wake_.Signal();
}

bool EventHub::AnyDue() const {
  return std::any_of(watchers_.begin(), watchers_.end(),
                     [](const auto& entry) { return entry.second->due && !entry.second->blocked; });
}

EventHub::Due EventHub::WaitForDue() {
  while (!stop_ && !AnyDue()) {
    if (watchers_.empty()) {
      wake_.Wait(&mu_);
    } else if (const absl::Duration wait = next_poll_ - absl::Now(); wait > absl::ZeroDuration()) {
      wake_.WaitFor(&mu_, std::min(wait, options_.poll));  // the clock may be set back
    } else {
      next_poll_ = absl::Now() + options_.poll;
      for (const auto& [handle, active] : watchers_) active->due = true;
      if (!AnyDue()) wake_.WaitFor(&mu_, options_.poll);  // all are blocked
    }
  }
  Due due;
  for (const auto& [handle, active] : watchers_) {
    if (!active->due || active->blocked) continue;
    active->due = false;
    due[active->watcher.job_id].push_back(active);
  }
  return due;
}

void EventHub::Run() {
  for (;;) {
    Due due;
    {
      MutexLock lock(&mu_);
      due = WaitForDue();
      if (stop_) break;
    }
    for (const auto& [job_id, watchers] : due) ServeJob(job_id, watchers);
  }
  std::map<int64_t, std::shared_ptr<Active>> left;
  {
    MutexLock lock(&mu_);
    left = watchers_;
  }
  for (const auto& [handle, active] : left) End(active, absl::UnavailableError("server: shutting down"));
}

void EventHub::ServeJob(const std::string& job_id, const std::vector<std::shared_ptr<Active>>& watchers) {
  std::vector<std::shared_ptr<Active>> hungry;
  for (const std::shared_ptr<Active>& active : watchers) {
    if (Deliver(active)) hungry.push_back(active);
  }
  if (hungry.empty()) return;
  const absl::StatusOr<JobRecord> job = jobs_->Get(job_id);
  std::map<int64_t, absl::StatusOr<Batch>> read;  // by first seq
  for (const std::shared_ptr<Active>& active : hungry) {
    if (!job.ok()) {
      End(active, job.status());
      continue;
    }
    if (active->next_seq <= job->last_seq) {
      auto found = read.find(active->next_seq);
      if (found == read.end()) found = read.emplace(active->next_seq, Read(job_id, active->next_seq)).first;
      if (!found->second.ok()) {
        End(active, found->second.status());
        continue;
      }
      active->batch = *found->second;
      active->taken = 0;
      if (!Deliver(active)) continue;
    }
    if (active->next_seq <= job->last_seq) {
      MutexLock lock(&mu_);
      active->due = true;  // more than one batch
    } else if (IsFinal(job->state)) {
      End(active, absl::OkStatus());
    }
  }
}

absl::StatusOr<EventHub::Batch> EventHub::Read(const std::string& job_id, int64_t from_seq) {
  ASSIGN_OR_RETURN(const std::vector<EventRecord> records, jobs_->Events(job_id, from_seq, options_.batch));
  auto events = std::make_shared<std::vector<v1::JobEvent>>();
  events->reserve(records.size());
  for (const EventRecord& record : records) {
    ASSIGN_OR_RETURN(v1::JobEvent event, DecodeEvent(record));
    events->push_back(std::move(event));
  }
  return Batch(std::move(events));
}

bool EventHub::Deliver(const std::shared_ptr<Active>& active) {
  while (active->batch != nullptr && active->taken < active->batch->size()) {
    const v1::JobEvent& event = (*active->batch)[active->taken];
    if (!Offer(active, event)) return false;
    active->taken += 1;
    active->next_seq = event.seq() + 1;
  }
  active->batch = nullptr;
  return true;
}

bool EventHub::Offer(const std::shared_ptr<Active>& active, const v1::JobEvent& event) {
  {
    MutexLock lock(&mu_);
    active->resumed = false;
  }
  if (!BeginCallback(*active)) return false;
  const bool taken = active->watcher.on_event(event);
  EndCallback();
  if (taken) return true;
  MutexLock lock(&mu_);
  active->blocked = !active->resumed;
  active->due = true;
  return false;
}

void EventHub::End(const std::shared_ptr<Active>& active, const absl::Status& status) {
  if (!BeginCallback(*active)) return;
  {
    MutexLock lock(&mu_);
    watchers_.erase(active->handle);
  }
  active->watcher.on_end(status);
  EndCallback();
}

bool EventHub::BeginCallback(const Active& active) {
  MutexLock lock(&mu_);
  if (watchers_.count(active.handle) == 0) return false;
  in_callback_ = active.handle;
  return true;
}

void EventHub::EndCallback() {
  MutexLock lock(&mu_);
  in_callback_ = 0;
  idle_.SignalAll();
}

}  // namespace graft

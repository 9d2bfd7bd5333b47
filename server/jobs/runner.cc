#include "server/jobs/runner.h"

#include <sys/resource.h>
#include <unistd.h>

#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/jobs/job_run.h"
#include "server/log.h"
#include "worker/base/status.h"
#include "worker/device/memory.h"
#include "worker/device/threads.h"

namespace graft {

struct Runner::Running {
  const std::string job_id;
  CancelToken cancel;
};

absl::StatusOr<std::unique_ptr<Runner>> Runner::Create(Options options, Stores stores, WorkerPool* pool) {
  ASSIGN_OR_RETURN(StateFiles states, StateFiles::Open(options.state_directory));
  return std::unique_ptr<Runner>(new Runner(std::move(options), stores, pool, std::move(states)));
}

Runner::Runner(Options options, Stores stores, WorkerPool* pool, StateFiles states)
    : options_(std::move(options)), stores_(stores), pool_(pool), states_(std::move(states)),
      run_thread_([this] { Run(); }), heartbeat_thread_([this] { Heartbeats(); }) {}

Runner::~Runner() {
  Drain();
  run_thread_.join();
  heartbeat_thread_.join();
}

void Runner::Wake() {
  MutexLock lock(&mu_);
  woken_ = true;
  wake_.Signal();
}

void Runner::Drain() {
  MutexLock lock(&mu_);
  stop_ = true;
  if (running_) running_->cancel.Stop(StopReason::kDrain);
  wake_.SignalAll();
  while (!ended_) idle_.Wait(&mu_);
}

void Runner::Run() {
  // It computes steps that are too small for the pool.
  UseOneIntraOpThread();
  if (options_.nice > 0) ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), options_.nice);
  for (;;) {
    {
      MutexLock lock(&mu_);
      if (stop_) break;
    }
    absl::StatusOr<std::optional<JobRecord>> job = stores_.jobs->Lease(options_.owner);
    if (!job.ok()) {
      LogError("no job could be leased", {{"error", job.status().ToString()}});
      WaitForWork(options_.recover);
    } else if (job->has_value()) {
      RunOne(**std::move(job));
    } else {
      WaitForWork(options_.poll);
    }
  }
  MutexLock lock(&mu_);
  ended_ = true;
  idle_.SignalAll();
  beat_.SignalAll();
}

void Runner::RunOne(JobRecord job) {
  const auto running = std::make_shared<Running>(Running{job.id, {}});
  {
    MutexLock lock(&mu_);
    running_ = running;
    if (stop_) running->cancel.Stop(StopReason::kDrain);
  }
  const JobRun::Context context{stores_.jobs,    stores_.datasets, stores_.blobs,  stores_.backbones,
                                stores_.metrics, &states_,         options_.activations, pool_, options_.owner,
                                options_.tensorboard_directory,    options_.activation_cache_bytes,
                                options_.image_limits};
  JobRun(std::move(job), context, running->cancel).Run();
  ReleaseFreedMemory();
  MutexLock lock(&mu_);
  running_ = nullptr;
}

void Runner::WaitForWork(absl::Duration timeout) {
  MutexLock lock(&mu_);
  if (!stop_ && !woken_) wake_.WaitFor(&mu_, timeout);
  woken_ = false;
}

// Beats on while the running job drains: until its end is stored the lease must hold.
void Runner::Heartbeats() {
  absl::Time next_recover = absl::Now() + options_.recover;
  for (;;) {
    std::shared_ptr<Running> running;
    {
      MutexLock lock(&mu_);
      if (!ended_) beat_.WaitFor(&mu_, options_.heartbeat);
      if (ended_) return;
      running = running_;
    }
    if (running) Heartbeat(*running);
    if (absl::Now() < next_recover) continue;
    next_recover = absl::Now() + options_.recover;
    Recover();
  }
}

void Runner::Heartbeat(const Running& running) {
  CancelToken cancel = running.cancel;
  const absl::StatusOr<bool> cancelled = stores_.jobs->Heartbeat(running.job_id, options_.owner);
  if (cancelled.ok()) {
    if (*cancelled) cancel.Stop(StopReason::kCancelled);
  } else if (absl::IsFailedPrecondition(cancelled.status())) {
    cancel.Stop(StopReason::kLeaseLost);  // too late to matter when the job has just ended
  } else {
    LogWarning("heartbeat failed", {{"job", running.job_id}, {"error", cancelled.status().ToString()}});
  }
}

void Runner::Recover() {
  const absl::StatusOr<int> recovered = stores_.jobs->RecoverExpired(/*even_unexpired=*/false);
  if (!recovered.ok()) {
    LogWarning("expired leases not looked for", {{"error", recovered.status().ToString()}});
  } else if (*recovered > 0) {
    LogWarning("jobs put back whose workers died", {{"count", absl::StrCat(*recovered)}});
  }
}

}  // namespace graft

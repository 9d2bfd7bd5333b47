#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "worker/base/mutex.h"
#include "worker/infer/batcher.h"

namespace graft {

// Closed until Open(); then all who Wait() go on, for good.   Threads: safe.
class Gate {
 public:
  void Open() {
    MutexLock lock(&mu_);
    open_ = true;
    changed_.SignalAll();
  }
  void Wait() {
    MutexLock lock(&mu_);
    while (!open_) changed_.Wait(&mu_);
  }

 private:
  Mutex mu_;
  CondVar changed_;
  bool open_ ABSL_GUARDED_BY(mu_) = false;
};

// The answer of one Submit(), and how often it came.   Threads: safe.
class Answer {
 public:
  std::function<void(ClassifyOutcome)> Callback() {
    return [state = state_](ClassifyOutcome outcome) {
      MutexLock lock(&state->mu);
      state->outcome = std::move(outcome);
      ++state->times;
      state->changed.SignalAll();
    };
  }
  // Waits for the first answer.
  ClassifyOutcome Get() const {
    MutexLock lock(&state_->mu);
    while (state_->times == 0) state_->changed.Wait(&state_->mu);
    return state_->outcome;
  }
  int times() const {
    MutexLock lock(&state_->mu);
    return state_->times;
  }

 private:
  struct State {
    Mutex mu;
    CondVar changed;
    ClassifyOutcome outcome ABSL_GUARDED_BY(mu) = absl::UnknownError("no answer yet");
    int times ABSL_GUARDED_BY(mu) = 0;
  };
  const std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace graft

#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "worker/train/trainer.h"

namespace graft {

class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// Passes progress on, at most twice a second and always the last.
class ProgressReport {
 public:
  // Made when the work begins.
  ProgressReport(TrainObserver* observer, std::string activity)
      : observer_(observer), activity_(std::move(activity)) {}
  absl::Status operator()(int64_t done, int64_t total) {
    const double seconds = watch_.seconds();
    if (done < total && seconds < next_) return absl::OkStatus();
    next_ = seconds + 0.5;
    return observer_->OnProgress({activity_, done, total, static_cast<double>(done) / std::max(seconds, 1e-9)});
  }

 private:
  TrainObserver* const observer_;
  const std::string activity_;
  const Stopwatch watch_;
  double next_ = 0.5;
};

}  // namespace graft

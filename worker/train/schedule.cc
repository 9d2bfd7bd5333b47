#include "worker/train/schedule.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "worker/base/status.h"

namespace graft {
namespace {

constexpr double kMaxEpochs = 10'000;      // as a phase
constexpr double kMaxWarmupEpochs = 1000;  // proto/graft/v1/job.proto, Schedule.warmup_epochs

int64_t StepsOf(double epochs, int64_t steps_per_epoch) {
  return std::llround(epochs * static_cast<double>(steps_per_epoch));
}

// From `start` at fraction 0 to `end` at fraction 1, along half a cosine.
double Anneal(double start, double end, double fraction) {
  return end + (start - end) / 2 * (1 + std::cos(M_PI * fraction));
}

double OneCycle(const ScheduleOptions& options, int64_t step, int64_t total_steps) {
  if (total_steps == 1) return 1;
  // Not a whole number, and below 0 when the climb is shorter than a step: OneCycleLR's rule.
  const double peak = options.peak_fraction * static_cast<double>(total_steps) - 1;
  const auto at = static_cast<double>(step), last = static_cast<double>(total_steps - 1);
  if (at > peak) return Anneal(1, options.end_factor, (at - peak) / (last - peak));
  return peak == 0 ? 1 : Anneal(options.start_factor, 1, at / peak);
}

}  // namespace

absl::Status ScheduleOptions::Validate() const {
  std::vector<std::string> violations;
  const auto check = [&violations](bool valid, const char* field, double got, const auto&... want) {
    if (!valid) violations.push_back(absl::StrCat(field, ": got ", got, ", want ", want...));
  };
  check(warmup_epochs >= 0 && warmup_epochs <= kMaxWarmupEpochs, "warmup_epochs", warmup_epochs, "0 to ",
        kMaxWarmupEpochs);
  check(kind != ScheduleKind::kOneCycle || warmup_epochs == 0, "warmup_epochs", warmup_epochs,
        "0 with one-cycle, which has its own");
  check(step_epochs > 0 && step_epochs <= kMaxEpochs, "step_epochs", step_epochs, "0 < step_epochs <= ", kMaxEpochs);
  check(step_factor > 0 && step_factor <= 1, "step_factor", step_factor, "0 < step_factor <= 1");
  check(peak_fraction >= 0 && peak_fraction <= 1, "peak_fraction", peak_fraction, "0 to 1");
  check(start_factor >= 0 && start_factor <= 1, "start_factor", start_factor, "0 to 1");
  check(end_factor >= 0 && end_factor <= 1, "end_factor", end_factor, "0 to 1");
  return violations.empty() ? absl::OkStatus() : absl::InvalidArgumentError(absl::StrJoin(violations, "\n"));
}

double LearningRateFactor(const ScheduleOptions& options, int64_t step, int64_t total_steps, int64_t steps_per_epoch) {
  GRAFT_CHECK(step >= 0 && step < total_steps && steps_per_epoch >= 1);
  if (options.kind == ScheduleKind::kOneCycle) return OneCycle(options, step, total_steps);
  const int64_t warmup = StepsOf(options.warmup_epochs, steps_per_epoch);
  if (step < warmup) return static_cast<double>(step + 1) / static_cast<double>(warmup);
  step -= warmup;
  total_steps -= warmup;
  switch (options.kind) {
    case ScheduleKind::kStep: {
      const int64_t period = std::max<int64_t>(1, StepsOf(options.step_epochs, steps_per_epoch));
      return std::pow(options.step_factor, static_cast<double>(step / period));
    }
    case ScheduleKind::kCosine: return Anneal(1, 0, static_cast<double>(step) / static_cast<double>(total_steps));
    case ScheduleKind::kConstant:
    case ScheduleKind::kOneCycle: break;
  }
  return 1;
}

}  // namespace graft

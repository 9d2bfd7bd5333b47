#pragma once

#include <cstdint>

#include "absl/status/status.h"

namespace graft {

enum class ScheduleKind {
  kConstant,
  kStep,      // times step_factor every step_epochs: torch's StepLR
  kCosine,    // half a cosine from 1 towards 0: SGDR without restarts, Loshchilov & Hutter (arXiv:1608.03983)
  kOneCycle,  // up to 1 and down again, each half a cosine: Smith & Topin (arXiv:1708.07120), torch's OneCycleLR
};

struct ScheduleOptions {
  ScheduleKind kind = ScheduleKind::kConstant;
  // Goyal et al. 2017 (arXiv:1706.02677). Rounded to whole steps w; step i < w gets (i + 1) / w, and the schedule
  // proper then runs over the steps that remain, as if they were all. torch's
  // SequentialLR([LinearLR(start_factor=1/w, total_iters=w-1), schedule], milestones=[w]).
  double warmup_epochs = 0;  // any kind but one-cycle, which has its own

  double step_epochs = 7, step_factor = 0.1;  // kStep: the PyTorch transfer-learning tutorial's StepLR(7, 0.1)

  // kOneCycle: OneCycleLR's pct_start, 1 / div_factor and 1 / (div_factor * final_div_factor), with its defaults
  double peak_fraction = 0.3;
  double start_factor = 1.0 / 25, end_factor = 1.0 / 25e4;

  //   InvalidArgument  every violation, one a line: "step_factor: got 2, want 0 < step_factor <= 1"
  absl::Status Validate() const;
};

// Factor of the learning rate, in [0, 1], at step `step` (from 0) of `total_steps`, with `steps_per_epoch`. `options`
// must be valid, `step` < `total_steps`, `steps_per_epoch` >= 1. One-cycle over a single step gives 1: there is no room
// to climb.
double LearningRateFactor(const ScheduleOptions& options, int64_t step, int64_t total_steps, int64_t steps_per_epoch);

}  // namespace graft

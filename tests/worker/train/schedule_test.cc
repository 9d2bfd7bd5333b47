#include "worker/train/schedule.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace graft {
namespace {

ScheduleOptions Of(ScheduleKind kind) {
  ScheduleOptions options;
  options.kind = kind;
  return options;
}

void ExpectFactors(const ScheduleOptions& options, int64_t steps_per_epoch, const std::vector<double>& want) {
  ASSERT_TRUE(options.Validate().ok()) << options.Validate();
  const auto total = static_cast<int64_t>(want.size());
  for (int64_t step = 0; step < total; ++step) {
    EXPECT_NEAR(LearningRateFactor(options, step, total, steps_per_epoch), want[step], 1e-6) << "step " << step;
  }
}

TEST(ScheduleTest, ConstantIsOne) { ExpectFactors(Of(ScheduleKind::kConstant), 2, {1, 1, 1, 1}); }

TEST(ScheduleTest, ConstantWithWarmUpClimbsInWholeSteps) {
  ScheduleOptions options = Of(ScheduleKind::kConstant);
  options.warmup_epochs = 1.5;
  ExpectFactors(options, 2, {1.0 / 3, 2.0 / 3, 1, 1, 1});
}

TEST(ScheduleTest, WarmUpMayBeLongerThanTheRun) {
  ScheduleOptions options = Of(ScheduleKind::kCosine);
  options.warmup_epochs = 2;
  ExpectFactors(options, 4, {0.125, 0.25, 0.375});
}

// The numbers below are PyTorch 1.13's: param_groups[0]["lr"] of an SGD with lr=1 before each of its steps, with the
// scheduler named above each and scheduler.step() after every step; printed with 9 digits, compared to 1e-6.

// StepLR(optimizer, step_size=6, gamma=0.1)
TEST(ScheduleTest, StepEqualsPyTorchs) {
  ScheduleOptions options = Of(ScheduleKind::kStep);
  options.step_epochs = 3;
  ExpectFactors(options, 2, {1,    1,    1,    1,    1,    1,    0.1,  0.1,  0.1,   0.1,
                             0.1,  0.1,  0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.001, 0.001});
}

TEST(ScheduleTest, StepIsTheTutorialsUnlessAsked) {
  const ScheduleOptions options = Of(ScheduleKind::kStep);  // StepLR(7, 0.1), by the epoch
  EXPECT_EQ(LearningRateFactor(options, 7 * 5 - 1, 50, 5), 1);
  EXPECT_DOUBLE_EQ(LearningRateFactor(options, 7 * 5, 50, 5), 0.1);
}

// SequentialLR([LinearLR(start_factor=1/4, total_iters=3), StepLR(step_size=3, gamma=0.1)], milestones=[4])
TEST(ScheduleTest, StepWithWarmUpEqualsPyTorchs) {
  ScheduleOptions options = Of(ScheduleKind::kStep);
  options.warmup_epochs = 4;
  options.step_epochs = 3;
  ExpectFactors(options, 1, {0.25, 0.5, 0.75, 1, 1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01});
}

// CosineAnnealingLR(T_max=12)
TEST(ScheduleTest, CosineEqualsPyTorchs) {
  ExpectFactors(Of(ScheduleKind::kCosine), 3,
                {1, 0.982962913, 0.933012702, 0.853553391, 0.75, 0.629409523, 0.5, 0.370590477, 0.25, 0.146446609,
                 0.0669872981, 0.0170370869});
}

// SequentialLR([LinearLR(start_factor=1/4, total_iters=3), CosineAnnealingLR(T_max=8)], milestones=[4])
TEST(ScheduleTest, CosineWithWarmUpEqualsPyTorchs) {
  ScheduleOptions options = Of(ScheduleKind::kCosine);
  options.warmup_epochs = 2;
  ExpectFactors(options, 2, {0.25, 0.5, 0.75, 1, 1, 0.961939766, 0.853553391, 0.691341716, 0.5, 0.308658284,
                             0.146446609, 0.0380602337});
}

// OneCycleLR(max_lr=1, total_steps=12)
TEST(ScheduleTest, OneCycleEqualsPyTorchs) {
  ExpectFactors(Of(ScheduleKind::kOneCycle), 4,
                {0.04, 0.349789654, 0.879285159, 0.994415435, 0.93301297, 0.811745654, 0.647378998, 0.462637103,
                 0.283060998, 0.13347753, 0.0345669874, 4e-06});
}

// OneCycleLR(max_lr=1, total_steps=10, pct_start=0.5, div_factor=10, final_div_factor=100)
TEST(ScheduleTest, OneCycleWithItsOptionsEqualsPyTorchs) {
  ScheduleOptions options = Of(ScheduleKind::kOneCycle);
  options.peak_fraction = 0.5;
  options.start_factor = 0.1;
  options.end_factor = 0.001;
  ExpectFactors(options, 5, {0.1, 0.231801948, 0.55, 0.868198052, 1, 0.904603989, 0.654853989, 0.346146011,
                             0.0963960113, 0.001});
}

// OneCycleLR(max_lr=1, total_steps=3): the peak lies before the first step
TEST(ScheduleTest, OneCycleTooShortToClimbEqualsPyTorchs) {
  ExpectFactors(Of(ScheduleKind::kOneCycle), 3, {0.994415435, 0.462637103, 4e-06});
}

TEST(ScheduleTest, OneCycleOverOneStepKeepsTheRate) { ExpectFactors(Of(ScheduleKind::kOneCycle), 1, {1}); }

TEST(ScheduleTest, OneCycleWithThePeakAtItsFirstStepStartsThere) {
  ScheduleOptions options = Of(ScheduleKind::kOneCycle);
  options.peak_fraction = 0.5;
  options.end_factor = 0.5;
  ExpectFactors(options, 2, {1, 0.5});
}

TEST(ScheduleTest, DefaultsAreValid) { EXPECT_TRUE(ScheduleOptions().Validate().ok()); }

TEST(ScheduleTest, EveryViolationIsALine) {
  ScheduleOptions options;
  options.warmup_epochs = -1;
  options.step_epochs = 0;
  options.step_factor = 2;
  options.peak_fraction = 1.5;
  options.start_factor = -0.5;
  options.end_factor = std::numeric_limits<double>::quiet_NaN();
  const absl::Status status = options.Validate();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(),
            "warmup_epochs: got -1, want 0 to 1000\n"
            "step_epochs: got 0, want 0 < step_epochs <= 10000\n"
            "step_factor: got 2, want 0 < step_factor <= 1\n"
            "peak_fraction: got 1.5, want 0 to 1\n"
            "start_factor: got -0.5, want 0 to 1\n"
            "end_factor: got nan, want 0 to 1");
}

TEST(ScheduleTest, OneCycleTakesNoWarmUp) {
  ScheduleOptions options = Of(ScheduleKind::kOneCycle);
  options.warmup_epochs = 1;
  const absl::Status status = options.Validate();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "warmup_epochs: got 1, want 0 with one-cycle, which has its own");
}

}  // namespace
}  // namespace graft

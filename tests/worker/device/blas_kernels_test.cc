#include "worker/device/blas_kernels.h"

#include <gtest/gtest.h>

namespace graft {
namespace {

TEST(BlasKernelsTest, OnlyTheFallbackIsReplacedAndOnlyByWhatTheCpuHas) {
  EXPECT_EQ(FasterBlasCore("Prescott", true, true), "SkylakeX");
  EXPECT_EQ(FasterBlasCore("Prescott", true, false), "Haswell");
  EXPECT_EQ(FasterBlasCore("Prescott", false, false), "");
  for (const char* const core : {"Haswell", "Zen", "SapphireRapids", "armv8", ""}) {
    EXPECT_EQ(FasterBlasCore(core, true, true), "") << core;
  }
}

}  // namespace
}  // namespace graft

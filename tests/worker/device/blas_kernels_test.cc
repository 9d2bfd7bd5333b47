#include "worker/device/blas_kernels.h"

#include <gtest/gtest.h>

#include <cstdlib>

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

// Would otherwise run this program from its beginning again and again.
TEST(BlasKernelsTest, WhatTheUserChoseStays) {
  ASSERT_EQ(setenv("OPENBLAS_CORETYPE", "Prescott", 1), 0);
  char* const argv[] = {nullptr};
  UseFastBlasKernels(const_cast<char**>(argv));
  EXPECT_STREQ(std::getenv("OPENBLAS_CORETYPE"), "Prescott");
}

}  // namespace
}  // namespace graft

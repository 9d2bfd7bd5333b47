#include "worker/device/devices.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <thread>

#include "worker/device/threads.h"

namespace graft {
namespace {

using testing::HasSubstr;

TEST(ParseDevicesTest, CpuHasAThreadForEachCore) {
  const auto devices = ParseDevices("cpu");
  ASSERT_TRUE(devices.ok()) << devices.status();
  ASSERT_EQ(devices->size(), 1u);
  EXPECT_EQ((*devices)[0].name, "cpu");
  EXPECT_EQ((*devices)[0].threads, static_cast<int>(std::max(1u, std::thread::hardware_concurrency())));
}

TEST(ParseDevicesTest, CpuTakesItsThreads) {
  for (const auto& [text, threads] : {std::pair("cpu:1", 1), std::pair("cpu:3", 3), std::pair("cpu:1024", 1024)}) {
    const auto devices = ParseDevices(text);
    ASSERT_TRUE(devices.ok()) << devices.status();
    EXPECT_EQ((*devices)[0].name, "cpu");
    EXPECT_EQ((*devices)[0].threads, threads);
  }
}

TEST(ParseDevicesTest, AutoIsTheCpuWithoutCuda) {
  if (torch::cuda::is_available()) GTEST_SKIP() << "this machine has CUDA";
  const auto devices = ParseDevices("auto");
  ASSERT_TRUE(devices.ok()) << devices.status();
  ASSERT_EQ(devices->size(), 1u);
  EXPECT_EQ((*devices)[0].name, "cpu");
}

TEST(ParseDevicesTest, MalformedIsInvalidArgument) {
  for (const char* text : {"",      ",",       "gpu",     "cpu:",    "cpu:0",   "cpu:-1",   "cpu:1025",
                           "cpu:x", "cpu: 2",  "cpu:+2",  "CPU",     "cpu,",    "auto,cpu", "cuda",
                           "cuda:", "cuda:-1", "cuda:-0", "cuda:+0", "cuda: 0", "cuda:0x",  "cpu:99999999999"}) {
    const auto devices = ParseDevices(text);
    EXPECT_EQ(devices.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(devices.status().message()), HasSubstr(std::string("devices: got \"") + text + "\""));
  }
}

TEST(ParseDevicesTest, ADeviceTwiceIsInvalidArgument) {
  EXPECT_EQ(ParseDevices("cpu,cpu").status(), absl::InvalidArgumentError("devices: got cpu twice"));
  EXPECT_EQ(ParseDevices("cpu:1,cpu:2").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(ParseDevicesTest, AnAbsentCudaDeviceIsFailedPrecondition) {
  const auto devices = ParseDevices("cuda:4096");
  EXPECT_EQ(devices.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(devices.status().message()), HasSubstr("devices: got cuda:4096"));
}

TEST(ParseDevicesTest, CpuBesideCudaIsRefused) {
  const absl::StatusCode want =
      torch::cuda::is_available() ? absl::StatusCode::kInvalidArgument : absl::StatusCode::kFailedPrecondition;
  EXPECT_EQ(ParseDevices("cpu,cuda:0").status().code(), want);
}

TEST(ThreadsTest, ComputesOnOneThreadAfterwards) {
  UseOneIntraOpThread();
  EXPECT_EQ(at::get_num_threads(), 1);
}

TEST(ThreadsTest, VersionIsLibTorchs) { EXPECT_THAT(LibTorchVersion(), testing::MatchesRegex("[0-9]+\\.[0-9]+\\..*")); }

}  // namespace
}  // namespace graft

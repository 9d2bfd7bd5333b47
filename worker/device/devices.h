#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace graft {

// Where models run.
struct Device {
  std::string name;  // "cpu", "cuda:0"
  int threads = 1;   // worker threads: on "cpu" they compute, for CUDA they decode and launch
};

// Parses "auto", "cpu", "cpu:N" (N threads) or a list like "cuda:0,cuda:1".
//   InvalidArgument     malformed, a device twice, or cpu beside CUDA
//   FailedPrecondition  a CUDA device this machine or this LibTorch has not
absl::StatusOr<std::vector<Device>> ParseDevices(absl::string_view text);

}  // namespace graft

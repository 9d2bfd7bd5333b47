#include "worker/device/devices.h"

#include <torch/torch.h>

#include <algorithm>
#include <set>
#include <thread>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "worker/base/status.h"

namespace graft {
namespace {

constexpr int kMaxThreads = 1024;

int Cores() { return std::max(1u, std::thread::hardware_concurrency()); }

int CudaDevices() { return static_cast<int>(torch::cuda::device_count()); }

absl::Status Malformed(absl::string_view text) {
  return absl::InvalidArgumentError(absl::StrCat("devices: got \"", text, "\", want auto, cpu, cpu:N (1 to ",
                                                 kMaxThreads, " threads) or cuda:I,..."));
}

// Digits only: SimpleAtoi() alone takes signs and spaces.
bool ParseNumber(absl::string_view text, int* number) {
  return std::all_of(text.begin(), text.end(), absl::ascii_isdigit) && absl::SimpleAtoi(text, number);
}

absl::StatusOr<Device> ParseOne(absl::string_view part, absl::string_view text) {
  Device device;
  int number = 0;
  if (part == "cpu") {
    device = {"cpu", Cores()};
  } else if (absl::ConsumePrefix(&part, "cpu:")) {
    if (!ParseNumber(part, &number) || number < 1 || number > kMaxThreads) return Malformed(text);
    device = {"cpu", number};
  } else if (absl::ConsumePrefix(&part, "cuda:")) {
    if (!ParseNumber(part, &number)) return Malformed(text);
    if (number >= CudaDevices()) {
      return absl::FailedPreconditionError(absl::StrCat("devices: got cuda:", number, ", want one of the ",
                                                        CudaDevices(), " CUDA devices of this machine"));
    }
    device = {absl::StrCat("cuda:", number), Cores()};
  } else {
    return Malformed(text);
  }
  return device;
}

}  // namespace

absl::StatusOr<std::vector<Device>> ParseDevices(absl::string_view text) {
  if (text == "auto") {
    std::vector<Device> devices;
    for (int i = 0; i < CudaDevices(); ++i)
      devices.push_back({absl::StrCat("cuda:", i), std::max(1, Cores() / CudaDevices())});
    if (devices.empty()) devices.push_back({"cpu", Cores()});
    return devices;
  }
  std::vector<Device> devices;
  std::set<std::string> seen;
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    ASSIGN_OR_RETURN(Device device, ParseOne(part, text));
    if (!seen.insert(device.name).second) {
      return absl::InvalidArgumentError(absl::StrCat("devices: got ", device.name, " twice"));
    }
    devices.push_back(std::move(device));
  }
  if (devices.size() > 1 && seen.count("cpu") > 0) {
    return absl::InvalidArgumentError("devices: got cpu beside other devices, want cpu alone or CUDA devices");
  }
  return devices;
}

}  // namespace graft

// libFuzzer over ParseSafeTensors: any bytes must end in tensors or in DataLoss, and what is read survives a round
// trip.

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "tests/fuzz/touch.h"
#include "worker/backbone/safetensors.h"
#include "worker/base/status.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto file = graft::ParseSafeTensors(absl::string_view(reinterpret_cast<const char*>(data), size));
  if (!file.ok()) {
    GRAFT_CHECK(absl::IsDataLoss(file.status()));
    return 0;
  }
  const std::string bytes = graft::SerializeSafeTensors(*file);
  const auto back = graft::ParseSafeTensors(bytes);
  GRAFT_CHECK(back.ok() && back->metadata == file->metadata && back->tensors.size() == file->tensors.size());
  GRAFT_CHECK(graft::SumOfBytes(*back) == graft::SumOfBytes(*file));
  GRAFT_CHECK(graft::SerializeSafeTensors(*back) == bytes);
  return 0;
}

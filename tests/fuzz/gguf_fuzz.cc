// libFuzzer over ParseGguf: any bytes must end in tensors or in DataLoss. Tensors share no byte of the file, so
// together they are never larger than it.

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "tests/fuzz/touch.h"
#include "worker/backbone/gguf.h"
#include "worker/base/status.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto file = graft::ParseGguf(absl::string_view(reinterpret_cast<const char*>(data), size));
  if (!file.ok()) {
    GRAFT_CHECK(absl::IsDataLoss(file.status()));
    return 0;
  }
  size_t bytes = 0;
  for (const auto& [name, tensor] : file->tensors) bytes += tensor.nbytes();
  GRAFT_CHECK(bytes <= size);
  GRAFT_CHECK(graft::SumOfBytes(*file) <= 255 * bytes);
  return 0;
}

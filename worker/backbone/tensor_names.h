#pragma once

#include <cstdint>
#include <map>
#include <string>

#include <ATen/core/Tensor.h>

#include "absl/status/statusor.h"
#include "worker/backbone/architecture.h"

namespace graft {

struct NamedTensor {
  std::string file_name;  // as its publisher calls it
  at::Tensor tensor;
};

// The tensors of a weights file under an architecture's own names.
struct TensorNames {
  std::map<std::string, NamedTensor> by_name;
  bool used_aliases = false;  // some had another publisher's names
  int64_t classes = 0;        // of the network's own classifier; 0: the file has none
};

// Translates what `architecture` has aliases for and leaves out what it ignores and counters of batches. Other names
// stay as they are.
//   InvalidArgument  two tensors of the file are the same one of the architecture
absl::StatusOr<TensorNames> OurNames(const std::map<std::string, at::Tensor>& file, const Architecture& architecture);

// "<prefix>.<name>", or the name where the prefix is empty.
std::string FullName(const std::string& prefix, const std::string& name);

}  // namespace graft

#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace graft {

// What the readers of weight files (safetensors, GGUF) share.

constexpr size_t kMaxTensors = 100'000;  // of one file; the largest network that graft knows has below a thousand

// A tensor as a file's header describes it: its bytes are [begin, end) of the file's data part.
struct TensorInfo {
  std::string name;
  at::ScalarType dtype = at::kFloat;
  std::vector<int64_t> shape;
  uint64_t begin = 0, end = 0;
};

// The bytes of `shape`; nullopt when it has a negative extent, or when its strides or bytes do not fit an int64 even
// with its zero extents taken as 1 (LibTorch computes strides so).
std::optional<uint64_t> ByteSize(const std::vector<int64_t>& shape, at::ScalarType dtype);

void SortByOffset(std::vector<TensorInfo>* infos);

// Copies of the tensors out of `data`. Names are different, and each [begin, end) lies within `data` and has
// ByteSize() bytes.
std::map<std::string, at::Tensor> CopyTensors(const std::vector<TensorInfo>& infos, absl::string_view data);

// A whole file.
//   NotFound  no such file;  Internal  it cannot be read;  DataLoss  over 4 GiB
absl::StatusOr<std::string> ReadTensorFile(const std::string& path);

}  // namespace graft

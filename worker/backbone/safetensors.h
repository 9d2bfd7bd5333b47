#pragma once

#include <map>
#include <string>

#include <ATen/core/Tensor.h>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace graft {

// Named tensors (CPU, contiguous) and the text metadata of a safetensors file.
// Source: huggingface.co/docs/safetensors
struct SafeTensors {
  std::map<std::string, at::Tensor> tensors;
  std::map<std::string, std::string> metadata;
};

// Parses a whole file; tensors are copies. Dtypes F32, F16, BF16, F64, I64, I32, U8.
//   DataLoss  a header over 100 MB, beyond the file, no JSON object, or with a name twice or an array of more than 64
//             values; unknown dtype, a shape that does not match its bytes, overlap, hole, or bytes left over: says
//             which tensor
absl::StatusOr<SafeTensors> ParseSafeTensors(absl::string_view bytes);
// The file's bytes, tensors in name order, header padded to 8 bytes: equal content gives equal bytes.
std::string SerializeSafeTensors(const SafeTensors& file);

//   NotFound  no such file;  Internal  it cannot be read;  DataLoss as above
absl::StatusOr<SafeTensors> ReadSafeTensors(const std::string& path);

}  // namespace graft

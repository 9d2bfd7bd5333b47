#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/backbone/safetensors.h"

namespace graft {

// Reads a GGUF file (version 2 or 3, little-endian) as named tensors, shapes in row-major order (GGUF writes them
// reversed). Tensor types F32, F16 and BF16. Of its metadata, text values are kept; "general.source" or else
// "general.name" is also given as "source".
// Source: github.com/ggerganov/ggml, docs/gguf.md
//   DataLoss  not GGUF, or a count, length, offset or alignment that the file cannot hold; a tensor type that is not
//             read (names it); two tensors of one name; overlap
absl::StatusOr<SafeTensors> ParseGguf(absl::string_view bytes);

//   NotFound  no such file;  Internal  it cannot be read;  DataLoss as above
absl::StatusOr<SafeTensors> ReadGguf(const std::string& path);

}  // namespace graft

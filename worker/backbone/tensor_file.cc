#include "worker/backbone/tensor_file.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "worker/base/status.h"

namespace graft {

std::optional<uint64_t> ByteSize(const std::vector<int64_t>& shape, at::ScalarType dtype) {
  int64_t bytes = static_cast<int64_t>(c10::elementSize(dtype));
  bool empty = false;
  for (const int64_t extent : shape) {
    empty |= extent == 0;
    if (extent < 0 || __builtin_mul_overflow(bytes, std::max(extent, int64_t{1}), &bytes)) return std::nullopt;
  }
  return empty ? 0 : static_cast<uint64_t>(bytes);
}

void SortByOffset(std::vector<TensorInfo>* infos) {
  std::sort(infos->begin(), infos->end(), [](const TensorInfo& a, const TensorInfo& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
}

std::map<std::string, at::Tensor> CopyTensors(const std::vector<TensorInfo>& infos, absl::string_view data) {
  std::map<std::string, at::Tensor> tensors;
  for (const TensorInfo& info : infos) {
    GRAFT_CHECK(info.begin <= info.end && info.end <= data.size());
    at::Tensor tensor = at::empty(info.shape, at::TensorOptions(info.dtype));
    GRAFT_CHECK(tensor.nbytes() == info.end - info.begin);
    if (info.end > info.begin) std::memcpy(tensor.data_ptr(), data.data() + info.begin, info.end - info.begin);
    GRAFT_CHECK(tensors.emplace(info.name, std::move(tensor)).second);
  }
  return tensors;
}

absl::StatusOr<std::string> ReadTensorFile(const std::string& path) {
  constexpr uint64_t kMaxFileBytes = uint64_t{4} << 30;
  std::error_code error;
  const std::string name = std::filesystem::path(path).filename().string();  // callers' errors tell no folders
  if (!std::filesystem::is_regular_file(path, error)) return absl::NotFoundError(absl::StrCat("no file ", name));
  const uint64_t size = std::filesystem::file_size(path, error);
  if (error) return absl::InternalError(absl::StrCat("cannot read ", name, ": ", error.message()));
  if (size > kMaxFileBytes) {
    return absl::DataLossError(absl::StrCat(name, ": got a file of ", size, " bytes, want at most ", kMaxFileBytes));
  }
  std::string bytes(size, '\0');
  std::ifstream in(path, std::ios::binary);
  if (!in.read(bytes.data(), static_cast<std::streamsize>(size))) {
    return absl::InternalError(absl::StrCat("cannot read ", name));
  }
  return bytes;
}

}  // namespace graft

#include "worker/backbone/safetensors.h"

#include <torch/torch.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "worker/base/status.h"

namespace graft {
namespace {

constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the reference implementation's limit
constexpr size_t kMaxTensors = 1'000'000;
constexpr size_t kMaxRank = 16;

const std::map<std::string, at::ScalarType>& Dtypes() {
  static const auto* const dtypes = new std::map<std::string, at::ScalarType>{
      {"F32", at::kFloat}, {"F16", at::kHalf}, {"BF16", at::kBFloat16}, {"F64", at::kDouble},
      {"I64", at::kLong},  {"I32", at::kInt},  {"U8", at::kByte}};
  return *dtypes;
}

absl::Status Bad(const std::string& message) { return absl::DataLossError("safetensors: " + message); }

struct TensorInfo {
  std::string name;
  at::ScalarType dtype = at::kFloat;
  std::vector<int64_t> shape;
  uint64_t begin = 0, end = 0;
};

bool IsCount(const nlohmann::json& value) { return value.is_number_unsigned(); }

// The bytes of `shape`, nullopt on overflow.
std::optional<uint64_t> ByteSize(const std::vector<int64_t>& shape, at::ScalarType dtype) {
  uint64_t bytes = c10::elementSize(dtype);
  for (const int64_t extent : shape) {
    if (__builtin_mul_overflow(bytes, static_cast<uint64_t>(extent), &bytes)) return std::nullopt;
  }
  return bytes;
}

absl::StatusOr<TensorInfo> ParseInfo(const std::string& name, const nlohmann::json& json) {
  TensorInfo info;
  info.name = name;
  if (!json.is_object() || !json.contains("dtype") || !json.contains("shape") || !json.contains("data_offsets")) {
    return Bad(absl::StrCat("tensor \"", name, "\": want dtype, shape and data_offsets"));
  }
  const auto& dtype = json["dtype"];
  const auto it = dtype.is_string() ? Dtypes().find(dtype.get<std::string>()) : Dtypes().end();
  if (it == Dtypes().end()) return Bad(absl::StrCat("tensor \"", name, "\": got dtype ", dtype.dump()));
  info.dtype = it->second;
  const auto& shape = json["shape"];
  if (!shape.is_array() || shape.size() > kMaxRank) return Bad(absl::StrCat("tensor \"", name, "\": bad shape"));
  for (const auto& extent : shape) {
    if (!IsCount(extent) || extent.get<uint64_t>() > std::numeric_limits<int64_t>::max()) {
      return Bad(absl::StrCat("tensor \"", name, "\": bad shape"));
    }
    info.shape.push_back(static_cast<int64_t>(extent.get<uint64_t>()));
  }
  const auto& offsets = json["data_offsets"];
  if (!offsets.is_array() || offsets.size() != 2 || !IsCount(offsets[0]) || !IsCount(offsets[1])) {
    return Bad(absl::StrCat("tensor \"", name, "\": bad data_offsets"));
  }
  info.begin = offsets[0].get<uint64_t>();
  info.end = offsets[1].get<uint64_t>();
  const std::optional<uint64_t> bytes = ByteSize(info.shape, info.dtype);
  if (info.end < info.begin || !bytes || *bytes != info.end - info.begin) {
    return Bad(absl::StrCat("tensor \"", name, "\": its shape does not match its ", info.end - info.begin, " bytes"));
  }
  return info;
}

absl::StatusOr<std::map<std::string, std::string>> ParseMetadata(const nlohmann::json& json) {
  std::map<std::string, std::string> metadata;
  if (!json.is_object()) return Bad("__metadata__: want an object");
  for (const auto& [key, value] : json.items()) {
    if (!value.is_string()) return Bad(absl::StrCat("__metadata__: \"", key, "\" is not text"));
    metadata[key] = value.get<std::string>();
  }
  return metadata;
}

// Sorted by offset, they must cover the data exactly: no overlap, no hole, nothing left over.
absl::Status CheckLayout(std::vector<TensorInfo>& infos, uint64_t data_bytes) {
  std::sort(infos.begin(), infos.end(), [](const TensorInfo& a, const TensorInfo& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  uint64_t at = 0;
  for (const TensorInfo& info : infos) {
    if (info.begin != at) return Bad(absl::StrCat("tensor \"", info.name, "\": got offset ", info.begin, ", want ", at));
    at = info.end;
  }
  if (at != data_bytes) return Bad(absl::StrCat("got ", data_bytes, " data bytes, want ", at));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SafeTensors> ParseSafeTensors(absl::string_view bytes) {
  if (bytes.size() < 8) return Bad("got fewer than 8 bytes");
  uint64_t header_bytes = 0;
  for (int i = 7; i >= 0; --i) header_bytes = header_bytes << 8 | static_cast<unsigned char>(bytes[i]);
  if (header_bytes > kMaxHeaderBytes) return Bad(absl::StrCat("got a header of ", header_bytes, " bytes, want at most ", kMaxHeaderBytes));
  if (header_bytes > bytes.size() - 8) return Bad("the header reaches beyond the end");
  const absl::string_view header = bytes.substr(8, header_bytes);
  const absl::string_view data = bytes.substr(8 + header_bytes);
  // Depth is bounded so that nested brackets cannot exhaust the stack.
  bool too_deep = false;
  const auto json = nlohmann::json::parse(header.begin(), header.end(), [&](int depth, auto, auto&) {
    too_deep |= depth > 4;
    return !too_deep;
  }, /*allow_exceptions=*/false);
  if (json.is_discarded() || !json.is_object() || too_deep) return Bad("the header is not a JSON object of tensors");
  if (json.size() > kMaxTensors) return Bad("too many tensors");

  SafeTensors file;
  std::vector<TensorInfo> infos;
  for (const auto& [name, value] : json.items()) {
    if (name == "__metadata__") {
      ASSIGN_OR_RETURN(file.metadata, ParseMetadata(value));
      continue;
    }
    ASSIGN_OR_RETURN(TensorInfo info, ParseInfo(name, value));
    infos.push_back(std::move(info));
  }
  RETURN_IF_ERROR(CheckLayout(infos, data.size()));
  for (const TensorInfo& info : infos) {
    at::Tensor tensor = at::empty(info.shape, at::TensorOptions(info.dtype));
    if (info.end > info.begin) std::memcpy(tensor.data_ptr(), data.data() + info.begin, info.end - info.begin);
    file.tensors.emplace(info.name, std::move(tensor));
  }
  return file;
}

std::string SerializeSafeTensors(const SafeTensors& file) {
  nlohmann::json header = nlohmann::json::object();
  if (!file.metadata.empty()) header["__metadata__"] = file.metadata;
  std::string data;
  for (const auto& [name, tensor] : file.tensors) {
    const at::Tensor plain = tensor.detach().cpu().contiguous();
    const auto dtype = std::find_if(Dtypes().begin(), Dtypes().end(),
                                    [&](const auto& item) { return item.second == plain.scalar_type(); });
    GRAFT_CHECK(dtype != Dtypes().end());
    const size_t begin = data.size();
    data.append(static_cast<const char*>(plain.data_ptr()), plain.nbytes());
    header[name] = {{"dtype", dtype->first}, {"shape", plain.sizes().vec()}, {"data_offsets", {begin, data.size()}}};
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  std::string bytes(8, '\0');
  for (int i = 0; i < 8; ++i) bytes[i] = static_cast<char>(text.size() >> (8 * i));
  return bytes + text + data;
}

absl::StatusOr<SafeTensors> ReadSafeTensors(const std::string& path) {
  constexpr uint64_t kMaxFileBytes = uint64_t{4} << 30;
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return absl::NotFoundError(absl::StrCat("no file ", path));
  const uint64_t size = std::filesystem::file_size(path, error);
  if (error) return absl::InternalError(absl::StrCat("cannot read ", path, ": ", error.message()));
  if (size > kMaxFileBytes) return Bad(absl::StrCat("got a file of ", size, " bytes, want at most ", kMaxFileBytes));
  std::string bytes(size, '\0');
  std::ifstream in(path, std::ios::binary);
  if (!in.read(bytes.data(), static_cast<std::streamsize>(size))) return absl::InternalError(absl::StrCat("cannot read ", path));
  return ParseSafeTensors(bytes);
}

}  // namespace graft

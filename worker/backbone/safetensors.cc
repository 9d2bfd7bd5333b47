#include "worker/backbone/safetensors.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "worker/backbone/tensor_file.h"
#include "worker/base/status.h"

namespace graft {
namespace {

constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the reference implementation's limit
constexpr size_t kMaxRank = 16;
constexpr size_t kMaxArray = 64;  // values; longer shapes than kMaxRank get their own message
constexpr size_t kMaxDepth = 4;  // the format needs 3: header, tensor, shape
constexpr char kNoObject[] = "the header is not a JSON object of tensors";

const std::map<std::string, at::ScalarType>& Dtypes() {
  static const auto* const dtypes = new std::map<std::string, at::ScalarType>{
      {"F32", at::kFloat}, {"F16", at::kHalf}, {"BF16", at::kBFloat16}, {"F64", at::kDouble},
      {"I64", at::kLong},  {"I32", at::kInt},  {"U8", at::kByte}};
  return *dtypes;
}

absl::Status Bad(const std::string& message) { return absl::DataLossError("safetensors: " + message); }

bool IsCount(const nlohmann::json& value) { return value.is_number_unsigned(); }

// What the JSON library lets pass and the format does not: a key twice (the library keeps the last one), nesting and
// objects without end.
class HeaderCheck final : public nlohmann::json_sax<nlohmann::json> {
 public:
  const absl::Status& status() const { return status_; }

  bool null() override { return Value(); }
  bool boolean(bool) override { return Value(); }
  bool number_integer(number_integer_t) override { return Value(); }
  bool number_unsigned(number_unsigned_t) override { return Value(); }
  bool number_float(number_float_t, const string_t&) override { return Value(); }
  bool string(string_t&) override { return Value(); }
  bool binary(binary_t&) override { return Value(); }
  bool start_array(size_t) override { return Value() && Open(); }
  bool end_array() override { return Close(); }
  bool start_object(size_t) override { return Value() && Open(); }
  bool end_object() override { return Close(); }
  bool key(string_t& key) override {
    std::set<std::string>& keys = open_.back().keys;
    open_.back().values = 0;
    if (!keys.insert(key).second) return Fail(absl::StrCat("the header has \"", key, "\" twice"));
    if (keys.size() > kMaxTensors + 1) return Fail(absl::StrCat("the header has more than ", kMaxTensors, " tensors"));
    return true;
  }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception&) override { return Fail(kNoObject); }

 private:
  // An array holds a shape or two offsets: a long one would only cost memory.
  bool Value() { return open_.empty() || ++open_.back().values <= kMaxArray || Fail("the header has a long array"); }
  bool Open() {
    open_.emplace_back();
    return open_.size() <= kMaxDepth || Fail(kNoObject);
  }
  bool Close() {
    open_.pop_back();
    return true;
  }
  bool Fail(const std::string& message) {
    status_ = Bad(message);
    return false;
  }

  absl::Status status_;
  struct Level {
    std::set<std::string> keys;  // of an object
    size_t values = 0;           // of an array; of an object since its last key
  };
  std::vector<Level> open_;  // objects and arrays, outermost first
};

absl::Status ParseHeader(absl::string_view header, nlohmann::json* out) {
  // The library would skip a byte order mark or blanks at the start, and stop at a zero byte.
  if (header.empty() || header[0] != '{' || header.find('\0') != absl::string_view::npos) return Bad(kNoObject);
  HeaderCheck check;
  if (!nlohmann::json::sax_parse(header.begin(), header.end(), &check)) return check.status();
  *out = nlohmann::json::parse(header.begin(), header.end(), nullptr, /*allow_exceptions=*/false);
  return out->is_object() ? absl::OkStatus() : Bad(kNoObject);
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
  SortByOffset(&infos);
  uint64_t at = 0;
  for (const TensorInfo& info : infos) {
    if (info.begin != at) {
      return Bad(absl::StrCat("tensor \"", info.name, "\": got offset ", info.begin, ", want ", at));
    }
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
  if (header_bytes > kMaxHeaderBytes) {
    return Bad(absl::StrCat("got a header of ", header_bytes, " bytes, want at most ", kMaxHeaderBytes));
  }
  if (header_bytes > bytes.size() - 8) return Bad("the header reaches beyond the end");
  const absl::string_view header = bytes.substr(8, header_bytes);
  const absl::string_view data = bytes.substr(8 + header_bytes);
  nlohmann::json json;
  RETURN_IF_ERROR(ParseHeader(header, &json));

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
  file.tensors = CopyTensors(infos, data);
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
  ASSIGN_OR_RETURN(const std::string bytes, ReadTensorFile(path));
  return ParseSafeTensors(bytes);
}

}  // namespace graft

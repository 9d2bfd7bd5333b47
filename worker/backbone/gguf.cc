#include "worker/backbone/gguf.h"

#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "worker/backbone/tensor_file.h"
#include "worker/base/status.h"

namespace graft {
namespace {

constexpr uint64_t kMaxKeyValues = 100'000;
constexpr uint64_t kMaxNameBytes = 65'535;  // the specification's bound on keys
constexpr uint32_t kMaxRank = 4;            // GGML_MAX_DIMS
constexpr int kMaxArrayDepth = 4;
constexpr uint64_t kDefaultAlignment = 32, kMinAlignment = 8, kMaxAlignment = 4096;
constexpr char kAlignmentKey[] = "general.alignment";

enum ValueType : uint32_t { kUint32 = 4, kText = 8, kArray = 9, kNumTypes = 13 };
// By value type: its bytes; 0 for text and arrays, whose sizes follow.
constexpr uint64_t kValueBytes[kNumTypes] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

absl::Status Bad(absl::string_view field, absl::string_view what) {
  return absl::DataLossError(absl::StrCat("gguf: ", field, ": ", what));
}

std::string Quoted(absl::string_view kind, absl::string_view name) { return absl::StrCat(kind, " \"", name, "\""); }

// RFC 3629: no overlong forms, no surrogates, nothing past U+10FFFF. Names and texts end in JSON and protobuf strings,
// which hold nothing else.
bool IsUtf8(absl::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  for (size_t i = 0; i < text.size();) {
    const unsigned lead = byte(i);
    const size_t length = lead < 0x80 ? 1 : lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
    if (length == 0 || text.size() - i < length) return false;
    for (size_t k = 1; k < length; ++k) {
      if (byte(i + k) >> 6 != 2) return false;
    }
    if (lead == 0xE0 && byte(i + 1) < 0xA0) return false;
    if (lead == 0xED && byte(i + 1) >= 0xA0) return false;
    if (lead == 0xF0 && byte(i + 1) < 0x90) return false;
    if (lead == 0xF4 && byte(i + 1) >= 0x90) return false;
    i += length;
  }
  return true;
}

// Reads from the front; never beyond the end. `field` names what is read, for messages.
class Cursor {
 public:
  explicit Cursor(absl::string_view bytes) : bytes_(bytes) {}

  uint64_t position() const { return position_; }
  uint64_t left() const { return bytes_.size() - position_; }

  absl::StatusOr<absl::string_view> Take(uint64_t size, absl::string_view field) {
    if (size > left()) return Bad(field, absl::StrCat("got ", size, " bytes, want at most the ", left(), " left"));
    const absl::string_view taken = bytes_.substr(position_, size);
    position_ += size;
    return taken;
  }

  absl::StatusOr<uint32_t> U32(absl::string_view field) {
    ASSIGN_OR_RETURN(const uint64_t number, LittleEndian(4, field));
    return static_cast<uint32_t>(number);
  }
  absl::StatusOr<uint64_t> U64(absl::string_view field) { return LittleEndian(8, field); }

  absl::StatusOr<absl::string_view> Text(absl::string_view field,
                                         uint64_t max_bytes = std::numeric_limits<uint64_t>::max()) {
    ASSIGN_OR_RETURN(const uint64_t size, U64(field));
    if (size > max_bytes) return Bad(field, absl::StrCat("got ", size, " bytes, want at most ", max_bytes));
    ASSIGN_OR_RETURN(const absl::string_view text, Take(size, field));
    if (!IsUtf8(text)) return Bad(field, "want UTF-8");
    return text;
  }

 private:
  absl::StatusOr<uint64_t> LittleEndian(uint64_t size, absl::string_view field) {
    ASSIGN_OR_RETURN(const absl::string_view bytes, Take(size, field));
    uint64_t number = 0;
    for (uint64_t i = size; i-- > 0;) number = number << 8 | static_cast<unsigned char>(bytes[i]);
    return number;
  }

  const absl::string_view bytes_;
  uint64_t position_ = 0;
};

struct Header {
  uint64_t tensors = 0, key_values = 0;
};

absl::StatusOr<Header> ParseHeader(Cursor* in) {
  ASSIGN_OR_RETURN(const absl::string_view magic, in->Take(4, "magic"));
  if (magic != "GGUF") return Bad("magic", "want GGUF");
  ASSIGN_OR_RETURN(const uint32_t version, in->U32("version"));
  if (version != 0 && version << 8 == 0) return Bad("version", "got a big-endian file, want a little-endian one");
  if (version != 2 && version != 3) return Bad("version", absl::StrCat("got ", version, ", want 2 or 3"));
  Header header;
  ASSIGN_OR_RETURN(header.tensors, in->U64("tensor count"));
  ASSIGN_OR_RETURN(header.key_values, in->U64("key-value count"));
  if (header.tensors > kMaxTensors) {
    return Bad("tensor count", absl::StrCat("got ", header.tensors, ", want at most ", kMaxTensors));
  }
  if (header.key_values > kMaxKeyValues) {
    return Bad("key-value count", absl::StrCat("got ", header.key_values, ", want at most ", kMaxKeyValues));
  }
  return header;
}

absl::Status SkipValue(uint32_t type, absl::string_view field, int depth, Cursor* in);

absl::Status SkipArray(absl::string_view field, int depth, Cursor* in) {
  if (depth > kMaxArrayDepth) return Bad(field, absl::StrCat("got arrays nested deeper than ", kMaxArrayDepth));
  ASSIGN_OR_RETURN(const uint32_t type, in->U32(field));
  ASSIGN_OR_RETURN(const uint64_t count, in->U64(field));
  if (type >= kNumTypes) return Bad(field, absl::StrCat("got value type ", type, ", want at most ", kNumTypes - 1));
  const uint64_t least_bytes = type == kText ? 8 : type == kArray ? 12 : kValueBytes[type];  // of one element
  if (count > in->left() / least_bytes) {
    return Bad(field, absl::StrCat("got ", count, " elements, want what fits the ", in->left(), " bytes left"));
  }
  if (kValueBytes[type] > 0) return in->Take(count * kValueBytes[type], field).status();
  for (uint64_t i = 0; i < count; ++i) RETURN_IF_ERROR(SkipValue(type, field, depth, in));
  return absl::OkStatus();
}

absl::Status SkipValue(uint32_t type, absl::string_view field, int depth, Cursor* in) {
  if (type >= kNumTypes) return Bad(field, absl::StrCat("got value type ", type, ", want at most ", kNumTypes - 1));
  if (type == kArray) return SkipArray(field, depth + 1, in);
  uint64_t bytes = kValueBytes[type];
  if (type == kText) {  // vocabularies hold bytes that are not UTF-8
    ASSIGN_OR_RETURN(bytes, in->U64(field));
  }
  return in->Take(bytes, field).status();
}

struct KeyValues {
  std::map<std::string, std::string> texts;
  uint64_t alignment = kDefaultAlignment;
};

absl::StatusOr<uint64_t> ParseAlignment(uint32_t type, Cursor* in) {
  if (type != kUint32) return Bad(kAlignmentKey, absl::StrCat("got value type ", type, ", want ", kUint32));
  ASSIGN_OR_RETURN(const uint64_t alignment, in->U32(kAlignmentKey));
  if (alignment < kMinAlignment || alignment > kMaxAlignment || (alignment & (alignment - 1)) != 0) {
    return Bad(kAlignmentKey, absl::StrCat("got ", alignment, ", want a power of two from ", kMinAlignment, " to ",
                                           kMaxAlignment));
  }
  return alignment;
}

absl::StatusOr<KeyValues> ParseKeyValues(uint64_t count, Cursor* in) {
  KeyValues values;
  std::set<absl::string_view> keys;
  for (uint64_t i = 0; i < count; ++i) {
    ASSIGN_OR_RETURN(const absl::string_view key, in->Text("key", kMaxNameBytes));
    const std::string field = Quoted("key", key);
    if (!keys.insert(key).second) return Bad(field, "got it twice");
    ASSIGN_OR_RETURN(const uint32_t type, in->U32(field));
    if (key == kAlignmentKey) {
      ASSIGN_OR_RETURN(values.alignment, ParseAlignment(type, in));
    } else if (type == kText) {
      ASSIGN_OR_RETURN(const absl::string_view text, in->Text(field));
      values.texts.emplace(std::string(key), std::string(text));
    } else {
      RETURN_IF_ERROR(SkipValue(type, field, 0, in));
    }
  }
  return values;
}

absl::StatusOr<at::ScalarType> Dtype(uint32_t type, absl::string_view field) {
  switch (type) {  // ggml_type
    case 0: return at::kFloat;
    case 1: return at::kHalf;
    case 30: return at::kBFloat16;
    default: return Bad(field, absl::StrCat("got tensor type ", type, ", want 0 (F32), 1 (F16) or 30 (BF16)"));
  }
}

absl::StatusOr<TensorInfo> ParseInfo(uint64_t alignment, Cursor* in) {
  TensorInfo info;
  ASSIGN_OR_RETURN(const absl::string_view name, in->Text("tensor name", kMaxNameBytes));
  info.name = std::string(name);
  const std::string field = Quoted("tensor", name);
  ASSIGN_OR_RETURN(const uint32_t rank, in->U32(field));
  if (rank > kMaxRank) return Bad(field, absl::StrCat("got ", rank, " dimensions, want at most ", kMaxRank));
  info.shape.resize(rank);
  for (uint32_t i = rank; i-- > 0;) {  // the innermost comes first
    ASSIGN_OR_RETURN(const uint64_t extent, in->U64(field));
    if (extent > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      return Bad(field, absl::StrCat("got an extent of ", extent));
    }
    info.shape[i] = static_cast<int64_t>(extent);
  }
  ASSIGN_OR_RETURN(const uint32_t type, in->U32(field));
  ASSIGN_OR_RETURN(info.dtype, Dtype(type, field));
  ASSIGN_OR_RETURN(info.begin, in->U64(field));
  if (info.begin % alignment != 0) {
    return Bad(field, absl::StrCat("got offset ", info.begin, ", want a multiple of ", alignment));
  }
  const std::optional<uint64_t> bytes = ByteSize(info.shape, info.dtype);
  if (!bytes || __builtin_add_overflow(info.begin, *bytes, &info.end)) {
    return Bad(field, "its shape is larger than any file");
  }
  return info;
}

// Sorted by offset, they must lie within the data and share no byte. What is between them is padding.
absl::Status CheckLayout(std::vector<TensorInfo>* infos, uint64_t data_bytes) {
  std::set<absl::string_view> names;
  SortByOffset(infos);
  uint64_t end = 0;
  for (const TensorInfo& info : *infos) {
    const std::string field = Quoted("tensor", info.name);
    if (!names.insert(info.name).second) return Bad(field, "got it twice");
    if (info.end > data_bytes) {
      return Bad(field, absl::StrCat("got bytes ", info.begin, " to ", info.end, ", want them within ", data_bytes));
    }
    if (info.begin < end) return Bad(field, absl::StrCat("got offset ", info.begin, ", want at least ", end));
    end = info.end;
  }
  return absl::OkStatus();
}

// The name that graft's own metadata has. A file that has it already keeps its own. "general.architecture" is nobody's
// name for the network but its writer's.
void AddGraftNames(std::map<std::string, std::string>* texts) {
  const auto copy = [&](const char* from, const char* to) {
    const auto it = texts->find(from);
    if (it != texts->end()) texts->emplace(to, it->second);
  };
  copy("general.source", "source");
  copy("general.name", "source");
}

}  // namespace

absl::StatusOr<SafeTensors> ParseGguf(absl::string_view bytes) {
  Cursor in(bytes);
  ASSIGN_OR_RETURN(const Header header, ParseHeader(&in));
  ASSIGN_OR_RETURN(KeyValues values, ParseKeyValues(header.key_values, &in));
  std::vector<TensorInfo> infos;
  for (uint64_t i = 0; i < header.tensors; ++i) {
    ASSIGN_OR_RETURN(TensorInfo info, ParseInfo(values.alignment, &in));
    infos.push_back(std::move(info));
  }
  const uint64_t padding = (values.alignment - in.position() % values.alignment) % values.alignment;
  // A file without tensors may end without the padding.
  const absl::string_view data = padding < in.left() ? bytes.substr(in.position() + padding) : absl::string_view();
  RETURN_IF_ERROR(CheckLayout(&infos, data.size()));

  SafeTensors file;
  file.tensors = CopyTensors(infos, data);
  file.metadata = std::move(values.texts);
  AddGraftNames(&file.metadata);
  return file;
}

absl::StatusOr<SafeTensors> ReadGguf(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string bytes, ReadTensorFile(path));
  return ParseGguf(bytes);
}

}  // namespace graft

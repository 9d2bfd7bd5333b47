#include "server/ingest/names.h"

#include <cstddef>
#include <cstdint>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "worker/base/status.h"

namespace graft {
namespace {

constexpr size_t kMaxNameBytes = 64;
constexpr size_t kMaxLabelBytes = 128;
constexpr size_t kMaxPrintedBytes = 1024;

bool IsNameCharacter(char c) {
  return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '.' || c == '_' || c == '-';
}

// Returns the length of the UTF-8 sequence at the start of `text` and its code point; 0 when there is none.
size_t DecodeUtf8(absl::string_view text, uint32_t* code_point) {
  const auto first = static_cast<uint8_t>(text[0]);
  const size_t size = first < 0x80 ? 1 : first < 0xC2 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF5 ? 4 : 0;
  if (size == 0 || size > text.size()) return 0;
  *code_point = size == 1 ? first : first & (0x7Fu >> size);
  for (size_t i = 1; i < size; ++i) {
    const auto next = static_cast<uint8_t>(text[i]);
    if ((next & 0xC0) != 0x80) return 0;
    *code_point = *code_point << 6 | (next & 0x3Fu);
  }
  const bool overlong = (size == 3 && *code_point < 0x800) || (size == 4 && *code_point < 0x10000);
  const bool surrogate = *code_point >= 0xD800 && *code_point <= 0xDFFF;
  return overlong || surrogate || *code_point > 0x10FFFF ? 0 : size;
}

}  // namespace

absl::Status CheckName(absl::string_view field, absl::string_view name) {
  bool ok = !name.empty() && name.size() <= kMaxNameBytes &&
            (absl::ascii_islower(name[0]) || absl::ascii_isdigit(name[0]));
  for (size_t i = 0; ok && i < name.size(); ++i) ok = IsNameCharacter(name[i]);
  if (ok) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(field, ": got \"", Printable(name), "\", want 1 to ", kMaxNameBytes,
                                                 " of [a-z0-9._-], starting with a letter or digit"));
}

absl::Status CheckLabel(absl::string_view label, absl::string_view field) {
  if (!label.empty() && label.size() <= kMaxLabelBytes && IsPlainText(label)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(field, ": got \"", Printable(label), "\", want 1 to ", kMaxLabelBytes,
                                                 " bytes of UTF-8 without control characters"));
}

absl::Status CheckLabels(const std::vector<std::string>& labels) {
  if (labels.size() > kMaxLabels)
    return absl::InvalidArgumentError(
        absl::StrCat("labels: got more than ", kMaxLabels, " classes of one picture, want at most that many"));
  for (size_t i = 0; i < labels.size(); ++i) RETURN_IF_ERROR(CheckLabel(labels[i], absl::StrCat("labels[", i, "]")));
  return absl::OkStatus();
}

bool IsPlainText(absl::string_view text) {
  while (!text.empty()) {
    uint32_t code_point = 0;
    const size_t size = DecodeUtf8(text, &code_point);
    if (size == 0 || code_point < 0x20 || (code_point >= 0x7F && code_point < 0xA0)) return false;
    text.remove_prefix(size);
  }
  return true;
}

std::string Printable(absl::string_view text) {
  const absl::string_view head = text.substr(0, kMaxPrintedBytes);
  return IsPlainText(head) ? std::string(head) : absl::CHexEscape(head);
}

std::string PrintableLines(absl::string_view text) {
  return absl::StrJoin(absl::StrSplit(text, '\n'), "\n", [](std::string* out, absl::string_view line) {
    absl::StrAppend(out, Printable(line));
  });
}

}  // namespace graft

#include "server/ingest/entry_path.h"

#include <cstddef>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "server/ingest/names.h"

namespace graft {
namespace {

constexpr size_t kMaxPathBytes = 1024;

bool HasControlCharacter(absl::string_view name) {
  for (const char c : name)
    if (absl::ascii_iscntrl(c)) return true;
  return false;
}

// What is wrong with the name as a whole; empty: nothing.
absl::string_view NameFault(absl::string_view name) {
  if (name.empty()) return "an empty name";
  if (name.size() > kMaxPathBytes) return "over 1024 bytes";
  if (HasControlCharacter(name)) return "a control character";
  if (absl::StrContains(name, '\\')) return "a backslash";
  if (name[0] == '/') return "an absolute path";
  if (name.size() >= 2 && absl::ascii_isalpha(name[0]) && name[1] == ':') return "a drive letter";
  return "";
}

absl::Status Refuse(absl::string_view name, absl::string_view fault) {
  return absl::InvalidArgumentError(
      absl::StrCat("archive: entry \"", Printable(name), "\": got ", fault, ", want a relative path"));
}

}  // namespace

absl::StatusOr<std::string> NormalizeEntryPath(absl::string_view name) {
  const absl::string_view fault = NameFault(name);
  if (!fault.empty()) return Refuse(name, fault);
  std::vector<absl::string_view> kept;
  for (const absl::string_view part : absl::StrSplit(absl::StripSuffix(name, "/"), '/')) {
    if (part.empty()) return Refuse(name, "an empty component");
    if (part == "..") return Refuse(name, "\"..\"");
    if (part != ".") kept.push_back(part);
  }
  return absl::StrJoin(kept, "/");
}

bool IsJunk(absl::string_view path) {
  for (const absl::string_view part : absl::StrSplit(path, '/'))
    if (absl::StartsWith(part, ".") || part == "__MACOSX") return true;
  const std::string name = absl::AsciiStrToLower(FileName(path));
  return name == "thumbs.db" || name == "desktop.ini" || name == "license" || name == "licence" || name == "readme" ||
         absl::EndsWith(name, ".txt") || absl::EndsWith(name, ".md");
}

absl::string_view FileName(absl::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == absl::string_view::npos ? path : path.substr(slash + 1);
}

absl::string_view Folder(absl::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == absl::string_view::npos ? absl::string_view() : path.substr(0, slash);
}

}  // namespace graft

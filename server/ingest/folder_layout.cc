#include "server/ingest/folder_layout.h"

#include <cstddef>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace graft {
namespace {

using Folders = std::vector<absl::string_view>;  // of one picture, from the top

Folders FoldersOf(absl::string_view path) {
  Folders folders = absl::StrSplit(path, '/');
  folders.pop_back();
  return folders;
}

bool IsSplitAt(const Folders& folders, size_t depth) {
  return folders.size() >= depth + 2 && ParseSplit(folders[depth]) != Split::kUnspecified;
}

bool AnySplitAt(const std::vector<Folders>& all, size_t depth) {
  for (const Folders& folders : all)
    if (IsSplitAt(folders, depth)) return true;
  return false;
}

// 1 when the first folder says nothing because all pictures are in it, else 0. Pictures outside all folders get no
// label either way, and have no say here.
size_t TopFolders(const std::vector<Folders>& all) {
  absl::string_view top;
  bool all_nested = true;
  for (const Folders& folders : all) {
    if (folders.empty()) continue;
    if (top.empty()) top = folders[0];
    if (folders[0] != top) return 0;
    all_nested = all_nested && folders.size() >= 2;
  }
  if (top.empty() || AnySplitAt(all, 0)) return 0;
  return all_nested || AnySplitAt(all, 1) ? 1 : 0;
}

Placement Outside(const char* want) {
  Placement placement;
  placement.reason = absl::StrCat("archive: got a picture outside the class folders, want ", want);
  return placement;
}

Placement Place(const Folders& folders, size_t top, bool with_splits) {
  Placement placement;
  if (with_splits) {
    if (!IsSplitAt(folders, top)) return Outside("{train,val,test}/CLASS/FILE like others in this archive");
    placement.split = ParseSplit(folders[top]);
    placement.label = std::string(folders[top + 1]);
    return placement;
  }
  // "train" as a class is a split without classes, which would train to tell training from test pictures.
  if (folders.size() <= top || ParseSplit(folders[top]) != Split::kUnspecified)
    return Outside("CLASS/FILE or {train,val,test}/CLASS/FILE");
  placement.label = std::string(folders[top]);
  return placement;
}

}  // namespace

std::vector<Placement> PlaceByFolders(const std::vector<std::string>& paths) {
  std::vector<Folders> all;
  all.reserve(paths.size());
  for (const std::string& path : paths) all.push_back(FoldersOf(path));
  const size_t top = TopFolders(all);
  const bool with_splits = AnySplitAt(all, top);
  std::vector<Placement> placements;
  placements.reserve(all.size());
  for (const Folders& folders : all) placements.push_back(Place(folders, top, with_splits));
  return placements;
}

Split ParseSplit(absl::string_view name) {
  const std::string lower = absl::AsciiStrToLower(name);
  if (lower == "train") return Split::kTrain;
  if (lower == "val" || lower == "valid" || lower == "validation") return Split::kValidation;
  if (lower == "test") return Split::kTest;
  return Split::kUnspecified;
}

absl::string_view SplitName(Split split) {
  switch (split) {
    case Split::kTrain: return "train";
    case Split::kValidation: return "validation";
    case Split::kTest: return "test";
    case Split::kUnspecified: break;
  }
  return "unspecified";
}

}  // namespace graft

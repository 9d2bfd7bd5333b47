#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace graft {

// Returns an archive entry's name as folders and file joined by single slashes: without "." components and without the
// slash that ends a folder's name. Empty for the root ("./").
//   InvalidArgument  what could lead out of a folder on any system, or hide what it is: an absolute path, a drive
//                    letter, "..", a backslash, a control character, an empty component, over 1024 bytes
absl::StatusOr<std::string> NormalizeEntryPath(absl::string_view name);

// Whether an entry is what file managers, operating systems and publishers leave beside pictures: hidden files and
// folders, __MACOSX/, Thumbs.db, desktop.ini, LICENSE, README, *.txt, *.md.
bool IsJunk(absl::string_view path);

absl::string_view FileName(absl::string_view path);
// Without the last slash; empty at the root.
absl::string_view Folder(absl::string_view path);

}  // namespace graft

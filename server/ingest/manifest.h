#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/store/records.h"

namespace graft {

struct ManifestLine {
  int64_t line = 0;  // from 1, where the record begins
  std::string path;  // normalised, relative to the manifest's folder
  // Class names, parted by line feeds, which none of them holds: one string, because a manifest may have millions. One
  // name, but with Manifest::multi_label.
  std::string labels;
  Split split = Split::kUnspecified;

  std::vector<std::string> Labels() const;
};

struct Manifest {
  bool multi_label = false;  // the column or key is `labels`
  std::vector<ManifestLine> lines;
};

constexpr int64_t kMaxManifestBytes = 64 << 20;

// Whether `path` is a manifest: "manifest.csv" or "manifest.jsonl" in any folder.
bool IsManifest(absl::string_view path);

// Parses the manifest that is called `path` (which decides the format, and begins each error message).
//   CSV    RFC 4180, UTF-8; the first record names the columns path, label or labels, and, when wanted, split, in any
//          order; labels are parted by "|", and nothing is no class
//   JSONL  one object a line: {"path": ..., "label": ..., "split": ...}, split optional, or with "labels": [...] in all
// An empty split is none. Blank lines count, but say nothing.
//   InvalidArgument  "manifest.csv:12: ...": syntax, an unknown column or key, label and labels in one manifest, a bad
//                    path, label or split, more than kMaxLabels classes, a path that is listed twice, more than
//                    `max_lines` pictures
absl::StatusOr<Manifest> ParseManifest(absl::string_view path, absl::string_view text, int64_t max_lines);

}  // namespace graft

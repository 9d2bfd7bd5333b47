#include "server/ingest/version_contents.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/ingest/folder_layout.h"
#include "server/store/blob_store.h"

namespace graft {
namespace {

// What stands before the pictures in the text that a version is the digest of.
std::string ContentHeader(const DatasetVersion& version) {
  if (!version.multi_label) return "graft dataset version 1\n";
  std::string text = "graft multi-label dataset version 1\n";
  for (const ClassCount& count : version.classes) absl::StrAppend(&text, "class\t", count.name, "\n");
  return text;
}

// One picture in it; of many classes by number, or the text of the largest dataset would be gigabytes.
std::string ContentLine(const DatasetItem& item, const DatasetVersion& version) {
  const std::string labels = version.multi_label ? absl::StrJoin(item.labels, ",") : version.classes[item.labels[0]].name;
  return absl::StrCat(item.image_digest, "\t", labels, "\t", SplitName(item.split), "\t", item.file_name, "\n");
}

template <typename Counts>
void Count(Split split, Counts* counts) {
  ++(split == Split::kTrain ? counts->train : split == Split::kValidation ? counts->validation : counts->test);
}

}  // namespace

std::string ContentDigest(const std::vector<DatasetItem>& items, const DatasetVersion& version) {
  std::vector<std::string> lines;
  lines.reserve(items.size());
  for (const DatasetItem& item : items) lines.push_back(ContentLine(item, version));
  std::sort(lines.begin(), lines.end());
  std::string text = ContentHeader(version);
  for (const std::string& line : lines) text += line;
  return Digest(text);
}

void CountItems(const std::vector<DatasetItem>& items, DatasetVersion* version) {
  for (const DatasetItem& item : items) {
    Count(item.split, &version->images);
    for (const int label : item.labels) Count(item.split, &version->classes[label]);
    version->bytes += item.bytes;
  }
  version->image_count = static_cast<int64_t>(items.size());
}

absl::Status CheckCounts(const DatasetVersion& version) {
  const std::vector<ClassCount>& classes = version.classes;
  const size_t wanted = version.multi_label ? 1 : 2;
  if (classes.size() < wanted)
    return absl::InvalidArgumentError(absl::StrCat(
        "dataset: got ", classes.size(), " classes with pictures",
        classes.empty() ? "" : absl::StrCat(" (\"", classes[0].name, "\")"), ", want at least ", wanted));
  for (const ClassCount& count : classes)
    if (count.train == 0)
      return absl::InvalidArgumentError(
          absl::StrCat("dataset: class \"", count.name, "\": got 0 training pictures, want at least 1"));
  // Given none, the server takes them from every class that can spare one.
  if (version.images.validation > 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      version.multi_label
          ? "validation: got no pictures, want at least one: no class can spare one, add pictures"
          : "validation: got no pictures, want at least one: give a class two pictures or more");
}

}  // namespace graft

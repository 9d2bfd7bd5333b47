#include "server/ingest/archive_import.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/ingest/entry_path.h"
#include "server/ingest/folder_layout.h"
#include "server/ingest/manifest.h"
#include "server/ingest/names.h"
#include "worker/base/status.h"

namespace graft {
namespace {

// One archive on its way in. Pictures are checked and stored as they come, and labelled when all is read: a manifest
// may be the last entry, and which folder is the label shows only in all paths together.
class Import {
 public:
  Import(const IngestLimits& limits, DatasetBuilder* builder) : limits_(limits), builder_(builder) {}

  absl::Status Run(const ArchiveSource& source) {
    ASSIGN_OR_RETURN(const std::unique_ptr<ArchiveReader> reader,
                     ArchiveReader::Create(source, {limits_.max_entries(), limits_.max_total_bytes}));
    while (true) {
      ASSIGN_OR_RETURN(const std::optional<ArchiveEntry> entry, reader->Next());
      if (!entry.has_value()) break;
      if (entry->is_folder || entry->path.empty() || IsJunk(entry->path)) continue;
      RETURN_IF_ERROR(IsManifest(entry->path) ? TakeManifest(entry->path, reader.get())
                                              : TakePicture(entry->path, reader.get()));
    }
    // By name, so that the same files give the same version in whatever order they were packed.
    std::sort(files_.begin(), files_.end(), [](const File& a, const File& b) { return a.path < b.path; });
    return manifest_path_.empty() ? LabelByFolders() : LabelByManifest();
  }

 private:
  struct File {
    std::string path;
    std::string digest;  // empty: not a picture, already rejected
  };

  absl::Status TakeManifest(const std::string& path, ArchiveReader* reader) {
    if (!manifest_path_.empty())
      return absl::InvalidArgumentError(absl::StrCat("archive: got two manifests, \"", Printable(manifest_path_),
                                                     "\" and \"", Printable(path), "\", want at most one"));
    ASSIGN_OR_RETURN(const std::optional<std::string> text, reader->Read(kMaxManifestBytes));
    if (!text.has_value())
      return absl::InvalidArgumentError(
          absl::StrCat(Printable(path), ": got more than ", kMaxManifestBytes, " bytes, want at most that many"));
    manifest_path_ = path;
    ASSIGN_OR_RETURN(manifest_, ParseManifest(path, *text, limits_.max_entries()));
    if (!manifest_.multi_label) return absl::OkStatus();
    return builder_->SetMultiLabel(true, absl::StrCat(Printable(path), " has labels, not label"));
  }

  absl::Status TakePicture(const std::string& path, ArchiveReader* reader) {
    ASSIGN_OR_RETURN(const std::optional<std::string> bytes, reader->Read(limits_.image.max_bytes));
    if (!bytes.has_value()) {
      Reject(path, absl::StrCat("image: got more than ", limits_.image.max_bytes, " bytes, want at most that many"));
      return absl::OkStatus();
    }
    ASSIGN_OR_RETURN(const DatasetBuilder::Verdict verdict, builder_->Check(*bytes));
    if (verdict.accepted)
      files_.push_back({path, verdict.image_digest});
    else
      Reject(path, verdict.reason);
    return absl::OkStatus();
  }

  void Reject(const std::string& path, const std::string& reason) {
    builder_->Reject(path, reason);
    files_.push_back({path, ""});
  }

  absl::Status Label(const File& file, const std::vector<std::string>& labels, Split split) {
    const absl::Status status = builder_->Label(file.digest, labels, split, file.path).status();
    if (status.ok()) return status;
    return absl::Status(status.code(),
                        absl::StrCat("archive: entry \"", Printable(file.path), "\": ", status.message()));
  }

  absl::Status LabelByFolders() {
    files_.erase(std::remove_if(files_.begin(), files_.end(), [](const File& file) { return file.digest.empty(); }),
                 files_.end());
    std::vector<std::string> paths;
    paths.reserve(files_.size());
    for (const File& file : files_) paths.push_back(file.path);
    const std::vector<Placement> placements = PlaceByFolders(paths);
    for (size_t i = 0; i < files_.size(); ++i) {
      const Placement& place = placements[i];
      if (place.reason.empty())
        RETURN_IF_ERROR(Label(files_[i], {place.label}, place.split));
      else
        builder_->Reject(files_[i].path, place.reason);
    }
    return absl::OkStatus();
  }

  absl::Status LabelByManifest() {
    struct Listed {
      const ManifestLine* line;
      bool found;
    };
    const absl::string_view folder = Folder(manifest_path_);
    std::unordered_map<std::string, Listed> listed;
    for (const ManifestLine& line : manifest_.lines)
      listed.emplace(folder.empty() ? line.path : absl::StrCat(folder, "/", line.path), Listed{&line, false});
    for (const File& file : files_) {
      const auto it = listed.find(file.path);
      if (it != listed.end()) it->second.found = true;
      if (file.digest.empty()) continue;
      if (it == listed.end())
        builder_->Reject(file.path, "in the archive, not listed in the manifest");
      else
        RETURN_IF_ERROR(Label(file, it->second.line->Labels(), it->second.line->split));
    }
    for (const ManifestLine& line : manifest_.lines) {
      const std::string path = folder.empty() ? line.path : absl::StrCat(folder, "/", line.path);
      if (!listed.at(path).found) builder_->Reject(path, "listed in the manifest, not in the archive");
    }
    return absl::OkStatus();
  }

  const IngestLimits limits_;
  DatasetBuilder* const builder_;
  std::vector<File> files_;
  std::string manifest_path_;
  Manifest manifest_;
};

}  // namespace

absl::Status ImportArchive(const ArchiveSource& source, const IngestLimits& limits, DatasetBuilder* builder) {
  RETURN_IF_ERROR(limits.Validate());
  return Import(limits, builder).Run(source);
}

}  // namespace graft

#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

struct archive;
struct archive_entry;

namespace graft {

// Gives the next bytes of an archive; empty = end; an error breaks the import off with that status.
using ArchiveSource = std::function<absl::StatusOr<std::string>()>;

struct ArchiveLimits {
  int64_t max_entries = 0;
  int64_t max_total_bytes = 0;  // of all entries, decompressed
};

struct ArchiveEntry {
  std::string path;  // checked and normalised
  bool is_folder = false;
};

// Reads the entries of a zip, tar or tar.gz in order, as its bytes arrive, and trusts none of them. Holds about one
// piece of the source at a time. The only user of libarchive.
//
// Threads: one at a time.
class ArchiveReader {
 public:
  static absl::StatusOr<std::unique_ptr<ArchiveReader>> Create(ArchiveSource source, const ArchiveLimits& limits);

  // The next entry; nullopt after the last one, when the source was read to its end and nothing was missing.
  //   InvalidArgument    as for ImportArchive(), manifests aside
  //   ResourceExhausted  out of memory
  //   and what the source returned
  absl::StatusOr<std::optional<ArchiveEntry>> Next();
  // The bytes of the entry that Next() returned; nullopt when there are more than `max_bytes`. At most once an entry.
  // Same errors as Next().
  absl::StatusOr<std::optional<std::string>> Read(int64_t max_bytes);

 private:
  struct Free {
    void operator()(archive* a) const;
  };
  ArchiveReader(ArchiveSource source, const ArchiveLimits& limits, archive* a);

  static ssize_t OnRead(archive* a, void* self, const void** bytes);
  ssize_t PullForArchive(const void** bytes);
  // Fills chunk_; empty at the end.
  absl::Status Pull();
  // Why libarchive failed.
  absl::Status Failure(absl::string_view where) const;
  absl::Status CheckFormat() const;
  absl::StatusOr<ArchiveEntry> CheckEntry(archive_entry* entry);
  absl::Status CheckBomb() const;
  absl::Status CountEntryBytes(int64_t bytes);
  // Reads the source to its end: what follows the entries shows whether the archive is whole.
  absl::Status Finish();
  absl::Status CheckZipEnd() const;

  const ArchiveSource source_;
  const ArchiveLimits limits_;
  absl::Status source_status_;
  std::string chunk_;  // libarchive reads it until it asks for the next one
  std::string tail_;   // at least the last kTailBytes received, or all
  bool source_ended_ = false;
  int64_t received_bytes_ = 0;
  int64_t entry_bytes_ = 0;  // decompressed
  int64_t entries_ = 0;
  bool entry_open_ = false;  // its data was not read yet
  std::string entry_name_;   // printable, for messages
  const std::unique_ptr<archive, Free> archive_;  // last: calls back into the others
};

}  // namespace graft

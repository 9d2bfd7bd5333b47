#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/base/mutex.h"
#include "worker/data/activation_file.h"

namespace graft {

// Keeps rows of bytes (what a frozen prefix computed of a picture) in memory-mapped files, one for each way of
// computing them, across jobs and restarts and within a disk budget. Files that nobody uses make room, the least
// recently used first. So does a file of which fewer than half the rows were read or written while it was held and a
// write, to it or another, found no room: its last holder deletes it, and the next use begins it anew. What the store
// loses is computed again: it never fails, it only forgets.
//
// Threads:  safe.
// Lifetime: a space may outlive its store; the directory stays locked until both are gone. Other files in the directory
//           than <32 hex digits>.act and lock are left alone.
class ActivationStore {
  class Disk;

 public:
  struct Options {
    std::string directory;                    // made if need be
    int64_t budget_bytes = int64_t{8} << 30;  // of all files together
  };
  //   Internal            the directory or its lock file cannot be made or read
  //   FailedPrecondition  another process, or another store of this one, holds the directory
  static absl::StatusOr<std::unique_ptr<ActivationStore>> Open(Options options);

  // All rows that were computed in one way. Its file is not deleted before its last holder is gone.
  class Space {
   public:
    ~Space();
    Space(const Space&) = delete;
    Space& operator=(const Space&) = delete;

    // Copies the row of `id` to `row` (row_bytes). False when there is none, or when what is stored is damaged: it is
    // then forgotten and has to be computed again. `row` holds garbage after false.
    bool Read(absl::string_view id, char* row);

    // Stores a row that is not stored yet; one that is stays. Does nothing but count it when the disk or the budget is
    // full.
    void Write(absl::string_view id, const char* row);

    int64_t rows() const { return file_->rows(); }

   private:
    friend class ActivationStore;
    Space(std::shared_ptr<Disk> disk, std::string name, std::string key, int64_t row_bytes);

    const std::shared_ptr<Disk> disk_;
    const std::string name_;  // of the file
    const std::string key_;
    const int64_t row_bytes_;
    const int64_t dropped_before_;  // Stats::dropped when it was opened
    Mutex write_mu_;  // held while a row is appended
    std::unique_ptr<ActivationFile> file_;
  };

  // The space of the rows that were computed as `key` says (backbone digest, split point, preprocessing, dtype, view):
  // any text; two keys never share rows. While a space is held, the same key gives the same object. A file that is
  // damaged, of another version or row size is replaced.
  //   InvalidArgument     row_bytes is < 1 or > 64 MiB
  //   FailedPrecondition  the space is held with another row size
  absl::StatusOr<std::shared_ptr<Space>> OpenSpace(const std::string& key, int64_t row_bytes);

  // Since Open(), except `bytes`.
  struct Stats {
    int64_t hits = 0;           // reads that gave a row
    int64_t misses = 0;         // reads that did not
    int64_t corrupt = 0;        // misses because what was stored is damaged
    int64_t dropped = 0;        // writes that the disk or the budget had no room for
    int64_t evicted_files = 0;  // deleted to make room
    int64_t bytes = 0;          // of all files now
  };
  Stats stats() const;

 private:
  explicit ActivationStore(std::shared_ptr<Disk> disk);

  const std::shared_ptr<Disk> disk_;
};

}  // namespace graft

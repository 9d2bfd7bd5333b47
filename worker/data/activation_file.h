#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "worker/base/mutex.h"

namespace graft {

// An append-only file of rows of one size, each under the hash of an id. It is read through a memory map.
//
//   header   text: format and version, row_bytes, the key; padded with zeros to 4096 bytes
//   record   hash of the id (16 bytes), XXH3-64 of the row seeded with the hash, the row; padded with zeros to 64 bytes
//
// Nothing is synced: after a crash a record may be missing, torn, or a hole of zeros. The checksum, which each read
// compares, tells. A record that failed is forgotten; its row can be appended again: the later of two records counts.
//
// Threads:  safe, but Append() is called by one thread at a time.
// Lifetime: nobody else writes or truncates the file meanwhile (a truncated map raises SIGBUS); it may be deleted. A
//           sector under the map that the disk cannot read raises SIGBUS, too: that is not caught.
// Source:   XXH3, Collet 2019 (github.com/Cyan4973/xxHash).
class ActivationFile {
 public:
  using RowHash = std::pair<uint64_t, uint64_t>;
  // The first 16 bytes of the SHA-256 of `id`.
  static RowHash Hash(absl::string_view id);

  // Takes over the file at `path` as it was left: reads the records' hashes (no rows) and cuts an incomplete tail. A
  // file that is damaged, of another version, key or row size is deleted. The first Append() makes a new one.
  ActivationFile(std::string path, absl::string_view key, int64_t row_bytes);
  ~ActivationFile();
  ActivationFile(const ActivationFile&) = delete;
  ActivationFile& operator=(const ActivationFile&) = delete;

  enum class Result { kFound, kMissing, kDamaged };
  // Copies a row to `row`, which holds garbage unless the result is kFound.
  Result Read(const RowHash& hash, char* row);

  bool Contains(const RowHash& hash) const;
  // Stores a row, at a cost of append_bytes() on the disk. False: the disk is full or broken, the row is not stored.
  bool Append(const RowHash& hash, const char* row);
  int64_t append_bytes() const;

  // Whether fewer than half of the file's records are rows that were read or appended since it was taken over.
  bool IsMostlyUnused() const;

  // Makes now the time of the file's last change, if there is a file.
  void Touch() const;

  int64_t rows() const;
  int64_t bytes() const;  // of the file; 0: there is none

 private:
  struct Mapping;
  struct Record {
    int64_t offset = 0;
    bool used = false;  // read or appended since the file was taken over
  };
  struct IdentityHash {
    size_t operator()(const RowHash& hash) const { return static_cast<size_t>(hash.first); }  // uniform already
  };

  bool Load() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool Create() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Delete() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void MapIfGrown() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const std::string path_;
  const std::string header_;
  const int64_t row_bytes_;
  const int64_t record_bytes_;

  mutable Mutex mu_;
  int fd_ ABSL_GUARDED_BY(mu_) = -1;      // once open, until the destructor
  int64_t end_ ABSL_GUARDED_BY(mu_) = 0;  // where the next record goes
  std::unordered_map<RowHash, Record, IdentityHash> records_ ABSL_GUARDED_BY(mu_);
  std::shared_ptr<const Mapping> mapping_ ABSL_GUARDED_BY(mu_);  // readers hold it while they copy
};

}  // namespace graft

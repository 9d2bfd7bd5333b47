#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace graft {

// "sha256:" and 64 hex digits of `bytes`.
std::string Digest(absl::string_view bytes);

// Immutable byte strings named by their digest.
//
// Threads: safe, also between processes on one directory.
class BlobStore {
 public:
  virtual ~BlobStore() = default;

  struct PutResult {
    std::string digest;
    bool existed = false;
  };
  // Durable on return; identical bytes are stored once.
  //   ResourceExhausted  no space left
  //   Internal           the storage failed otherwise
  virtual absl::StatusOr<PutResult> Put(absl::string_view bytes) = 0;
  // The bytes, whose digest was checked.
  //   NotFound   no such blob
  //   DataLoss   the stored bytes do not have this digest
  virtual absl::StatusOr<std::string> Get(absl::string_view digest) const = 0;
  // OK also when there is no such blob.
  virtual absl::Status Delete(absl::string_view digest) = 0;
  // Calls `visit` for each digest.
  virtual absl::Status ForEach(const std::function<void(const std::string&)>& visit) const = 0;
};

// A directory: DIR/ab/cdef..., written beside, synced and renamed.
//   Internal  the directory cannot be made or written
absl::StatusOr<std::unique_ptr<BlobStore>> OpenDirectoryBlobStore(const std::string& directory);

}  // namespace graft

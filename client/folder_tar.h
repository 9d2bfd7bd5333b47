#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace graft {

struct FolderFile {
  std::string path;  // on this machine
  std::string name;  // below the folder, with '/'
  int64_t bytes = 0;
};

// The regular files below `folder`, sorted by name. Links and special files are left out; `warning` hears of each.
//   NotFound            no such folder
//   InvalidArgument     it holds no regular file
//   PermissionDenied    a folder in it cannot be read
absl::StatusOr<std::vector<FolderFile>> ListFolder(const std::string& folder,
                                                   const std::function<void(const std::string&)>& warning);

// Takes the next bytes of the archive, 1 byte to 1 MiB. False stops the writing.
using ChunkSink = std::function<bool(const char* data, size_t size)>;

// Writes `files` as one tar (ustar, with pax headers where a name or size needs them) to `sink`, holding no more than a
// chunk of it. Times, owners and modes are fixed: the same files give the same bytes.
// `written` hears the content bytes so far after each piece.
//   NotFound, PermissionDenied  a file cannot be opened
//   DataLoss                    a file became shorter while it was read
//   Cancelled                   the sink said false
absl::Status WriteTar(const std::vector<FolderFile>& files, const ChunkSink& sink,
                      const std::function<void(int64_t)>& written);

// Sends the bytes of one file to `sink` in chunks of 1 MiB. Errors as WriteTar.
absl::Status WriteFile(const std::string& path, const ChunkSink& sink, const std::function<void(int64_t)>& written);

}  // namespace graft

#pragma once

#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"

namespace graft {

// The service's directory, for one process at a time: SQLite's jobs are ours alone, so that at the start every running
// job is a leftover of a process that died.
//
// Lifetime: the destructor gives the directory up; the kernel does when the process is killed.
class DataDirectory {
 public:
  // Makes the directory when there is none.
  //   FailedPrecondition  another process has it
  //   Internal            it cannot be made or written
  static absl::StatusOr<std::unique_ptr<DataDirectory>> Open(const std::string& path);
  ~DataDirectory();
  DataDirectory(const DataDirectory&) = delete;
  DataDirectory& operator=(const DataDirectory&) = delete;

  std::string database_url() const { return "sqlite3:" + path_ + "/graft.db"; }
  std::string blobs() const { return path_ + "/blobs"; }
  std::string activations() const { return path_ + "/activations"; }
  std::string tensorboard() const { return path_ + "/tensorboard"; }
  std::string states() const { return path_ + "/states"; }

 private:
  DataDirectory(std::string path, int lock_file) : path_(std::move(path)), lock_file_(lock_file) {}

  const std::string path_;
  const int lock_file_;
};

}  // namespace graft

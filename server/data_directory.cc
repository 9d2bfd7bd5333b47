#include "server/data_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace graft {

absl::StatusOr<std::unique_ptr<DataDirectory>> DataDirectory::Open(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) return absl::InternalError(absl::StrCat("data-dir: cannot make ", path, ": ", error.message()));
  const std::string lock = path + "/lock";
  const int file = ::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0) return absl::InternalError(absl::StrCat("data-dir: cannot open ", lock, ": ", std::strerror(errno)));
  if (::flock(file, LOCK_EX | LOCK_NB) != 0) {
    const int why = errno;
    ::close(file);
    if (why == EWOULDBLOCK) {
      return absl::FailedPreconditionError(
          absl::StrCat("data-dir: got ", path, ", which another graftd uses, want a directory of its own"));
    }
    return absl::InternalError(absl::StrCat("data-dir: cannot lock ", lock, ": ", std::strerror(why)));
  }
  return std::unique_ptr<DataDirectory>(new DataDirectory(path, file));
}

DataDirectory::~DataDirectory() { ::close(lock_file_); }

}  // namespace graft

#include "server/jobs/state_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "server/write_all.h"
#include "worker/base/status.h"

namespace graft {
namespace {

constexpr char kSuffix[] = ".state";
constexpr char kUnfinished[] = ".state.new";

absl::Status FileError(absl::string_view what, int error) {
  const std::string message = absl::StrCat("training state: cannot ", what, ": ", std::strerror(error));
  if (error == ENOSPC || error == EDQUOT) return absl::ResourceExhaustedError(message);
  return absl::InternalError(message);
}

absl::Status WriteAndSync(int file, absl::string_view bytes) {
  if (const int error = WriteAll(file, bytes); error != 0) return FileError("write", error);
  if (::fsync(file) != 0) return FileError("sync", errno);
  return absl::OkStatus();
}

absl::Status WriteNewFile(const std::string& path, absl::string_view bytes) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0) return FileError("create", errno);
  absl::Status status = WriteAndSync(file, bytes);
  if (::close(file) != 0 && status.ok()) status = FileError("close", errno);
  return status;
}

// Makes a rename in it durable.
absl::Status SyncDirectory(const std::string& directory) {
  const int file = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (file < 0) return FileError("open the directory", errno);
  const absl::Status status = ::fsync(file) == 0 ? absl::OkStatus() : FileError("sync the directory", errno);
  ::close(file);
  return status;
}

}  // namespace

absl::StatusOr<StateFiles> StateFiles::Open(std::string directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) return FileError("make its directory", error.value());
  return StateFiles(std::move(directory));
}

std::string StateFiles::Path(const std::string& job_id) const {
  return absl::StrCat(directory_, "/", job_id, kSuffix);
}

absl::Status StateFiles::Write(const std::string& job_id, absl::string_view state) const {
  const std::string unfinished = absl::StrCat(directory_, "/", job_id, kUnfinished);
  absl::Status status = WriteNewFile(unfinished, state);
  if (status.ok() && ::rename(unfinished.c_str(), Path(job_id).c_str()) != 0) status = FileError("rename", errno);
  if (!status.ok()) {
    ::unlink(unfinished.c_str());
    return status;
  }
  return SyncDirectory(directory_);
}

absl::StatusOr<std::string> StateFiles::Read(const std::string& job_id) const {
  const std::string path = Path(job_id);
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return std::string();
  std::ifstream file(path, std::ios::binary);
  std::string state;
  char chunk[1 << 16];
  do {  // a stream iterator would throw where a read fails
    file.read(chunk, sizeof(chunk));
    state.append(chunk, static_cast<size_t>(file.gcount()));
  } while (file);
  if (!file.eof()) return absl::InternalError("training state: cannot read it");
  return state;
}

void StateFiles::Remove(const std::string& job_id) const { ::unlink(Path(job_id).c_str()); }

std::vector<std::string> StateFiles::Jobs() const {
  std::vector<std::string> jobs;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(directory_, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    absl::string_view id = name;
    if (absl::ConsumeSuffix(&id, kUnfinished)) {
      ::unlink(entry->path().c_str());
    } else if (absl::ConsumeSuffix(&id, kSuffix)) {
      jobs.emplace_back(id);
    }
  }
  return jobs;
}

}  // namespace graft

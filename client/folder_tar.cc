#include "client/folder_tar.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "worker/base/status.h"

namespace graft {
namespace {

namespace fs = std::filesystem;

constexpr size_t kChunkBytes = 1 << 20;

absl::Status FileError(const std::string& path, int error) { return absl::ErrnoToStatus(error, path); }

// An open file descriptor, closed at the end of its scope.
class OpenFile {
 public:
  explicit OpenFile(const std::string& path, int flags = 0) : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | flags)) {}
  ~OpenFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  bool ok() const { return fd_ >= 0; }
  absl::StatusOr<int64_t> Size(const std::string& path) const {
    struct stat info;
    if (::fstat(fd_, &info) != 0) return FileError(path, errno);
    if (!S_ISREG(info.st_mode)) return absl::InvalidArgumentError(absl::StrCat(path, ": want a regular file"));
    return static_cast<int64_t>(info.st_size);
  }
  // Bytes read, 0 at the end.
  absl::StatusOr<size_t> Read(const std::string& path, std::vector<char>* buffer, size_t limit) const {
    ssize_t got;
    do {
      got = ::read(fd_, buffer->data(), std::min(buffer->size(), limit));
    } while (got < 0 && errno == EINTR);
    if (got < 0) return FileError(path, errno);
    return static_cast<size_t>(got);
  }

 private:
  const int fd_;
};

struct ArchiveFree {
  void operator()(archive* a) const { archive_write_free(a); }
  void operator()(archive_entry* e) const { archive_entry_free(e); }
};

// Where libarchive writes. After a failure it swallows the rest: libarchive 3.6 leaks its buffers when a writer is told
// to fail, so we always let it finish.
struct Output {
  const ChunkSink* sink = nullptr;
  bool stopped = false;
};

la_ssize_t WriteToOutput(archive*, void* client_data, const void* data, size_t size) {
  auto* output = static_cast<Output*>(client_data);
  if (!output->stopped) output->stopped = !(*output->sink)(static_cast<const char*>(data), size);
  return static_cast<la_ssize_t>(size);
}

// One tar being written.
class TarWriter {
 public:
  TarWriter(const ChunkSink* sink, std::function<void(int64_t)> written)
      : output_{sink}, out_(archive_write_new()), buffer_(kChunkBytes), written_(std::move(written)) {}
  // A writer that was not closed has failed: what libarchive still writes goes nowhere.
  ~TarWriter() { output_.stopped = true; }

  absl::Status Open() {
    RETURN_IF_ERROR(Check(archive_write_set_format_pax_restricted(out_.get())));
    // Names are bytes to us: without this libarchive converts them from the locale's charset.
    RETURN_IF_ERROR(Check(archive_write_set_options(out_.get(), "hdrcharset=BINARY")));
    RETURN_IF_ERROR(Check(archive_write_set_bytes_per_block(out_.get(), kChunkBytes)));
    RETURN_IF_ERROR(Check(archive_write_set_bytes_in_last_block(out_.get(), 1)));
    return Check(archive_write_open2(out_.get(), &output_, nullptr, WriteToOutput, nullptr, nullptr));
  }

  absl::Status Add(const FolderFile& file) {
    const OpenFile in(file.path, O_NOFOLLOW);
    if (!in.ok()) return FileError(file.path, errno);
    ASSIGN_OR_RETURN(const int64_t size, in.Size(file.path));
    RETURN_IF_ERROR(AddHeader(file.name, size));
    for (int64_t left = size; left > 0;) {
      ASSIGN_OR_RETURN(const size_t got, in.Read(file.path, &buffer_, static_cast<size_t>(left)));
      if (got == 0) return absl::DataLossError(absl::StrCat(file.path, ": became shorter while it was read"));
      RETURN_IF_ERROR(Check(archive_write_data(out_.get(), buffer_.data(), got) < 0 ? ARCHIVE_FATAL : ARCHIVE_OK));
      left -= static_cast<int64_t>(got);
      if (written_) written_(total_bytes_ += static_cast<int64_t>(got));
    }
    return absl::OkStatus();
  }

  absl::Status Close() { return Check(archive_write_close(out_.get())); }

 private:
  absl::Status AddHeader(const std::string& name, int64_t size) {
    const std::unique_ptr<archive_entry, ArchiveFree> entry(archive_entry_new());
    archive_entry_set_pathname(entry.get(), name.c_str());
    archive_entry_set_size(entry.get(), size);
    archive_entry_set_filetype(entry.get(), AE_IFREG);
    archive_entry_set_perm(entry.get(), 0644);
    archive_entry_set_mtime(entry.get(), 0, 0);
    return Check(archive_write_header(out_.get(), entry.get()));
  }

  absl::Status Check(int result) const {
    if (output_.stopped) return absl::CancelledError("tar: writing was stopped");
    if (result >= ARCHIVE_WARN) return absl::OkStatus();
    const char* reason = archive_error_string(out_.get());
    return absl::InternalError(absl::StrCat("tar: ", reason != nullptr ? reason : "libarchive failed"));
  }

  Output output_;  // before the archive, which writes to it while it is freed
  const std::unique_ptr<archive, ArchiveFree> out_;
  std::vector<char> buffer_;
  const std::function<void(int64_t)> written_;
  int64_t total_bytes_ = 0;
};

absl::Status AddAll(const std::vector<FolderFile>& files, TarWriter* tar) {
  for (const FolderFile& file : files) RETURN_IF_ERROR(tar->Add(file));
  return tar->Close();
}

// Adds the entry if it is a regular file, warns if it is neither that nor a folder.
absl::Status AddEntry(const fs::directory_entry& entry, const fs::path& root,
                      const std::function<void(const std::string&)>& warning, std::vector<FolderFile>* files) {
  std::error_code error;
  const fs::file_status status = entry.symlink_status(error);
  if (error) return FileError(entry.path().string(), error.value());
  if (fs::is_directory(status)) return absl::OkStatus();
  const std::string name = entry.path().lexically_relative(root).generic_string();
  if (!fs::is_regular_file(status)) {
    if (warning) warning(absl::StrCat(name, ": left out, ", fs::is_symlink(status) ? "a link" : "not a regular file"));
    return absl::OkStatus();
  }
  const auto bytes = entry.file_size(error);
  if (error) return FileError(entry.path().string(), error.value());
  files->push_back({entry.path().string(), name, static_cast<int64_t>(bytes)});
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<FolderFile>> ListFolder(const std::string& folder,
                                                   const std::function<void(const std::string&)>& warning) {
  const fs::path root(folder);
  std::error_code error;
  std::vector<FolderFile> files;
  fs::recursive_directory_iterator entries(root, error);
  if (error) return FileError(folder, error.value());
  for (; entries != fs::recursive_directory_iterator(); entries.increment(error)) {
    RETURN_IF_ERROR(AddEntry(*entries, root, warning, &files));
  }
  if (error) return FileError(folder, error.value());
  if (files.empty()) return absl::InvalidArgumentError(absl::StrCat(folder, ": got no regular file, want pictures"));
  std::sort(files.begin(), files.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return files;
}

absl::Status WriteTar(const std::vector<FolderFile>& files, const ChunkSink& sink,
                      const std::function<void(int64_t)>& written) {
  TarWriter tar(&sink, written);
  RETURN_IF_ERROR(tar.Open());
  return AddAll(files, &tar);
}

absl::Status WriteFile(const std::string& path, const ChunkSink& sink, const std::function<void(int64_t)>& written) {
  const OpenFile in(path);
  if (!in.ok()) return FileError(path, errno);
  RETURN_IF_ERROR(in.Size(path).status());
  std::vector<char> buffer(kChunkBytes);
  for (int64_t total = 0;;) {
    ASSIGN_OR_RETURN(const size_t got, in.Read(path, &buffer, buffer.size()));
    if (got == 0) return absl::OkStatus();
    if (!sink(buffer.data(), got)) return absl::CancelledError("writing stopped");
    if (written) written(total += static_cast<int64_t>(got));
  }
}

}  // namespace graft

#include "server/store/blob_store.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "server/write_all.h"
#include "worker/base/status.h"

namespace graft {
namespace {

namespace fs = std::filesystem;

constexpr absl::string_view kPrefix = "sha256:";
constexpr size_t kHexDigits = 64;
constexpr auto kStaleAge = std::chrono::hours(1);  // a younger temporary file may belong to a live process

bool IsLowerHex(absl::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return absl::ascii_isdigit(c) || (c >= 'a' && c <= 'f'); });
}

absl::Status SystemError(absl::string_view what, const std::string& path, int error) {
  const std::string message = absl::StrCat("blob store: ", what, " ", path, ": ", std::strerror(error));
  const bool full = error == ENOSPC || error == EDQUOT;
  return full ? absl::ResourceExhaustedError(message) : absl::InternalError(message);
}

// A file descriptor that is closed and, unless Keep() was called, whose file is removed.
class NewFile {
 public:
  explicit NewFile(std::string path) : path_(std::move(path)) {}
  ~NewFile() {
    if (fd_ >= 0) ::close(fd_);
    if (created_ && !kept_) ::unlink(path_.c_str());
  }
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  absl::Status Write(absl::string_view bytes) {
    fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd_ < 0) return SystemError("create", path_, errno);
    created_ = true;
    if (const int error = WriteAll(fd_, bytes); error != 0) return SystemError("write", path_, error);
    if (::fsync(fd_) != 0) return SystemError("sync", path_, errno);
    const int fd = std::exchange(fd_, -1);
    if (::close(fd) != 0) return SystemError("close", path_, errno);
    return absl::OkStatus();
  }
  absl::Status RenameTo(const std::string& target) {
    if (::rename(path_.c_str(), target.c_str()) != 0) return SystemError("rename to", target, errno);
    kept_ = true;
    return absl::OkStatus();
  }

 private:
  const std::string path_;
  int fd_ = -1;
  bool created_ = false, kept_ = false;
};

absl::Status SyncDirectory(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return SystemError("open", path, errno);
  const int error = ::fsync(fd) == 0 ? 0 : errno;
  ::close(fd);
  return error == 0 ? absl::OkStatus() : SystemError("sync", path, error);
}

class DirectoryBlobStore : public BlobStore {
 public:
  explicit DirectoryBlobStore(std::string root) : root_(std::move(root)), temporary_(absl::StrCat(root_, "/tmp")) {}

  absl::Status Prepare() const {
    std::error_code error;
    fs::create_directories(temporary_, error);
    if (error) return SystemError("create", temporary_, error.value());
    if (::access(root_.c_str(), W_OK) != 0) return SystemError("write to", root_, errno);
    if (::access(temporary_.c_str(), W_OK) != 0) return SystemError("write to", temporary_, errno);
    return RemoveStaleFiles();
  }

  absl::StatusOr<PutResult> Put(absl::string_view bytes) override {
    PutResult result{graft::Digest(bytes), false};
    ASSIGN_OR_RETURN(const std::string path, PathOf(result.digest));
    std::error_code error;
    const uintmax_t stored_bytes = fs::file_size(path, error);
    // Read as well: another copy of the bytes is the only chance to mend a damaged blob.
    if (!error && stored_bytes == bytes.size() && Get(result.digest).ok()) {
      result.existed = true;
      return result;
    }
    const std::string folder = fs::path(path).parent_path().string();
    const bool new_folder = fs::create_directory(folder, error);
    if (error) return SystemError("create", folder, error.value());
    if (new_folder) RETURN_IF_ERROR(SyncDirectory(root_));
    NewFile file(absl::StrCat(temporary_, "/", ::getpid(), "-", NextNumber(), "-", result.digest.substr(7, 16)));
    RETURN_IF_ERROR(file.Write(bytes));
    RETURN_IF_ERROR(file.RenameTo(path));
    RETURN_IF_ERROR(SyncDirectory(folder));
    return result;
  }

  absl::StatusOr<std::string> Get(absl::string_view digest) const override {
    ASSIGN_OR_RETURN(const std::string path, PathOf(digest));
    std::error_code error;
    const uintmax_t size = fs::file_size(path, error);
    if (error == std::errc::no_such_file_or_directory) {
      return absl::NotFoundError(absl::StrCat("blob: got \"", digest, "\", want a stored one"));
    }
    if (error) return SystemError("read", path, error.value());
    std::string bytes(size, '\0');
    std::ifstream file(path, std::ios::binary);
    if (!file.read(bytes.data(), static_cast<std::streamsize>(size))) return SystemError("read", path, EIO);
    if (graft::Digest(bytes) != digest) {
      return absl::DataLossError(absl::StrCat("blob ", digest, ": the stored bytes are damaged"));
    }
    return bytes;
  }

  absl::Status Delete(absl::string_view digest) override {
    ASSIGN_OR_RETURN(const std::string path, PathOf(digest));
    std::error_code error;
    fs::remove(path, error);
    return error ? SystemError("delete", path, error.value()) : absl::OkStatus();
  }

  absl::Status ForEach(const std::function<void(const std::string&)>& visit) const override {
    std::error_code error;
    for (fs::directory_iterator folder(root_, error), end; !error && folder != end; folder.increment(error)) {
      const std::string prefix = folder->path().filename().string();
      if (prefix.size() != 2 || !IsLowerHex(prefix)) continue;
      for (fs::directory_iterator file(folder->path(), error); !error && file != end; file.increment(error)) {
        const std::string rest = file->path().filename().string();
        if (rest.size() == kHexDigits - 2 && IsLowerHex(rest)) visit(absl::StrCat(kPrefix, prefix, rest));
      }
      if (error) break;
    }
    return error ? SystemError("list", root_, error.value()) : absl::OkStatus();
  }

 private:
  // A digest becomes a path only after this check: nothing like "../" passes.
  absl::StatusOr<std::string> PathOf(absl::string_view digest) const {
    absl::string_view hex = digest;
    if (!absl::ConsumePrefix(&hex, kPrefix) || hex.size() != kHexDigits || !IsLowerHex(hex)) {
      return absl::InvalidArgumentError(
          absl::StrCat("digest: got \"", absl::CEscape(digest), "\", want sha256: and 64 lower-case hex digits"));
    }
    return absl::StrCat(root_, "/", hex.substr(0, 2), "/", hex.substr(2));
  }

  // What a killed process left behind.
  absl::Status RemoveStaleFiles() const {
    const auto oldest = fs::file_time_type::clock::now() - kStaleAge;
    std::error_code error;
    for (fs::directory_iterator file(temporary_, error), end; !error && file != end; file.increment(error)) {
      std::error_code ignored;  // another process may have removed or renamed it by now
      const auto written = fs::last_write_time(file->path(), ignored);
      if (!ignored && written < oldest) fs::remove(file->path(), ignored);
    }
    return error ? SystemError("list", temporary_, error.value()) : absl::OkStatus();
  }

  // Time as well as a count: a file of an earlier process with this process's id may still be there.
  static std::string NextNumber() {
    static std::atomic<uint64_t> count{0};
    return absl::StrCat(std::chrono::system_clock::now().time_since_epoch().count(), "-", count++);
  }

  const std::string root_;
  const std::string temporary_;
};

}  // namespace

std::string Digest(absl::string_view bytes) {
  unsigned char hash[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  GRAFT_CHECK(EVP_Digest(bytes.data(), bytes.size(), hash, &length, EVP_sha256(), nullptr) == 1);
  return absl::StrCat(kPrefix,
                      absl::BytesToHexString(absl::string_view(reinterpret_cast<const char*>(hash), length)));
}

absl::StatusOr<std::unique_ptr<BlobStore>> OpenDirectoryBlobStore(const std::string& directory) {
  auto store = std::make_unique<DirectoryBlobStore>(directory);
  RETURN_IF_ERROR(store->Prepare());
  return std::unique_ptr<BlobStore>(std::move(store));
}

}  // namespace graft

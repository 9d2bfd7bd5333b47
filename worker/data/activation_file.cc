#include "worker/data/activation_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "worker/base/sha256.h"
#include "worker/base/status.h"

namespace graft {
namespace {

using RowHash = ActivationFile::RowHash;

constexpr int64_t kHeaderAlignment = 4096;  // a page
constexpr int64_t kRecordAlignment = 64;    // a cache line
constexpr int64_t kHashBytes = 16;
constexpr int64_t kPrefixBytes = kHashBytes + sizeof(XXH64_hash_t);
static_assert(sizeof(RowHash) == kHashBytes, "it is stored as it is in memory");

int64_t RoundUp(int64_t bytes, int64_t alignment) { return (bytes + alignment - 1) / alignment * alignment; }

// All that a header says, so that comparing it byte by byte is the whole check of a file.
std::string Header(absl::string_view key, int64_t row_bytes) {
  std::string header =
      absl::StrCat("graft activations 1\nrow_bytes: ", row_bytes, "\nkey: ", key.size(), " bytes\n", key, "\n");
  header.resize(RoundUp(static_cast<int64_t>(header.size()), kHeaderAlignment), '\0');
  return header;
}

XXH64_hash_t Checksum(const RowHash& hash, const char* row, int64_t row_bytes) {
  return XXH3_64bits_withSeed(row, static_cast<size_t>(row_bytes), hash.first ^ hash.second);
}

bool ReadAt(int fd, int64_t offset, void* data, int64_t size) {
  return pread(fd, data, static_cast<size_t>(size), offset) == size;
}

}  // namespace

struct ActivationFile::Mapping {
  Mapping(const void* begin, int64_t bytes) : data(static_cast<const char*>(begin)), size(bytes) {}
  ~Mapping() { munmap(const_cast<char*>(data), static_cast<size_t>(size)); }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  const char* const data;
  const int64_t size;
};

RowHash ActivationFile::Hash(absl::string_view id) {
  Sha256 sha256;
  sha256.Update(id);
  const std::string digest = sha256.Finish();
  const absl::string_view hex = absl::string_view(digest).substr(absl::string_view("sha256:").size());
  RowHash hash;
  GRAFT_CHECK(absl::SimpleHexAtoi(hex.substr(0, 16), &hash.first));
  GRAFT_CHECK(absl::SimpleHexAtoi(hex.substr(16, 16), &hash.second));
  return hash;
}

ActivationFile::ActivationFile(std::string path, absl::string_view key, int64_t row_bytes)
    : path_(std::move(path)),
      header_(Header(key, row_bytes)),
      row_bytes_(row_bytes),
      record_bytes_(RoundUp(kPrefixBytes + row_bytes, kRecordAlignment)) {
  MutexLock lock(&mu_);
  if (!Load()) Delete();
}

ActivationFile::~ActivationFile() {
  if (fd_ >= 0) close(fd_);
}

bool ActivationFile::Load() {
  fd_ = open(path_.c_str(), O_RDWR | O_CLOEXEC);
  if (fd_ < 0) return false;
  struct stat status;
  std::string header(header_.size(), '\0');
  if (fstat(fd_, &status) != 0 || !ReadAt(fd_, 0, header.data(), static_cast<int64_t>(header.size())) ||
      header != header_) {
    return false;
  }
  end_ = static_cast<int64_t>(header_.size());
  for (int64_t offset = end_; offset + record_bytes_ <= status.st_size; offset += record_bytes_) {
    RowHash hash;
    if (!ReadAt(fd_, offset, &hash, sizeof(hash)) || hash == RowHash()) continue;  // a hole that a power cut left
    records_.insert_or_assign(hash, Record{offset, false});
    end_ = offset + record_bytes_;
  }
  return ftruncate(fd_, end_) == 0;
}

bool ActivationFile::Create() {
  fd_ = open(path_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd_ < 0) return false;
  end_ = static_cast<int64_t>(header_.size());
  if (pwrite(fd_, header_.data(), header_.size(), 0) == end_) return true;
  Delete();
  return false;
}

void ActivationFile::Delete() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
  end_ = 0;
  records_.clear();
  unlink(path_.c_str());
}

// A new map costs page faults for all that is read through it, so a file that grows by a row between two reads is not
// mapped each time: its tail is read by preadv() until it is a quarter of what is mapped.
void ActivationFile::MapIfGrown() {
  const int64_t mapped = mapping_ == nullptr ? 0 : mapping_->size;
  if (end_ - mapped <= mapped / 4) return;
  struct stat status;
  if (fstat(fd_, &status) != 0) return;
  const int64_t size = std::min<int64_t>(end_, status.st_size);
  if (size <= mapped) return;
  void* const data = mmap(nullptr, static_cast<size_t>(size), PROT_READ, MAP_SHARED, fd_, 0);
  if (data != MAP_FAILED) mapping_ = std::make_shared<const Mapping>(data, size);
}

ActivationFile::Result ActivationFile::Read(const RowHash& hash, char* row) {
  int fd = -1;
  int64_t offset = 0;
  std::shared_ptr<const Mapping> mapping;
  {
    MutexLock lock(&mu_);
    const auto found = records_.find(hash);
    if (found == records_.end()) return Result::kMissing;
    MapIfGrown();
    fd = fd_;
    offset = found->second.offset;
    found->second.used = true;
    mapping = mapping_;
  }
  XXH64_hash_t checksum = 0;
  bool read = true;
  if (mapping != nullptr && offset + record_bytes_ <= mapping->size) {
    std::memcpy(&checksum, mapping->data + offset + kHashBytes, sizeof(checksum));
    std::memcpy(row, mapping->data + offset + kPrefixBytes, static_cast<size_t>(row_bytes_));
  } else {
    const iovec parts[] = {{&checksum, sizeof(checksum)}, {row, static_cast<size_t>(row_bytes_)}};
    read = preadv(fd, parts, 2, offset + kHashBytes) == static_cast<ssize_t>(sizeof(checksum)) + row_bytes_;
  }
  if (read && checksum == Checksum(hash, row, row_bytes_)) return Result::kFound;
  MutexLock lock(&mu_);
  const auto found = records_.find(hash);
  if (found != records_.end() && found->second.offset == offset) records_.erase(found);  // unless it was appended again
  return Result::kDamaged;
}

bool ActivationFile::Contains(const RowHash& hash) const {
  MutexLock lock(&mu_);
  return records_.count(hash) != 0;
}

bool ActivationFile::Append(const RowHash& hash, const char* row) {
  int fd = -1;
  int64_t offset = 0;
  {
    MutexLock lock(&mu_);
    if (fd_ < 0 && !Create()) return false;
    fd = fd_;
    offset = end_;
  }
  XXH64_hash_t checksum = Checksum(hash, row, row_bytes_);
  RowHash stored_hash = hash;
  char padding[kRecordAlignment] = {};
  const iovec parts[] = {{&stored_hash, sizeof(stored_hash)},
                         {&checksum, sizeof(checksum)},
                         {const_cast<char*>(row), static_cast<size_t>(row_bytes_)},
                         {padding, static_cast<size_t>(record_bytes_ - kPrefixBytes - row_bytes_)}};
  // What a write that ran out of disk left is overwritten by the next one, or cut by Load().
  if (pwritev(fd, parts, 4, offset) != record_bytes_) return false;
  MutexLock lock(&mu_);
  records_.insert_or_assign(hash, Record{offset, true});
  end_ = offset + record_bytes_;
  return true;
}

int64_t ActivationFile::append_bytes() const {
  MutexLock lock(&mu_);
  return record_bytes_ + (fd_ < 0 ? static_cast<int64_t>(header_.size()) : 0);
}

bool ActivationFile::IsMostlyUnused() const {
  MutexLock lock(&mu_);
  const int64_t records = (end_ - static_cast<int64_t>(header_.size())) / record_bytes_;  // also lost ones
  const auto used = std::count_if(records_.begin(), records_.end(), [](const auto& row) { return row.second.used; });
  return 2 * static_cast<int64_t>(used) < records;
}

void ActivationFile::Touch() const {
  MutexLock lock(&mu_);
  if (fd_ < 0) return;
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);  // UTIME_NOW is as coarse as the kernel's tick
  const timespec times[] = {now, now};
  futimens(fd_, times);
}

int64_t ActivationFile::rows() const {
  MutexLock lock(&mu_);
  return static_cast<int64_t>(records_.size());
}

int64_t ActivationFile::bytes() const {
  MutexLock lock(&mu_);
  return end_;
}

}  // namespace graft

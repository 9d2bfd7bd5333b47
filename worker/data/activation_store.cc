#include "worker/data/activation_store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <list>
#include <map>
#include <system_error>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "worker/base/sha256.h"
#include "worker/base/status.h"

namespace graft {
namespace {

constexpr int64_t kMaxRowBytes = int64_t{64} << 20;
constexpr size_t kNameDigits = 32;
constexpr absl::string_view kSuffix = ".act";

std::string FileName(absl::string_view key) {
  Sha256 sha256;
  sha256.Update(key);
  const std::string digest = sha256.Finish();
  return absl::StrCat(digest.substr(absl::string_view("sha256:").size(), kNameDigits), kSuffix);
}

bool IsFileName(absl::string_view name) {
  return name.size() == kNameDigits + kSuffix.size() && absl::EndsWith(name, kSuffix) &&
         std::all_of(name.begin(), name.begin() + kNameDigits,
                     [](char c) { return absl::ascii_isxdigit(c) && !absl::ascii_isupper(c); });
}

}  // namespace

// The locked directory: which files it has, who holds them, and their bytes.
class ActivationStore::Disk {
 public:
  explicit Disk(Options options) : options_(std::move(options)) {}
  ~Disk() {
    if (lock_fd_ >= 0) close(lock_fd_);
  }
  Disk(const Disk&) = delete;
  Disk& operator=(const Disk&) = delete;

  // Before anything else, once.
  absl::Status LockDirectory();
  absl::Status FindFiles();

  std::string Path(const std::string& name) const { return absl::StrCat(options_.directory, "/", name); }

  // The space that holds the file; null: nobody does, and others who ask wait until Hold() is called.
  std::shared_ptr<Space> HolderOrClaim(const std::string& name);
  void Hold(const std::string& name, const std::shared_ptr<Space>& space);
  // The file's last holder has closed it. A stale one is deleted.
  void Release(const std::string& name, int64_t bytes, bool is_stale);

  // Makes room for `bytes` more and counts them; false if there is none.
  bool Reserve(int64_t bytes);
  void GiveBack(int64_t bytes);
  int64_t bytes() const {
    MutexLock lock(&mu_);
    return bytes_;
  }

  std::atomic<int64_t> hits{0}, misses{0}, corrupt{0}, dropped{0}, evicted_files{0};

 private:
  struct Idle {  // a file that nobody holds
    std::string name;
    int64_t bytes;
  };
  struct Held {
    std::weak_ptr<Space> space;  // null or expired: being opened or closed
    int64_t bytes_before = 0;    // counted for the file when it was claimed
  };
  void EvictDownTo(int64_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const Options options_;
  int lock_fd_ = -1;
  mutable Mutex mu_;
  CondVar changed_;  // held_
  std::map<std::string, Held> held_ ABSL_GUARDED_BY(mu_);
  std::list<Idle> idle_ ABSL_GUARDED_BY(mu_);  // least recently used first
  int64_t bytes_ ABSL_GUARDED_BY(mu_) = 0;
};

absl::Status ActivationStore::Disk::LockDirectory() {
  std::error_code error;
  std::filesystem::create_directories(options_.directory, error);
  if (error) return absl::InternalError(absl::StrCat("cannot make ", options_.directory, ": ", error.message()));
  lock_fd_ = open(Path("lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (lock_fd_ >= 0 && flock(lock_fd_, LOCK_EX | LOCK_NB) == 0) return absl::OkStatus();
  if (lock_fd_ >= 0 && errno == EWOULDBLOCK) {
    return absl::FailedPreconditionError(absl::StrCat("another process holds ", Path("lock")));
  }
  return absl::InternalError(absl::StrCat("cannot lock ", Path("lock"), ": ", std::strerror(errno)));
}

absl::Status ActivationStore::Disk::FindFiles() {
  MutexLock lock(&mu_);
  std::error_code error;
  std::multimap<std::filesystem::file_time_type, Idle> by_age;
  std::filesystem::directory_iterator entry(options_.directory, error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    std::error_code skip;
    if (!IsFileName(name) || !entry->is_regular_file(skip)) continue;
    const auto used = entry->last_write_time(skip);
    const auto size = static_cast<int64_t>(entry->file_size(skip));
    if (!skip) by_age.emplace(used, Idle{name, size});
  }
  if (error) return absl::InternalError(absl::StrCat("cannot read ", options_.directory, ": ", error.message()));
  for (auto& [used, file] : by_age) {
    bytes_ += file.bytes;
    idle_.push_back(std::move(file));
  }
  EvictDownTo(options_.budget_bytes);  // the budget may be smaller than it was
  return absl::OkStatus();
}

std::shared_ptr<ActivationStore::Space> ActivationStore::Disk::HolderOrClaim(const std::string& name) {
  MutexLock lock(&mu_);
  for (;;) {
    const auto [held, is_new] = held_.try_emplace(name);
    if (is_new) {
      const auto idle = std::find_if(idle_.begin(), idle_.end(), [&](const Idle& file) { return file.name == name; });
      if (idle == idle_.end()) return nullptr;
      held->second.bytes_before = idle->bytes;
      idle_.erase(idle);
      return nullptr;
    }
    if (std::shared_ptr<Space> space = held->second.space.lock()) return space;
    changed_.Wait(&mu_);
  }
}

void ActivationStore::Disk::Hold(const std::string& name, const std::shared_ptr<Space>& space) {
  MutexLock lock(&mu_);
  Held& held = held_[name];
  held.space = space;
  bytes_ += space->file_->bytes() - held.bytes_before;  // opening may have cut or deleted it
  changed_.SignalAll();
}

void ActivationStore::Disk::Release(const std::string& name, int64_t bytes, bool is_stale) {
  MutexLock lock(&mu_);
  held_.erase(name);
  if (is_stale) {
    idle_.push_front({name, bytes});
    EvictDownTo(bytes_ - bytes);
  } else if (bytes > 0) {
    idle_.push_back({name, bytes});
  }
  changed_.SignalAll();
}

bool ActivationStore::Disk::Reserve(int64_t bytes) {
  MutexLock lock(&mu_);
  if (bytes_ + bytes > options_.budget_bytes) {
    int64_t held_bytes = bytes_;
    for (const Idle& file : idle_) held_bytes -= file.bytes;
    if (held_bytes + bytes > options_.budget_bytes) return false;  // no deletion would help
    EvictDownTo(options_.budget_bytes - bytes);
  }
  bytes_ += bytes;
  return true;
}

void ActivationStore::Disk::GiveBack(int64_t bytes) {
  MutexLock lock(&mu_);
  bytes_ -= bytes;
}

void ActivationStore::Disk::EvictDownTo(int64_t bytes) {
  while (bytes_ > bytes && !idle_.empty()) {
    unlink(Path(idle_.front().name).c_str());
    bytes_ -= idle_.front().bytes;
    idle_.pop_front();
    ++evicted_files;
  }
}

ActivationStore::Space::Space(std::shared_ptr<Disk> disk, std::string name, std::string key, int64_t row_bytes)
    : disk_(std::move(disk)),
      name_(std::move(name)),
      key_(std::move(key)),
      row_bytes_(row_bytes),
      dropped_before_(disk_->dropped),
      file_(std::make_unique<ActivationFile>(disk_->Path(name_), key_, row_bytes_)) {
  file_->Touch();
}

ActivationStore::Space::~Space() {
  file_->Touch();
  const int64_t bytes = file_->bytes();
  // Else the rows of deleted pictures would fill the budget for ever, in a file that each job needs.
  const bool is_stale = disk_->dropped > dropped_before_ && file_->IsMostlyUnused();
  file_.reset();  // before anybody can open it again
  disk_->Release(name_, bytes, is_stale);
}

bool ActivationStore::Space::Read(absl::string_view id, char* row) {
  const ActivationFile::Result result = file_->Read(ActivationFile::Hash(id), row);
  if (result == ActivationFile::Result::kDamaged) ++disk_->corrupt;
  ++(result == ActivationFile::Result::kFound ? disk_->hits : disk_->misses);
  return result == ActivationFile::Result::kFound;
}

void ActivationStore::Space::Write(absl::string_view id, const char* row) {
  const ActivationFile::RowHash hash = ActivationFile::Hash(id);
  MutexLock lock(&write_mu_);
  if (file_->Contains(hash)) return;
  const int64_t wanted = file_->append_bytes();
  if (!disk_->Reserve(wanted)) {
    ++disk_->dropped;
    return;
  }
  const int64_t bytes_before = file_->bytes();
  if (!file_->Append(hash, row)) ++disk_->dropped;
  disk_->GiveBack(wanted - (file_->bytes() - bytes_before));
}

ActivationStore::ActivationStore(std::shared_ptr<Disk> disk) : disk_(std::move(disk)) {}

absl::StatusOr<std::unique_ptr<ActivationStore>> ActivationStore::Open(Options options) {
  auto disk = std::make_shared<Disk>(std::move(options));
  RETURN_IF_ERROR(disk->LockDirectory());
  RETURN_IF_ERROR(disk->FindFiles());
  return std::unique_ptr<ActivationStore>(new ActivationStore(std::move(disk)));
}

absl::StatusOr<std::shared_ptr<ActivationStore::Space>> ActivationStore::OpenSpace(const std::string& key,
                                                                                   int64_t row_bytes) {
  if (row_bytes < 1 || row_bytes > kMaxRowBytes) {
    return absl::InvalidArgumentError(absl::StrCat("row_bytes: got ", row_bytes, ", want 1 to ", kMaxRowBytes));
  }
  const std::string name = FileName(key);
  if (std::shared_ptr<Space> space = disk_->HolderOrClaim(name)) {
    if (space->row_bytes_ == row_bytes && space->key_ == key) return space;
    return absl::FailedPreconditionError(absl::StrCat("row_bytes: got ", row_bytes, ", want ", space->row_bytes_,
                                                      " while the space ", name, " is held"));
  }
  const std::shared_ptr<Space> space(new Space(disk_, name, key, row_bytes));
  disk_->Hold(name, space);
  return space;
}

ActivationStore::Stats ActivationStore::stats() const {
  Stats stats;
  stats.hits = disk_->hits;
  stats.misses = disk_->misses;
  stats.corrupt = disk_->corrupt;
  stats.dropped = disk_->dropped;
  stats.evicted_files = disk_->evicted_files;
  stats.bytes = disk_->bytes();
  return stats;
}

}  // namespace graft

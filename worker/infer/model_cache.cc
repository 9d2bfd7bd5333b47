#include "worker/infer/model_cache.h"

#include "worker/base/status.h"
#include "worker/infer/predictor.h"

namespace graft {

struct ModelCache::Entry {
  bool loading = true;
  absl::StatusOr<std::shared_ptr<const Predictor>> predictor = absl::UnknownError("loading");
  std::list<std::string>::iterator recent;  // valid when loaded
};

absl::StatusOr<std::shared_ptr<const Predictor>> ModelCache::Get(const std::string& key, const Loader& load) {
  std::shared_ptr<Entry> entry;
  {
    MutexLock lock(&mu_);
    const auto it = entries_.find(key);
    if (it != entries_.end()) {
      entry = it->second;
      while (entry->loading) loaded_.Wait(&mu_);
      const auto now = entries_.find(key);
      if (now != entries_.end() && now->second == entry) recent_.splice(recent_.begin(), recent_, entry->recent);
      return entry->predictor;
    }
    entry = std::make_shared<Entry>();
    entries_[key] = entry;
  }
  absl::StatusOr<std::shared_ptr<const Predictor>> loaded = load();
  MutexLock lock(&mu_);
  entry->predictor = loaded;
  entry->loading = false;
  loaded_.SignalAll();
  const auto it = entries_.find(key);
  const bool still_ours = it != entries_.end() && it->second == entry;  // else erased meanwhile
  if (still_ours && !loaded.ok()) entries_.erase(it);
  if (still_ours && loaded.ok()) {
    recent_.push_front(key);
    entry->recent = recent_.begin();
    Trim();
  }
  return loaded;
}

std::shared_ptr<const Predictor> ModelCache::Peek(const std::string& key) {
  MutexLock lock(&mu_);
  const auto it = entries_.find(key);
  if (it == entries_.end() || it->second->loading) return nullptr;
  recent_.splice(recent_.begin(), recent_, it->second->recent);
  return *it->second->predictor;
}

void ModelCache::Erase(const std::string& key) {
  MutexLock lock(&mu_);
  const auto it = entries_.find(key);
  if (it == entries_.end()) return;
  if (!it->second->loading) recent_.erase(it->second->recent);
  entries_.erase(it);
}

int64_t ModelCache::size_bytes() const {
  MutexLock lock(&mu_);
  int64_t bytes = 0;
  for (const std::string& key : recent_) bytes += (*entries_.at(key)->predictor)->bytes();
  return bytes;
}

int64_t ModelCache::count() const {
  MutexLock lock(&mu_);
  return static_cast<int64_t>(recent_.size());
}

// Drops the least recently used until the rest fits; the newest stays even when it alone is too large.
void ModelCache::Trim() {
  int64_t bytes = 0;
  for (const std::string& key : recent_) bytes += (*entries_.at(key)->predictor)->bytes();
  while (bytes > capacity_bytes_ && recent_.size() > 1) {
    const auto oldest = entries_.find(recent_.back());
    bytes -= (*oldest->second->predictor)->bytes();
    entries_.erase(oldest);
    recent_.pop_back();
  }
}

}  // namespace graft

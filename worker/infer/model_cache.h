#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "worker/base/mutex.h"

namespace graft {

class Predictor;

// Loaded predictors by key, least recently used first out. Concurrent misses of one key load once.
//
// Threads: safe; loads of different keys run side by side.
class ModelCache {
 public:
  using Loader = std::function<absl::StatusOr<std::shared_ptr<const Predictor>>()>;
  explicit ModelCache(int64_t capacity_bytes) : capacity_bytes_(capacity_bytes) {}

  // The predictor of `key`, loaded by `load` on a miss; a failed load is not kept and all its waiters get its error.
  absl::StatusOr<std::shared_ptr<const Predictor>> Get(const std::string& key, const Loader& load);
  // Already loaded, else nullptr; never waits.
  std::shared_ptr<const Predictor> Peek(const std::string& key);
  void Erase(const std::string& key);
  int64_t size_bytes() const;
  int64_t count() const;

 private:
  struct Entry;
  void Trim() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const int64_t capacity_bytes_;
  mutable Mutex mu_;
  CondVar loaded_;
  std::map<std::string, std::shared_ptr<Entry>> entries_ ABSL_GUARDED_BY(mu_);
  std::list<std::string> recent_ ABSL_GUARDED_BY(mu_);  // most recent first
};

}  // namespace graft

#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "server/store/blob_store.h"
#include "worker/base/mutex.h"

namespace graft {

// A blob store in memory.
//
// Threads: safe.
class FakeBlobStore : public BlobStore {
 public:
  absl::StatusOr<PutResult> Put(absl::string_view bytes) override {
    MutexLock lock(&mu_);
    if (!put_status_.ok()) return put_status_;
    ++puts_;
    PutResult result;
    result.digest = Digest(bytes);
    result.existed = !blobs_.emplace(result.digest, std::string(bytes)).second;
    return result;
  }
  absl::StatusOr<std::string> Get(absl::string_view digest) const override {
    MutexLock lock(&mu_);
    const auto it = blobs_.find(std::string(digest));
    if (it == blobs_.end()) return absl::NotFoundError(absl::StrCat("blob: got ", digest, ", want a stored one"));
    return it->second;
  }
  absl::Status Delete(absl::string_view digest) override {
    MutexLock lock(&mu_);
    blobs_.erase(std::string(digest));
    return absl::OkStatus();
  }
  absl::Status ForEach(const std::function<void(const std::string&)>& visit) const override {
    std::vector<std::string> digests;
    {
      MutexLock lock(&mu_);
      for (const auto& [digest, bytes] : blobs_) digests.push_back(digest);
    }
    for (const std::string& digest : digests) visit(digest);
    return absl::OkStatus();
  }

  // What each further Put() returns; OK: it stores again.
  void FailPuts(absl::Status status) {
    MutexLock lock(&mu_);
    put_status_ = std::move(status);
  }
  // How often Put() stored or found something.
  int puts() const {
    MutexLock lock(&mu_);
    return puts_;
  }

 private:
  mutable Mutex mu_;
  std::map<std::string, std::string> blobs_ ABSL_GUARDED_BY(mu_);
  absl::Status put_status_ ABSL_GUARDED_BY(mu_);
  int puts_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace graft

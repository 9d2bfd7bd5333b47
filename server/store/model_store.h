#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "absl/status/statusor.h"
#include "server/store/database.h"
#include "server/store/records.h"
#include "worker/base/mutex.h"

namespace graft {

// Named models, their versions and aliases. Versions are made by JobStore::Finish.
//
// Threads: safe.
class ModelStore {
 public:
  explicit ModelStore(Database* db) : db_(db) {}

  absl::StatusOr<ModelRecord> Get(const std::string& name);  // NotFound
  absl::StatusOr<Page<ModelRecord>> List(const PageRequest& page);  // by name; InvalidArgument: page_token
  // One version of what a reference names: "flowers" (alias "default"), "flowers@canary", "flowers/3"; without
  // evaluation_pb and details_pb. Kept in memory until the database changes, since every classification asks.
  //   InvalidArgument  malformed reference
  //   NotFound         no such model, alias or version: says which of the three
  absl::StatusOr<ModelVersionRecord> Resolve(const std::string& reference);
  // Version 0 removes the alias.   NotFound: model or version; InvalidArgument: removing "default"
  absl::StatusOr<ModelRecord> SetAlias(const std::string& name, const std::string& alias, int64_t version);
  // The model goes with its last version. "default" does not protect the only version left.
  //   NotFound; FailedPrecondition: an alias points at it (named)
  absl::StatusOr<ModelRecord> DeleteVersion(const std::string& name, int64_t version);
  absl::StatusOr<std::set<std::string>> ReferencedCheckpoints();

 private:
  Database* const db_;
  Mutex mu_;
  int64_t resolved_at_ ABSL_GUARDED_BY(mu_) = -1;  // Database::changes() that `resolved_` is of
  std::map<std::string, ModelVersionRecord> resolved_ ABSL_GUARDED_BY(mu_);  // by reference
};

}  // namespace graft

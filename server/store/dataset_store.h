#pragma once

#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/store/database.h"
#include "server/store/records.h"

namespace graft {

// Dataset versions and their pictures' digests.
//
// Threads: safe.
class DatasetStore {
 public:
  explicit DatasetStore(Database* db) : db_(db) {}

  // Stores a version and makes it the newest of its dataset; one that exists already becomes the newest again and is
  // returned as it is. `version.version`, counts and classes are filled in by the caller.
  absl::StatusOr<DatasetVersion> Commit(const DatasetVersion& version, const std::vector<DatasetItem>& items);
  // Empty `version` = newest.   NotFound: "dataset: got "x", want one of the uploaded ones" / "dataset version: ..."
  absl::StatusOr<DatasetVersion> Get(const std::string& name, const std::string& version);
  // In stored order (file name, digest).   NotFound; DataLoss: stored labels are damaged
  absl::StatusOr<std::vector<DatasetItem>> Items(const std::string& name, const std::string& version);
  // Newest version of each dataset, by name.   InvalidArgument: page_token
  absl::StatusOr<Page<DatasetVersion>> List(const PageRequest& page);
  // Empty `version` = all.   NotFound; FailedPrecondition: a queued or running job uses it
  absl::Status Delete(const std::string& name, const std::string& version);
  // Digests of all pictures of all versions.
  absl::StatusOr<std::set<std::string>> ReferencedImages();

 private:
  Database* const db_;
};

}  // namespace graft

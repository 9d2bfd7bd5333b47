#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace soci {
class session;
}  // namespace soci

namespace graft {

// The SQL database behind every store; the only place that knows which one it is.
//
// Threads: safe; each transaction has a connection of its own from a small pool (one writer at a time on SQLite).
class Database {
 public:
  struct Options {
    std::string url;      // "sqlite3:/path/graft.db" (WAL, synchronous=NORMAL -> survives a killed process)
    int connections = 4;  // pool size, 1 to 64
  };
  // Opens and brings the schema up to date.
  //   InvalidArgument      url or connections
  //   FailedPrecondition   the schema is newer than this program
  //   Internal             the database cannot be opened
  static absl::StatusOr<std::unique_ptr<Database>> Open(const Options& options);
  ~Database();

  // Runs `body` in one transaction: committed when it returns OK, rolled back otherwise. SOCI's exceptions come back
  // as Internal with `what` and without SQL text. Writers run one after another, also between processes, so that what
  // `body` reads stays true until it is committed. `body` must not use the Database again: it would wait for itself.
  absl::Status Read(absl::string_view what, const std::function<absl::Status(soci::session&)>& body);
  absl::Status Write(absl::string_view what, const std::function<absl::Status(soci::session&)>& body);

  // Grows with each Write(), committed or not, before it returns: what was read since it was last the same still holds.
  int64_t changes() const;

 private:
  struct Pool;
  explicit Database(std::unique_ptr<Pool> pool);
  std::unique_ptr<Pool> pool_;
};

}  // namespace graft

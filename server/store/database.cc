#include "server/store/database.h"

#include <atomic>
#include <chrono>
#include <exception>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "server/store/schema.h"
#include "server/store/sql.h"
#include "soci/sqlite3/soci-sqlite3.h"
#include "worker/base/mutex.h"
#include "worker/base/status.h"

namespace graft {
namespace {

constexpr int kBusyTimeoutMs = 10'000;  // how long a writer waits for another process
constexpr absl::string_view kSqliteScheme = "sqlite3:";

// The busy timeout does not cover the change to WAL (SQLite avoids a deadlock by failing at once), so that of two
// processes that make one new database together one may need a second try.
void EnterWal(soci::session& sql) {
  constexpr int kTries = 200;
  for (int tried = 1;; ++tried) {
    try {
      return Execute(sql, "PRAGMA journal_mode = WAL");
    } catch (const soci::sqlite3_soci_error& error) {
      if (error.result() != SQLITE_BUSY || tried == kTries) throw;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(kBusyTimeoutMs / kTries));
  }
}

// WAL: readers and the one writer do not block each other. synchronous=NORMAL syncs at checkpoints only: nothing is
// lost when the process is killed; a power cut may lose the last transactions and damages nothing.
void ConnectSqlite(soci::session& sql, const std::string& path) {
  sql.open(*soci::factory_sqlite3(), absl::StrCat("db=\"", path, "\""));
  Execute(sql, absl::StrCat("PRAGMA busy_timeout = ", kBusyTimeoutMs));
  EnterWal(sql);
  Execute(sql, "PRAGMA synchronous = NORMAL");
  Execute(sql, "PRAGMA foreign_keys = ON");
}

// A transaction that is rolled back unless committed.
class Transaction {
 public:
  Transaction(soci::session& sql, bool write) : sql_(sql) {
    // IMMEDIATE takes the write lock now: a transaction that reads first could not get it later (SQLITE_BUSY_SNAPSHOT).
    Execute(sql_, write ? "BEGIN IMMEDIATE" : "BEGIN");
  }
  ~Transaction() {
    if (open_) Rollback();
  }
  void Commit() {
    Execute(sql_, "COMMIT");
    open_ = false;
  }

 private:
  void Rollback() {
    try {
      Execute(sql_, "ROLLBACK");
    } catch (const soci::soci_error&) {
      // After some errors (disk full) SQLite has rolled back by itself and refuses a second time.
    }
  }

  soci::session& sql_;
  bool open_ = true;
};

}  // namespace

struct Database::Pool {
  std::vector<std::unique_ptr<soci::session>> sessions;  // owns them
  Mutex mu;
  CondVar returned;
  std::vector<soci::session*> idle ABSL_GUARDED_BY(mu);
  // Queues this process's writers fairly and without a connection each: SQLite itself makes them poll.
  Mutex writer;
  std::atomic<int64_t> changes{0};

  soci::session* Take() {
    MutexLock lock(&mu);
    while (idle.empty()) returned.Wait(&mu);
    soci::session* const session = idle.back();
    idle.pop_back();
    return session;
  }
  void Return(soci::session* session) {
    MutexLock lock(&mu);
    idle.push_back(session);
    returned.Signal();
  }

  // The one place where SOCI's exceptions become a Status.
  absl::Status Run(absl::string_view what, bool write, const std::function<absl::Status(soci::session&)>& body) {
    soci::session* const session = Take();
    absl::Status status;
    try {
      Transaction transaction(*session, write);
      status = body(*session);
      if (status.ok()) transaction.Commit();
    } catch (const soci::soci_error& error) {
      status = absl::InternalError(absl::StrCat(what, ": ", error.get_error_message()));  // what() holds the SQL text
    } catch (const std::exception& error) {
      status = absl::InternalError(absl::StrCat(what, ": ", error.what()));
    }
    Return(session);
    return status;
  }
};

Database::Database(std::unique_ptr<Pool> pool) : pool_(std::move(pool)) {}
Database::~Database() = default;

absl::StatusOr<std::unique_ptr<Database>> Database::Open(const Options& options) {
  absl::string_view path = options.url;
  if (!absl::ConsumePrefix(&path, kSqliteScheme) || path.empty() || absl::StrContains(path, "\"")) {
    // Only the scheme is repeated: the rest of a URL may hold a password.
    return absl::InvalidArgumentError(absl::StrCat(
        "database url: got \"", options.url.substr(0, options.url.find(':')), ":...\", want sqlite3:/path/of/file"));
  }
  if (options.connections < 1 || options.connections > 64) {
    return absl::InvalidArgumentError(
        absl::StrCat("database connections: got ", options.connections, ", want 1 to 64"));
  }
  auto pool = std::make_unique<Pool>();
  try {
    for (int i = 0; i < options.connections; ++i) {
      auto session = std::make_unique<soci::session>();
      ConnectSqlite(*session, std::string(path));
      pool->Return(session.get());
      pool->sessions.push_back(std::move(session));
    }
  } catch (const soci::soci_error& error) {
    return absl::InternalError(absl::StrCat("open database ", path, ": ", error.get_error_message()));
  }
  std::unique_ptr<Database> database(new Database(std::move(pool)));
  RETURN_IF_ERROR(database->Write("upgrade schema", [](soci::session& sql) { return MigrateSchema(sql); }));
  return database;
}

absl::Status Database::Read(absl::string_view what, const std::function<absl::Status(soci::session&)>& body) {
  return pool_->Run(what, /*write=*/false, body);
}

absl::Status Database::Write(absl::string_view what, const std::function<absl::Status(soci::session&)>& body) {
  MutexLock lock(&pool_->writer);
  const absl::Status status = pool_->Run(what, /*write=*/true, body);
  ++pool_->changes;  // also after an error: a commit may fail when it has taken effect
  return status;
}

int64_t Database::changes() const { return pool_->changes; }

}  // namespace graft

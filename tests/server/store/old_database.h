#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "server/store/schema.h"
#include "server/store/sql.h"
#include "soci/sqlite3/soci-sqlite3.h"
#include "worker/base/status.h"

namespace graft {

// Puts a database as a program of schema `version` left it in the place of the one at `path`, which nobody has open.
inline void MakeOldDatabase(const std::string& path, int version, const std::vector<std::string>& statements) {
  std::filesystem::remove(path);
  soci::session sql(*soci::factory_sqlite3(), path);
  GRAFT_CHECK(MigrateSchema(sql, version).ok());
  for (const std::string& statement : statements) Execute(sql, statement);
}

}  // namespace graft

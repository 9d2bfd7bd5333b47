#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "soci/soci.h"

// Thin forms of SOCI's statements, for the .cc files of this folder. They throw what SOCI throws: use them only inside
// Database::Read and Write. Binds replace the query's ":name" marks in order.

namespace graft {

// Prepares a new `statement`, which reads `binds` at each execute(): they must outlive it. Not SOCI's own
// "sql.prepare << ...": the sanitizers miss the type information that its library keeps hidden.
template <typename... Binds>
void Prepare(soci::statement& statement, const std::string& query, const Binds&... binds) {
  (statement.exchange(soci::use(binds)), ...);
  statement.alloc();
  statement.prepare(query);
  statement.define_and_bind();
}

// Runs a statement that returns no rows.
template <typename... Binds>
void Execute(soci::session& sql, const std::string& query, const Binds&... binds) {
  soci::statement statement(sql);
  Prepare(statement, query, binds...);
  statement.execute(true);
}

// All rows of a query. `Row` has `auto Columns()`, a std::tie of its members in the order of the query's columns.
template <typename Row, typename... Binds>
std::vector<Row> Select(soci::session& sql, const std::string& query, const Binds&... binds) {
  Row row;
  soci::statement statement(sql);
  std::apply([&](auto&... columns) { (statement.exchange(soci::into(columns)), ...); }, row.Columns());
  Prepare(statement, query, binds...);
  std::vector<Row> rows;
  statement.execute();
  while (statement.fetch()) rows.push_back(row);
  return rows;
}

template <typename T>
struct OneColumn {
  T value{};
  auto Columns() { return std::tie(value); }
};

// The only column of all rows.
template <typename T, typename... Binds>
std::vector<T> SelectColumn(soci::session& sql, const std::string& query, const Binds&... binds) {
  std::vector<T> values;
  for (OneColumn<T>& row : Select<OneColumn<T>>(sql, query, binds...)) values.push_back(std::move(row.value));
  return values;
}

// The value of a query that always gives one row: COUNT, COALESCE(MAX(...), 0), EXISTS in a CASE.
template <typename... Binds>
int64_t SelectNumber(soci::session& sql, const std::string& query, const Binds&... binds) {
  return SelectColumn<int64_t>(sql, query, binds...).at(0);
}

// Microseconds since 1970; 0 for none.
int64_t ToMicros(absl::Time time);
int64_t ToMicros(const std::optional<absl::Time>& time);
absl::Time FromMicros(int64_t us);
std::optional<absl::Time> OptionalFromMicros(int64_t us);

// Opaque bytes as text.
std::string ToText(const std::string& bytes);
//   DataLoss   `text` was not made by ToText
absl::StatusOr<std::string> FromText(const std::string& text);

}  // namespace graft

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace graft {

// Reads CSV records as RFC 4180 has them: quoted fields may hold commas, line breaks and doubled quotes; a line ends in
// CRLF or LF. A UTF-8 byte order mark at the start is skipped, and so are blank lines.
//
// Lifetime: the text outlives the reader.
class CsvReader {
 public:
  explicit CsvReader(absl::string_view text);

  // The next record's fields; empty at the end.
  //   InvalidArgument  a quote that is not closed, or in an unquoted field, or followed by more than a comma
  absl::StatusOr<std::vector<std::string>> Next();
  // Line of the record that Next() returned or failed at, from 1.
  int64_t line() const { return record_line_; }

 private:
  bool AtLineEnd() const;
  void SkipLineEnd();
  absl::StatusOr<std::string> QuotedField();
  absl::StatusOr<std::string> PlainField();

  absl::string_view text_;
  size_t pos_ = 0;
  int64_t line_ = 1;
  int64_t record_line_ = 0;
};

}  // namespace graft

#include "server/ingest/csv.h"

#include <utility>

#include "absl/strings/match.h"
#include "worker/base/status.h"

namespace graft {

CsvReader::CsvReader(absl::string_view text) : text_(text) {
  if (absl::StartsWith(text_, "\xEF\xBB\xBF")) pos_ = 3;
}

absl::StatusOr<std::vector<std::string>> CsvReader::Next() {
  while (pos_ < text_.size() && AtLineEnd()) SkipLineEnd();
  record_line_ = line_;
  std::vector<std::string> fields;
  if (pos_ == text_.size()) return fields;
  while (true) {
    const bool quoted = pos_ < text_.size() && text_[pos_] == '"';
    ASSIGN_OR_RETURN(std::string field, quoted ? QuotedField() : PlainField());
    fields.push_back(std::move(field));
    if (AtLineEnd()) break;
    ++pos_;  // the comma
  }
  SkipLineEnd();
  return fields;
}

bool CsvReader::AtLineEnd() const {
  return pos_ == text_.size() || text_[pos_] == '\n' || absl::StartsWith(text_.substr(pos_), "\r\n");
}

void CsvReader::SkipLineEnd() {
  if (pos_ == text_.size()) return;
  pos_ += text_[pos_] == '\r' ? 2 : 1;
  ++line_;
}

absl::StatusOr<std::string> CsvReader::QuotedField() {
  std::string field;
  for (++pos_; pos_ < text_.size(); ++pos_) {
    if (text_[pos_] == '\n') ++line_;
    if (text_[pos_] != '"') {
      field.push_back(text_[pos_]);
      continue;
    }
    ++pos_;
    if (AtLineEnd() || text_[pos_] == ',') return field;
    if (text_[pos_] != '"') return absl::InvalidArgumentError("got text after a closing quote, want a comma");
    field.push_back('"');
  }
  return absl::InvalidArgumentError("got a quote that is not closed");
}

absl::StatusOr<std::string> CsvReader::PlainField() {
  const size_t begin = pos_;
  while (!AtLineEnd() && text_[pos_] != ',') {
    if (text_[pos_] == '"')
      return absl::InvalidArgumentError("got a quote inside an unquoted field, want the whole field in quotes");
    ++pos_;
  }
  return std::string(text_.substr(begin, pos_ - begin));
}

}  // namespace graft

#include "server/ingest/manifest.h"

#include <algorithm>
#include <cstddef>
#include <unordered_map>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "nlohmann/json.hpp"
#include "server/ingest/csv.h"
#include "server/ingest/entry_path.h"
#include "server/ingest/folder_layout.h"
#include "server/ingest/names.h"
#include "worker/base/status.h"

namespace graft {
namespace {

constexpr size_t kMaxJsonLineBytes = 64 << 10;  // a parsed document takes many times its text
constexpr char kColumns[] = "path, label and optionally split";

// Collects checked lines; says where in which file something is wrong.
class Lines {
 public:
  Lines(absl::string_view file, int64_t max_lines) : file_(Printable(file)), max_lines_(max_lines) {}

  absl::Status Error(int64_t line, absl::string_view message) const {
    return absl::InvalidArgumentError(absl::StrCat(file_, ":", line, ": ", message));
  }

  absl::Status Add(int64_t line, absl::string_view path, absl::string_view label, absl::string_view split) {
    if (static_cast<int64_t>(lines_.size()) == max_lines_)
      return Error(line, absl::StrCat("got more pictures, want at most ", max_lines_));
    ManifestLine entry;
    entry.line = line;
    absl::StatusOr<std::string> normal = NormalizeEntryPath(path);
    if (!normal.ok()) return Error(line, absl::StrCat("path: ", normal.status().message()));
    entry.path = *std::move(normal);
    const absl::Status label_status = CheckLabel(label);
    if (!label_status.ok()) return Error(line, label_status.message());
    entry.label = std::string(label);
    entry.split = ParseSplit(split);
    if (entry.split == Split::kUnspecified && !split.empty())
      return Error(line, absl::StrCat("split: got \"", Printable(split), "\", want train, val, validation or test"));
    const auto [known, is_new] = line_of_.emplace(entry.path, line);
    if (!is_new)
      return Error(line, absl::StrCat("path: got \"", Printable(path), "\" of line ", known->second, " again"));
    lines_.push_back(std::move(entry));
    return absl::OkStatus();
  }

  std::vector<ManifestLine> Take() { return std::move(lines_); }

 private:
  const std::string file_;
  const int64_t max_lines_;
  std::vector<ManifestLine> lines_;
  std::unordered_map<std::string, int64_t> line_of_;
};

struct Columns {
  int path = -1, label = -1, split = -1;
  size_t count = 0;
};

absl::StatusOr<Columns> ParseHeader(const std::vector<std::string>& names) {
  Columns columns;
  columns.count = names.size();
  for (size_t i = 0; i < names.size(); ++i) {
    const absl::string_view name = absl::StripAsciiWhitespace(names[i]);
    int* column = name == "path" ? &columns.path : name == "label" ? &columns.label
                : name == "split" ? &columns.split : nullptr;
    if (column == nullptr || *column >= 0)
      return absl::InvalidArgumentError(
          absl::StrCat("header: got column \"", Printable(name), "\", want ", kColumns, ", each once"));
    *column = static_cast<int>(i);
  }
  if (columns.path < 0 || columns.label < 0)
    return absl::InvalidArgumentError(absl::StrCat("header: got no path or no label column, want ", kColumns));
  return columns;
}

absl::Status ParseCsv(absl::string_view text, Lines* lines) {
  CsvReader csv(text);
  absl::StatusOr<std::vector<std::string>> record = csv.Next();
  if (!record.ok()) return lines->Error(csv.line(), record.status().message());
  const absl::StatusOr<Columns> columns = ParseHeader(*record);
  if (!columns.ok()) return lines->Error(csv.line(), columns.status().message());
  while (true) {
    record = csv.Next();
    if (!record.ok()) return lines->Error(csv.line(), record.status().message());
    if (record->empty()) return absl::OkStatus();
    if (record->size() != columns->count)
      return lines->Error(csv.line(), absl::StrCat("got ", record->size(), " fields, want ", columns->count));
    const std::string& split = columns->split < 0 ? "" : (*record)[columns->split];
    RETURN_IF_ERROR(lines->Add(csv.line(), (*record)[columns->path], (*record)[columns->label], split));
  }
}

absl::Status ParseJsonLine(int64_t number, absl::string_view line, Lines* lines) {
  if (line.size() > kMaxJsonLineBytes)
    return lines->Error(number, absl::StrCat("got ", line.size(), " bytes, want at most ", kMaxJsonLineBytes));
  const auto object = nlohmann::json::parse(line.begin(), line.end(), nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return lines->Error(number, "want one JSON object");
  std::string path, label, split;
  for (const auto& [key, value] : object.items()) {
    std::string* field = key == "path" ? &path : key == "label" ? &label : key == "split" ? &split : nullptr;
    if (field == nullptr)
      return lines->Error(number, absl::StrCat("got key \"", Printable(key), "\", want ", kColumns));
    if (field == &split && value.is_null()) continue;
    if (!value.is_string()) return lines->Error(number, absl::StrCat(key, ": want a string"));
    *field = value.get<std::string>();
  }
  return lines->Add(number, path, label, split);
}

absl::Status ParseJsonLines(absl::string_view text, Lines* lines) {
  absl::ConsumePrefix(&text, "\xEF\xBB\xBF");
  for (int64_t number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    const absl::string_view line = absl::StripAsciiWhitespace(text.substr(0, end));
    if (!line.empty()) RETURN_IF_ERROR(ParseJsonLine(number, line, lines));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return absl::OkStatus();
}

}  // namespace

bool IsManifest(absl::string_view path) {
  const absl::string_view name = FileName(path);
  return name == "manifest.csv" || name == "manifest.jsonl";
}

absl::StatusOr<std::vector<ManifestLine>> ParseManifest(absl::string_view path, absl::string_view text,
                                                        int64_t max_lines) {
  Lines lines(path, max_lines);
  RETURN_IF_ERROR(absl::EndsWith(path, ".csv") ? ParseCsv(text, &lines) : ParseJsonLines(text, &lines));
  return lines.Take();
}

}  // namespace graft

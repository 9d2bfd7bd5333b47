#include "server/ingest/manifest.h"

#include <algorithm>
#include <cstddef>
#include <unordered_map>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
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
constexpr char kColumns[] = "path, label or labels, and optionally split";

// Collects checked lines; says where in which file something is wrong.
class Lines {
 public:
  Lines(absl::string_view file, int64_t max_lines) : file_(Printable(file)), max_lines_(max_lines) {}

  absl::Status Error(int64_t line, absl::string_view message) const {
    return absl::InvalidArgumentError(absl::StrCat(file_, ":", line, ": ", message));
  }

  // `labels` is one of a single-label manifest.
  absl::Status Add(int64_t line, absl::string_view path, const std::vector<std::string>& labels,
                   absl::string_view split) {
    if (static_cast<int64_t>(lines_.size()) == max_lines_)
      return Error(line, absl::StrCat("got more pictures, want at most ", max_lines_));
    ManifestLine entry;
    entry.line = line;
    absl::StatusOr<std::string> normal = NormalizeEntryPath(path);
    if (!normal.ok()) return Error(line, absl::StrCat("path: ", normal.status().message()));
    entry.path = *std::move(normal);
    const absl::Status label_status = multi_label_ ? CheckLabels(labels) : CheckLabel(labels.at(0));
    if (!label_status.ok()) return Error(line, label_status.message());
    entry.labels = absl::StrJoin(labels, "\n");
    entry.split = ParseSplit(split);
    if (entry.split == Split::kUnspecified && !split.empty())
      return Error(line, absl::StrCat("split: got \"", Printable(split), "\", want train, val, validation or test"));
    const auto [known, is_new] = line_of_.emplace(entry.path, line);
    if (!is_new)
      return Error(line, absl::StrCat("path: got \"", Printable(path), "\" of line ", known->second, " again"));
    lines_.push_back(std::move(entry));
    return absl::OkStatus();
  }

  void set_multi_label(bool multi_label) { multi_label_ = multi_label; }
  bool multi_label() const { return multi_label_; }
  bool empty() const { return lines_.empty(); }
  Manifest Take() { return {multi_label_, std::move(lines_)}; }

 private:
  const std::string file_;
  const int64_t max_lines_;
  bool multi_label_ = false;
  std::vector<ManifestLine> lines_;
  std::unordered_map<std::string, int64_t> line_of_;
};

struct Columns {
  int path = -1, label = -1, labels = -1, split = -1;
  size_t count = 0;
};

absl::StatusOr<Columns> ParseHeader(const std::vector<std::string>& names) {
  Columns columns;
  columns.count = names.size();
  for (size_t i = 0; i < names.size(); ++i) {
    const absl::string_view name = absl::StripAsciiWhitespace(names[i]);
    int* column = name == "path" ? &columns.path : name == "label" ? &columns.label
                : name == "labels" ? &columns.labels : name == "split" ? &columns.split : nullptr;
    if (column == nullptr || *column >= 0)
      return absl::InvalidArgumentError(
          absl::StrCat("header: got column \"", Printable(name), "\", want ", kColumns, ", each once"));
    *column = static_cast<int>(i);
  }
  if (columns.label >= 0 && columns.labels >= 0)
    return absl::InvalidArgumentError("header: got columns label and labels, want one of the two");
  if (columns.path < 0 || (columns.label < 0 && columns.labels < 0))
    return absl::InvalidArgumentError(absl::StrCat("header: got no path or no label column, want ", kColumns));
  return columns;
}

// One class, or those of a cell of the column `labels`.
std::vector<std::string> SplitLabels(const std::string& cell, bool multi_label) {
  if (!multi_label) return {cell};
  if (cell.empty()) return {};
  return absl::StrSplit(cell, absl::MaxSplits('|', kMaxLabels));  // one too many is enough for CheckLabels()
}

absl::Status ParseCsv(absl::string_view text, Lines* lines) {
  CsvReader csv(text);
  absl::StatusOr<std::vector<std::string>> record = csv.Next();
  if (!record.ok()) return lines->Error(csv.line(), record.status().message());
  const absl::StatusOr<Columns> columns = ParseHeader(*record);
  if (!columns.ok()) return lines->Error(csv.line(), columns.status().message());
  lines->set_multi_label(columns->labels >= 0);
  const int label = std::max(columns->label, columns->labels);
  while (true) {
    record = csv.Next();
    if (!record.ok()) return lines->Error(csv.line(), record.status().message());
    if (record->empty()) return absl::OkStatus();
    if (record->size() != columns->count)
      return lines->Error(csv.line(), absl::StrCat("got ", record->size(), " fields, want ", columns->count));
    const std::string& split = columns->split < 0 ? "" : (*record)[columns->split];
    const std::vector<std::string> labels = SplitLabels((*record)[label], lines->multi_label());
    RETURN_IF_ERROR(lines->Add(csv.line(), (*record)[columns->path], labels, split));
  }
}

// The first line decides whether the key is `label` or `labels`.
absl::Status CheckKeys(int64_t number, const nlohmann::json& object, Lines* lines) {
  for (const auto& [key, value] : object.items()) {
    if (key != "path" && key != "label" && key != "labels" && key != "split")
      return lines->Error(number, absl::StrCat("got key \"", Printable(key), "\", want ", kColumns));
    const bool may_be_null = key == "split" && value.is_null();
    if (key != "labels" && !value.is_string() && !may_be_null)
      return lines->Error(number, absl::StrCat(key, ": want a string"));
  }
  const bool has_labels = object.contains("labels");
  if (lines->empty()) lines->set_multi_label(has_labels);
  if (has_labels && object.contains("label"))
    return lines->Error(number, "got keys label and labels, want one of the two");
  if (has_labels != lines->multi_label())
    return lines->Error(number, has_labels ? "got labels, want label as in the lines before"
                                           : "labels: got none, want a list as in the lines before; [] for no class");
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> ParseLabelList(int64_t number, const nlohmann::json& object,
                                                        const Lines& lines) {
  const nlohmann::json& list = object["labels"];
  std::vector<std::string> labels;
  bool ok = list.is_array();
  for (size_t i = 0; ok && i < list.size(); ++i) {
    ok = list[i].is_string();
    if (ok) labels.push_back(list[i].get<std::string>());
  }
  if (!ok) return lines.Error(number, "labels: want a list of strings");
  return labels;
}

// Empty when it is not there, or null.
std::string StringOr(const nlohmann::json& object, const char* key) {
  const auto it = object.find(key);
  return it == object.end() || !it->is_string() ? "" : it->get<std::string>();
}

absl::Status ParseJsonLine(int64_t number, absl::string_view line, Lines* lines) {
  if (line.size() > kMaxJsonLineBytes)
    return lines->Error(number, absl::StrCat("got ", line.size(), " bytes, want at most ", kMaxJsonLineBytes));
  const auto object = nlohmann::json::parse(line.begin(), line.end(), nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return lines->Error(number, "want one JSON object");
  RETURN_IF_ERROR(CheckKeys(number, object, lines));
  std::vector<std::string> labels(1);
  if (lines->multi_label()) {
    ASSIGN_OR_RETURN(labels, ParseLabelList(number, object, *lines));
  } else {
    labels[0] = StringOr(object, "label");
  }
  return lines->Add(number, StringOr(object, "path"), labels, StringOr(object, "split"));
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

std::vector<std::string> ManifestLine::Labels() const {
  return absl::StrSplit(labels, '\n', absl::SkipEmpty());
}

absl::StatusOr<Manifest> ParseManifest(absl::string_view path, absl::string_view text, int64_t max_lines) {
  Lines lines(path, max_lines);
  RETURN_IF_ERROR(absl::EndsWith(path, ".csv") ? ParseCsv(text, &lines) : ParseJsonLines(text, &lines));
  return lines.Take();
}

}  // namespace graft

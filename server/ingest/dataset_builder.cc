#include "server/ingest/dataset_builder.h"

#include <algorithm>
#include <cstddef>
#include <map>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/ingest/folder_layout.h"
#include "server/ingest/names.h"
#include "worker/base/status.h"
#include "worker/image/decode.h"

namespace graft {
namespace {

constexpr size_t kMaxFileNameBytes = 1024;

absl::Status CheckPositive(absl::string_view field, int64_t value) {
  if (value > 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(field, ": got ", value, ", want > 0"));
}

absl::Status TooMany(absl::string_view what, int64_t limit) {
  return absl::InvalidArgumentError(
      absl::StrCat("dataset: got more than ", limit, " ", what, ", want at most that many"));
}

// The same pictures, labels, splits and file names give the same text in whatever order they came.
std::string ContentDigest(const std::vector<DatasetItem>& items, const std::vector<std::string>& classes) {
  std::vector<std::string> lines;
  lines.reserve(items.size());
  for (const DatasetItem& item : items)
    lines.push_back(absl::StrCat(item.image_digest, "\t", classes[item.label], "\t", SplitName(item.split), "\t",
                                 item.file_name, "\n"));
  std::sort(lines.begin(), lines.end());
  std::string text = "graft dataset version 1\n";
  for (const std::string& line : lines) text += line;
  return Digest(text);
}

std::vector<ClassCount> CountClasses(const std::vector<DatasetItem>& items, const std::vector<std::string>& classes) {
  std::vector<ClassCount> counts(classes.size());
  for (size_t i = 0; i < classes.size(); ++i) counts[i].name = classes[i];
  for (const DatasetItem& item : items) {
    ClassCount& count = counts[item.label];
    ++(item.split == Split::kTrain ? count.train : item.split == Split::kValidation ? count.validation : count.test);
  }
  return counts;
}

absl::Status CheckClasses(const std::vector<ClassCount>& classes) {
  if (classes.size() < 2)
    return absl::InvalidArgumentError(absl::StrCat(
        "dataset: got ", classes.size(), " classes with pictures",
        classes.empty() ? "" : absl::StrCat(" (\"", classes[0].name, "\")"), ", want at least 2"));
  for (const ClassCount& count : classes)
    if (count.train == 0)
      return absl::InvalidArgumentError(
          absl::StrCat("dataset: class \"", count.name, "\": got 0 training pictures, want at least 1"));
  // Given none, the server takes them from every class that can spare one.
  if (std::all_of(classes.begin(), classes.end(), [](const ClassCount& count) { return count.validation == 0; }))
    return absl::InvalidArgumentError(
        "validation: got no pictures, want at least one: give a class two pictures or more");
  return absl::OkStatus();
}

// Gives every item a split; true when the server chose which pictures are for validation.
bool ResolveSplits(const SplitOptions& options, std::vector<DatasetItem>* items) {
  const bool given = std::any_of(items->begin(), items->end(),
                                 [](const DatasetItem& item) { return item.split == Split::kValidation; });
  if (!given) {
    SplitOffValidation(options, items);
    return true;
  }
  for (DatasetItem& item : *items)
    if (item.split == Split::kUnspecified) item.split = Split::kTrain;
  return false;
}

}  // namespace

absl::Status IngestLimits::Validate() const {
  RETURN_IF_ERROR(image.Validate());
  RETURN_IF_ERROR(CheckPositive("max_images", max_images));
  RETURN_IF_ERROR(CheckPositive("max_total_bytes", max_total_bytes));
  RETURN_IF_ERROR(CheckPositive("max_classes", max_classes));
  return CheckPositive("max_listed_rejections", max_listed_rejections);
}

DatasetBuilder::DatasetBuilder(std::string name, SplitOptions split, IngestLimits limits, BlobStore* blobs,
                               DatasetStore* datasets)
    : name_(std::move(name)), split_(split), limits_(limits), blobs_(blobs), datasets_(datasets) {}

absl::StatusOr<std::unique_ptr<DatasetBuilder>> DatasetBuilder::Create(std::string name, SplitOptions split,
                                                                       IngestLimits limits, BlobStore* blobs,
                                                                       DatasetStore* datasets) {
  RETURN_IF_ERROR(CheckName("name", name));
  if (!(split.validation_fraction > 0 && split.validation_fraction <= 0.9))
    return absl::InvalidArgumentError(
        absl::StrCat("validation_fraction: got ", split.validation_fraction, ", want in (0, 0.9]"));
  RETURN_IF_ERROR(limits.Validate());
  return std::unique_ptr<DatasetBuilder>(new DatasetBuilder(std::move(name), split, limits, blobs, datasets));
}

absl::StatusOr<DatasetBuilder::Verdict> DatasetBuilder::Add(absl::string_view bytes, const std::string& label,
                                                            Split split, const std::string& file_name) {
  RETURN_IF_ERROR(CheckLabel(label));
  ASSIGN_OR_RETURN(Verdict checked, Check(bytes));
  if (!checked.accepted) {
    Reject(file_name, checked.reason);
    return checked;
  }
  ASSIGN_OR_RETURN(Verdict labelled, Label(checked.image_digest, label, split, file_name));
  labelled.duplicate = checked.duplicate;
  return labelled;
}

absl::StatusOr<DatasetBuilder::Verdict> DatasetBuilder::Check(absl::string_view bytes) {
  if (++offered_ > limits_.max_entries()) return TooMany("pictures, good and bad", limits_.max_entries());
  Verdict verdict;
  verdict.image_digest = Digest(bytes);
  auto it = pictures_.find(verdict.image_digest);
  if (it == pictures_.end()) {
    ASSIGN_OR_RETURN(Picture picture, Store(bytes, &verdict.duplicate));
    it = pictures_.emplace(verdict.image_digest, std::move(picture)).first;
  } else {
    verdict.duplicate = it->second.fault.empty();
  }
  verdict.accepted = it->second.fault.empty();
  verdict.reason = it->second.fault;
  if (verdict.duplicate) ++duplicate_count_;
  return verdict;
}

absl::StatusOr<DatasetBuilder::Picture> DatasetBuilder::Store(absl::string_view bytes, bool* existed) {
  Picture picture;
  picture.bytes = static_cast<int64_t>(bytes.size());
  const absl::Status status = DecodeImage(bytes, limits_.image).status();
  if (absl::IsInvalidArgument(status)) {
    picture.fault = Printable(status.message());
    return picture;
  }
  RETURN_IF_ERROR(status);
  ASSIGN_OR_RETURN(const BlobStore::PutResult put, blobs_->Put(bytes));
  *existed = put.existed;
  RETURN_IF_ERROR(CountPicture(picture.bytes));  // after Put(), which a caller may repeat
  return picture;
}

absl::StatusOr<DatasetBuilder::Verdict> DatasetBuilder::Label(const std::string& image_digest,
                                                              const std::string& label, Split split,
                                                              const std::string& file_name) {
  RETURN_IF_ERROR(CheckLabel(label));
  const auto it = pictures_.find(image_digest);
  GRAFT_CHECK(it != pictures_.end() && it->second.fault.empty());
  Picture& picture = it->second;
  Verdict verdict;
  verdict.image_digest = image_digest;
  verdict.reason = file_name.size() > kMaxFileNameBytes
                       ? absl::StrCat("file_name: got ", file_name.size(), " bytes, want at most ", kMaxFileNameBytes)
                       : Contradiction(picture, label, split);
  if (!verdict.reason.empty()) {
    Reject(file_name, verdict.reason);
    return verdict;
  }
  RETURN_IF_ERROR(CountLabel(label));
  const std::string printable = Printable(file_name);
  if (picture.label.empty() || printable < picture.file_name) picture.file_name = printable;
  picture.label = label;
  if (picture.split == Split::kUnspecified) picture.split = split;
  verdict.accepted = true;
  return verdict;
}

std::string DatasetBuilder::Contradiction(const Picture& picture, const std::string& label, Split split) {
  if (picture.label.empty()) return "";
  if (picture.label != label)
    return absl::StrCat("label: got \"", label, "\" for the same picture as \"", picture.file_name,
                        "\", which is \"", picture.label, "\"");
  if (picture.split == split || picture.split == Split::kUnspecified || split == Split::kUnspecified) return "";
  return absl::StrCat("split: got ", SplitName(split), " for the same picture as \"", picture.file_name,
                      "\", which is in ", SplitName(picture.split));
}

absl::Status DatasetBuilder::StartFrom(const std::string& base_version) {
  GRAFT_CHECK(pictures_.empty());
  const std::string wanted = base_version == "latest" ? "" : base_version;
  ASSIGN_OR_RETURN(const DatasetVersion base, datasets_->Get(name_, wanted));
  ASSIGN_OR_RETURN(const std::vector<DatasetItem> items, datasets_->Items(name_, base.version));
  for (const DatasetItem& item : items) {
    Picture picture;
    picture.bytes = item.bytes;
    picture.label = base.classes[item.label].name;
    picture.split = base.split_by_server && item.split != Split::kTest ? Split::kUnspecified : item.split;
    picture.file_name = item.file_name;
    RETURN_IF_ERROR(CountPicture(item.bytes));
    RETURN_IF_ERROR(CountLabel(picture.label));
    pictures_.emplace(item.image_digest, std::move(picture));
  }
  return absl::OkStatus();
}

void DatasetBuilder::Reject(const std::string& file_name, const std::string& reason) {
  ++rejected_count_;
  if (rejected_.size() < static_cast<size_t>(limits_.max_listed_rejections))
    rejected_.push_back({Printable(file_name), Printable(reason)});
}

absl::StatusOr<IngestResult> DatasetBuilder::Commit() {
  const std::vector<std::string> classes(labels_.begin(), labels_.end());
  std::vector<DatasetItem> items = Items(classes);
  DatasetVersion version;
  version.split_by_server = ResolveSplits(split_, &items);
  version.classes = CountClasses(items, classes);
  RETURN_IF_ERROR(CheckClasses(version.classes));
  version.name = name_;
  version.version = ContentDigest(items, classes);
  version.create_time = absl::Now();
  version.image_count = static_cast<int64_t>(items.size());
  for (const DatasetItem& item : items) version.bytes += item.bytes;
  IngestResult result;
  ASSIGN_OR_RETURN(result.version, datasets_->Commit(version, items));
  result.rejected = rejected_;
  result.rejected_count = rejected_count_;
  result.duplicate_count = duplicate_count_;
  return result;
}

absl::Status DatasetBuilder::CountPicture(int64_t bytes) {
  if (++stored_ > limits_.max_images) return TooMany("pictures", limits_.max_images);
  stored_bytes_ += bytes;
  if (stored_bytes_ > limits_.max_total_bytes) return TooMany("bytes", limits_.max_total_bytes);
  return absl::OkStatus();
}

absl::Status DatasetBuilder::CountLabel(const std::string& label) {
  if (labels_.count(label) > 0) return absl::OkStatus();
  if (labels_.size() == static_cast<size_t>(limits_.max_classes)) return TooMany("classes", limits_.max_classes);
  labels_.insert(label);
  return absl::OkStatus();
}

std::vector<DatasetItem> DatasetBuilder::Items(const std::vector<std::string>& classes) const {
  std::vector<DatasetItem> items;
  for (const auto& [digest, picture] : pictures_) {
    if (picture.label.empty()) continue;
    DatasetItem item;
    item.file_name = picture.file_name;
    item.image_digest = digest;
    item.label = static_cast<int>(std::lower_bound(classes.begin(), classes.end(), picture.label) - classes.begin());
    item.split = picture.split;
    item.bytes = picture.bytes;
    items.push_back(std::move(item));
  }
  std::sort(items.begin(), items.end(), [](const DatasetItem& a, const DatasetItem& b) {
    return std::tie(a.file_name, a.image_digest) < std::tie(b.file_name, b.image_digest);
  });
  return items;
}

}  // namespace graft

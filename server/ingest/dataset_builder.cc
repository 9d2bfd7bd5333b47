#include "server/ingest/dataset_builder.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/ingest/folder_layout.h"
#include "server/ingest/names.h"
#include "server/ingest/version_contents.h"
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

// Gives every item a split; true when the server chose which pictures are for validation.
bool ResolveSplits(const SplitOptions& options, bool multi_label, std::vector<DatasetItem>* items) {
  const bool given = std::any_of(items->begin(), items->end(),
                                 [](const DatasetItem& item) { return item.split == Split::kValidation; });
  if (!given) {
    if (multi_label)
      SplitOffMultiLabelValidation(options, items);
    else
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

DatasetBuilder::DatasetBuilder(DatasetOptions options, IngestLimits limits, BlobStore* blobs, DatasetStore* datasets)
    : name_(std::move(options.name)), split_(options.split), limits_(limits), blobs_(blobs), datasets_(datasets),
      multi_label_(options.multi_label) {}

absl::StatusOr<std::unique_ptr<DatasetBuilder>> DatasetBuilder::Create(DatasetOptions options, IngestLimits limits,
                                                                       BlobStore* blobs, DatasetStore* datasets) {
  RETURN_IF_ERROR(CheckName("name", options.name));
  const double fraction = options.split.validation_fraction;
  if (!(fraction > 0 && fraction <= 0.9))
    return absl::InvalidArgumentError(absl::StrCat("validation_fraction: got ", fraction, ", want in (0, 0.9]"));
  RETURN_IF_ERROR(limits.Validate());
  return std::unique_ptr<DatasetBuilder>(new DatasetBuilder(std::move(options), limits, blobs, datasets));
}

absl::Status DatasetBuilder::SetMultiLabel(bool multi_label, absl::string_view why) {
  GRAFT_CHECK(numbers_.empty());
  if (multi_label_.value_or(multi_label) != multi_label)
    return absl::InvalidArgumentError(absl::StrCat(
        "multi_label: got ", multi_label ? "false, want true" : "true, want false", ", or unset: ", why));
  multi_label_ = multi_label;
  return absl::OkStatus();
}

absl::StatusOr<DatasetBuilder::Verdict> DatasetBuilder::Add(absl::string_view bytes,
                                                            const std::vector<std::string>& labels, Split split,
                                                            const std::string& file_name) {
  RETURN_IF_ERROR(CheckLabelsOfOne(labels));
  ASSIGN_OR_RETURN(Verdict checked, Check(bytes));
  if (!checked.accepted) {
    Reject(file_name, checked.reason);
    return checked;
  }
  ASSIGN_OR_RETURN(Verdict labelled, Label(checked.image_digest, labels, split, file_name));
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
                                                              const std::vector<std::string>& labels, Split split,
                                                              const std::string& file_name) {
  RETURN_IF_ERROR(CheckLabelsOfOne(labels));
  const auto it = pictures_.find(image_digest);
  GRAFT_CHECK(it != pictures_.end() && it->second.fault.empty());
  Picture& picture = it->second;
  Verdict verdict;
  verdict.image_digest = image_digest;
  verdict.reason = file_name.size() > kMaxFileNameBytes
                       ? absl::StrCat("file_name: got ", file_name.size(), " bytes, want at most ", kMaxFileNameBytes)
                       : Contradiction(picture, labels, split);
  if (!verdict.reason.empty()) {
    Reject(file_name, verdict.reason);
    return verdict;
  }
  ASSIGN_OR_RETURN(const std::vector<int> numbers, NumbersOf(labels));
  std::vector<int> all;
  std::set_union(numbers.begin(), numbers.end(), picture.labels.begin(), picture.labels.end(),
                 std::back_inserter(all));
  const std::string printable = Printable(file_name);
  if (all.size() > kMaxLabels)
    return absl::InvalidArgumentError(absl::StrCat("labels: got more than ", kMaxLabels, " classes of picture \"",
                                                   printable, "\" in all its files, want at most that many"));
  picture.labels = std::move(all);
  if (!picture.labelled || printable < picture.file_name) picture.file_name = printable;
  picture.labelled = true;
  if (picture.split == Split::kUnspecified) picture.split = split;
  verdict.accepted = true;
  return verdict;
}

std::string DatasetBuilder::Contradiction(const Picture& picture, const std::vector<std::string>& labels,
                                          Split split) const {
  if (!picture.labelled) return "";
  if (!multi_label() && names_[picture.labels[0]] != labels[0])
    return absl::StrCat("label: got \"", labels[0], "\" for the same picture as \"", picture.file_name,
                        "\", which is \"", names_[picture.labels[0]], "\"");
  if (picture.split == split || picture.split == Split::kUnspecified || split == Split::kUnspecified) return "";
  return absl::StrCat("split: got ", SplitName(split), " for the same picture as \"", picture.file_name,
                      "\", which is in ", SplitName(picture.split));
}

absl::Status DatasetBuilder::StartFrom(const std::string& base_version) {
  GRAFT_CHECK(pictures_.empty());
  const std::string wanted = base_version == "latest" ? "" : base_version;
  ASSIGN_OR_RETURN(const DatasetVersion base, datasets_->Get(name_, wanted));
  RETURN_IF_ERROR(SetMultiLabel(base.multi_label, "that is what base_version is"));
  ASSIGN_OR_RETURN(const std::vector<DatasetItem> items, datasets_->Items(name_, base.version));
  std::vector<std::string> names;
  for (const ClassCount& count : base.classes) names.push_back(count.name);
  ASSIGN_OR_RETURN(const std::vector<int> numbers, NumbersOf(names));  // by name, as the labels are
  for (const DatasetItem& item : items) {
    Picture picture;
    picture.bytes = item.bytes;
    picture.labelled = true;
    for (const int label : item.labels) picture.labels.push_back(numbers[label]);
    picture.split = base.split_by_server && item.split != Split::kTest ? Split::kUnspecified : item.split;
    picture.file_name = item.file_name;
    RETURN_IF_ERROR(CountPicture(item.bytes));
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
  std::vector<DatasetItem> items = Items();
  DatasetVersion version;
  version.name = name_;
  version.multi_label = multi_label();
  version.split_by_server = ResolveSplits(split_, version.multi_label, &items);
  for (const auto& [name, number] : numbers_) version.classes.push_back({name});
  CountItems(items, &version);
  RETURN_IF_ERROR(CheckCounts(version));
  version.version = ContentDigest(items, version);
  version.create_time = absl::Now();
  IngestResult result;
  ASSIGN_OR_RETURN(result.version, datasets_->Commit(version, items));
  result.rejected = rejected_;
  result.rejected_count = rejected_count_;
  result.duplicate_count = duplicate_count_;
  return result;
}

absl::Status DatasetBuilder::CheckLabelsOfOne(const std::vector<std::string>& labels) const {
  if (multi_label()) return CheckLabels(labels);
  if (labels.size() != 1)
    return absl::InvalidArgumentError(
        absl::StrCat("label: got ", labels.size(), " classes of one picture, want 1: the dataset is not multi-label"));
  return CheckLabel(labels[0]);
}

absl::Status DatasetBuilder::CountPicture(int64_t bytes) {
  if (++stored_ > limits_.max_images) return TooMany("pictures", limits_.max_images);
  stored_bytes_ += bytes;
  if (stored_bytes_ > limits_.max_total_bytes) return TooMany("bytes", limits_.max_total_bytes);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<int>> DatasetBuilder::NumbersOf(const std::vector<std::string>& labels) {
  std::vector<int> numbers;
  for (const std::string& label : labels) {
    auto it = numbers_.find(label);
    if (it == numbers_.end()) {
      if (names_.size() == static_cast<size_t>(limits_.max_classes)) return TooMany("classes", limits_.max_classes);
      it = numbers_.emplace(label, static_cast<int>(names_.size())).first;
      names_.push_back(label);
    }
    numbers.push_back(it->second);
  }
  std::sort(numbers.begin(), numbers.end());
  numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
  return numbers;
}

std::vector<DatasetItem> DatasetBuilder::Items() const {
  std::vector<int> index_of(numbers_.size());
  int index = 0;
  for (const auto& [name, number] : numbers_) index_of[number] = index++;
  std::vector<DatasetItem> items;
  for (const auto& [digest, picture] : pictures_) {
    if (!picture.labelled) continue;
    DatasetItem item;
    item.file_name = picture.file_name;
    item.image_digest = digest;
    for (const int number : picture.labels) item.labels.push_back(index_of[number]);
    std::sort(item.labels.begin(), item.labels.end());
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

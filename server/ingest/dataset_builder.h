#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/ingest/validation_split.h"
#include "server/store/blob_store.h"
#include "server/store/dataset_store.h"
#include "server/store/records.h"
#include "worker/image/image.h"

namespace graft {

// What one import may bring.
struct IngestLimits {
  ImageLimits image;
  int64_t max_images = 200'000;
  int64_t max_total_bytes = int64_t{64} << 30;  // of all pictures, decompressed
  int max_classes = 1'000;
  int max_listed_rejections = 1'000;

  // Pictures offered, or entries of an archive: room for as many rejected ones again, and for folders.
  int64_t max_entries() const { return 2 * max_images + 10'000; }
  //   InvalidArgument  a limit that is not positive, image's included
  absl::Status Validate() const;
};

// What is to be made.
struct DatasetOptions {
  std::string name;
  SplitOptions split;
  // Whether pictures have any number of classes; unset: what SetMultiLabel() or StartFrom() finds, else not.
  std::optional<bool> multi_label;
};

struct RejectedImage {
  std::string file_name;
  std::string reason;
};

struct IngestResult {
  DatasetVersion version;
  std::vector<RejectedImage> rejected;  // at most max_listed_rejections
  int64_t rejected_count = 0;
  int64_t duplicate_count = 0;
};

// Collects pictures into one dataset version: checks and decodes each once on arrival, stores its bytes, and commits
// the version at the end. Nothing is visible before Commit(). Identical bytes are one picture of the version: what
// comes second with another label or split is rejected, but of a multi-label dataset its labels are added; the smaller
// file name stays.
//
// Threads: one at a time.
// Lifetime: the stores outlive it.
class DatasetBuilder {
 public:
  //   InvalidArgument: name, validation_fraction, limits
  static absl::StatusOr<std::unique_ptr<DatasetBuilder>> Create(DatasetOptions options, IngestLimits limits,
                                                                BlobStore* blobs, DatasetStore* datasets);

  bool multi_label() const { return multi_label_.value_or(false); }
  // Decides what is still open, before the first Label().
  //   InvalidArgument  it was decided otherwise; `why` says for people where this comes from
  absl::Status SetMultiLabel(bool multi_label, absl::string_view why);

  struct Verdict {
    bool accepted = false;
    std::string reason;  // why not
    std::string image_digest;
    bool duplicate = false;  // the blob store, or this import, had the bytes already
  };
  // A picture with its labels, just one but in a multi-label dataset: Check(), Label(), and Reject() when it is bad. A
  // bad one gets a verdict, not an error.
  //   InvalidArgument    labels (empty, too long, control characters, another number of them), or one more than
  //                      max_images/_total_bytes/_classes, max_entries() or kMaxLabels for one picture
  //   Internal, ResourceExhausted  the blob store failed, or memory is out
  absl::StatusOr<Verdict> Add(absl::string_view bytes, const std::vector<std::string>& labels, Split split,
                              const std::string& file_name);

  // For a picture whose label is not known yet: decodes and stores it. It joins the version with Label(). A bad picture
  // is not noted as rejected. Same errors as Add().
  absl::StatusOr<Verdict> Check(absl::string_view bytes);
  // Labels a picture that Check() accepted; one that contradicts an earlier label or split is noted as rejected. The
  // verdict's `duplicate` is Check()'s to say.   InvalidArgument: labels, or one more than max_classes or kMaxLabels
  absl::StatusOr<Verdict> Label(const std::string& image_digest, const std::vector<std::string>& labels, Split split,
                                const std::string& file_name);

  // Starts from the pictures of a stored version ("latest" or its digest); before anything else is added. Splits that
  // the server made are made anew by Commit().   NotFound; InvalidArgument: beyond the limits, or multi-label and the
  // dataset to be made is not, or the other way round
  absl::Status StartFrom(const std::string& base_version);
  // Notes a picture that could not even be read (a link, a name outside the layout).
  void Reject(const std::string& file_name, const std::string& reason);

  // Takes validation pictures from training when no picture is named one (all pictures without a split are training
  // pictures otherwise), computes the content digest and commits.
  //   InvalidArgument  fewer than two classes with pictures (multi-label: one), a class without training pictures
  //                    (named), or no validation picture, because no class can spare one
  //   and what the dataset store returned
  absl::StatusOr<IngestResult> Commit();

 private:
  // What is known of some bytes, by their digest.
  struct Picture {
    int64_t bytes = 0;
    std::string fault;        // empty: a picture
    bool labelled = false;    // it is in the version
    std::vector<int> labels;  // class numbers, ascending
    Split split = Split::kUnspecified;
    std::string file_name;
  };

  DatasetBuilder(DatasetOptions options, IngestLimits limits, BlobStore* blobs, DatasetStore* datasets);
  // Decodes and stores bytes that are seen for the first time; `existed` when the blob store had them.
  absl::StatusOr<Picture> Store(absl::string_view bytes, bool* existed);
  // Why a picture that may be labelled already cannot have these labels and this split; empty: it can.
  std::string Contradiction(const Picture& picture, const std::vector<std::string>& labels, Split split) const;
  absl::Status CheckLabelsOfOne(const std::vector<std::string>& labels) const;
  absl::Status CountPicture(int64_t bytes);
  // The numbers of classes, which get one when they are new.   InvalidArgument: one more than max_classes
  absl::StatusOr<std::vector<int>> NumbersOf(const std::vector<std::string>& labels);
  // Items by file name and digest; labels are places in `numbers_`, whose order is that of the names.
  std::vector<DatasetItem> Items() const;

  const std::string name_;
  const SplitOptions split_;
  const IngestLimits limits_;
  BlobStore* const blobs_;
  DatasetStore* const datasets_;
  std::optional<bool> multi_label_;
  std::unordered_map<std::string, Picture> pictures_;
  std::map<std::string, int> numbers_;  // of the classes, in the order in which they came
  std::vector<std::string> names_;      // by number
  int64_t offered_ = 0;       // pictures, good or bad
  int64_t stored_ = 0;        // good ones, each counted once
  int64_t stored_bytes_ = 0;
  int64_t duplicate_count_ = 0;
  int64_t rejected_count_ = 0;
  std::vector<RejectedImage> rejected_;
};

}  // namespace graft

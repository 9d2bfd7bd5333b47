#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace graft {

// The plain rows that the store keeps. `bytes` fields named "..._pb" are opaque here: server/jobs encodes and decodes
// them (protobuf), so that the store knows nothing of the API.

enum class Split { kUnspecified = 0, kTrain = 1, kValidation = 2, kTest = 3 };

struct SplitCounts {
  int64_t train = 0, validation = 0, test = 0;
};

// Pictures of one class: of a multi-label dataset a picture counts for each of its classes.
struct ClassCount {
  std::string name;
  int64_t train = 0, validation = 0, test = 0;
};

// One picture of a dataset version.
struct DatasetItem {
  std::string file_name;
  std::string image_digest;  // "sha256:..."
  std::vector<int> labels;   // indices into DatasetVersion::classes, ascending; just one but in a multi-label version
  Split split = Split::kTrain;
  int64_t bytes = 0;
};

// One immutable version of a dataset.
struct DatasetVersion {
  std::string name;
  std::string version;  // "sha256:..." of the content
  absl::Time create_time;
  std::vector<ClassCount> classes;  // by name: the class index order
  int64_t image_count = 0;
  int64_t bytes = 0;
  bool split_by_server = false;
  bool multi_label = false;  // a picture has any number of classes
  SplitCounts images;        // each picture once
};

enum class JobState { kQueued = 1, kRunning = 2, kSucceeded = 3, kFailed = 4, kCancelled = 5 };

inline bool IsFinal(JobState state) { return state >= JobState::kSucceeded; }

struct JobRecord {
  std::string id;          // assigned by the store
  std::string request_id;  // unique when not empty
  std::string dataset, dataset_version;
  std::string spec_pb, effective_pb;
  JobState state = JobState::kQueued;
  absl::Time create_time;
  std::optional<absl::Time> start_time, end_time;
  int attempt = 0;
  int released = 0;  // of these, ended by drain; only JobStore::Lease() says it
  std::string error;
  std::string last_epoch_pb, evaluation_pb, parameters_pb;  // newest of each
  std::string auto_pb;                                      // why AUTO chose what it chose; empty: no AUTO, or not yet
  std::string model_version;                                // "name/N"
  int64_t last_seq = 0;
  bool cancel_requested = false;
  std::string lease_owner;
  std::optional<absl::Time> lease_expiry;
};

// What a worker learnt, written together with the events that say it.
struct JobUpdate {
  std::optional<std::string> effective_pb, last_epoch_pb, evaluation_pb, parameters_pb, auto_pb;
  std::vector<std::string> event_pbs;  // appended in order, each with the next sequence number
};

struct EventRecord {
  int64_t seq = 0;
  absl::Time time;
  std::string event_pb;
};

// Which of a job's checkpoints a model version is.
enum class CheckpointKind {
  kOnly = 0,
  kBest = 1,  // the epoch that early stopping went back to
  kLast = 2,  // the last epoch, beside kBest
};

struct ModelVersionRecord {
  std::string model;
  int64_t version = 0;  // assigned by the store, from 1
  absl::Time create_time;
  std::string job_id;
  CheckpointKind checkpoint = CheckpointKind::kOnly;  // a job makes at most one version of each
  std::string backbone, backbone_digest;
  int split_point = 0;
  std::string checkpoint_digest;  // of the blob
  int64_t checkpoint_bytes = 0;
  std::string dataset, dataset_version;
  std::string evaluation_pb;
  std::string details_pb;  // classes, preprocessing: a graft.v1.ModelVersion
};

struct ModelRecord {
  std::string name;
  std::vector<ModelVersionRecord> versions;  // newest first
  std::map<std::string, int64_t> aliases;
};

template <typename T>
struct Page {
  std::vector<T> items;
  std::string next_token;  // empty: that was the last page
};

struct PageRequest {
  int size = 50;
  std::string token;
};

}  // namespace graft

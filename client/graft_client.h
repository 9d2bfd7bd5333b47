#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "graft/v1/dataset.pb.h"
#include "graft/v1/inference.pb.h"
#include "graft/v1/job.pb.h"
#include "graft/v1/model.pb.h"
#include "graft/v1/system.pb.h"

namespace grpc {
class Channel;
}  // namespace grpc

namespace graft {

struct ClientOptions {
  std::string server = "127.0.0.1:50051";          // host:port
  absl::Duration connect_timeout = absl::Seconds(5);
  absl::Duration rpc_timeout = absl::Seconds(60);  // of a call with one answer; uploads and watches have none
  int64_t max_message_bytes = 64 << 20;            // of one answer, 1 to 2^31 - 1

  // How often in a row StartJob, DescribeJob and GetJob (retries) and WatchJob (reconnects) try again when UNAVAILABLE.
  // The pauses double from 0.2 s to 5 s: 4 are 3 s, 30 are more than 2 minutes, enough for a server to be replaced.
  int max_retries = 4;
  int max_reconnects = 30;
  std::function<void(absl::Duration)> sleep = absl::SleepFor;  // a test's own

  // InvalidArgument, naming each field out of range.
  absl::Status Validate() const;
};

struct UploadObserver {
  std::function<void(int64_t sent_bytes, int64_t total_bytes)> progress;  // of the files' content
  std::function<void(const std::string&)> warning;                        // a link that was left out
};

struct WatchOptions {
  int64_t from_seq = 1;
  // The connection broke with this status and will be tried again after this pause.
  std::function<void(const absl::Status&, absl::Duration)> on_reconnect;
};

// A client of one graft server.
//
// Threads:  safe for concurrent calls; callbacks run on the calling thread.
// Lifetime: outlives its calls.
// Errors:   the server's own (see proto/graft/v1), with its message; besides
//   Unavailable        no server answers
//   DeadlineExceeded   no answer within rpc_timeout
class Client {
 public:
  using Options = ClientOptions;

  // Connects, waiting for the server up to connect_timeout.
  //   InvalidArgument   an option out of range
  //   Unavailable       no connection in that time
  static absl::StatusOr<std::unique_ptr<Client>> Connect(Options options);
  // Over a channel made elsewhere (in-process, TLS); does not wait for it.
  static std::unique_ptr<Client> OverChannel(std::shared_ptr<grpc::Channel> channel, Options options);

  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Uploads a folder (as a tar made on the fly) or an archive file (as it is).
  //   NotFound, PermissionDenied, InvalidArgument   `path`; also what the server finds
  //   DataLoss                                      a file changed while it was read
  absl::StatusOr<v1::UploadDatasetResponse> UploadDataset(const std::string& path, const v1::DatasetHeader& header,
                                                          const UploadObserver& observer = {});

  // Fills in the next picture; false = there are no more; an error breaks off the import, which then commits nothing.
  using ImageSource = std::function<absl::StatusOr<bool>(v1::LabelledImage*)>;
  using VerdictCallback = std::function<void(const v1::ImageVerdict&)>;
  // Imports pictures one by one and returns the committed version.
  absl::StatusOr<v1::Dataset> ImportImages(const v1::ImportHeader& header, const ImageSource& next,
                                           const VerdictCallback& on_verdict = {});

  // An empty version is the newest, for DeleteDataset all of them.
  absl::StatusOr<v1::Dataset> GetDataset(const std::string& name, const std::string& version = "");
  absl::StatusOr<std::vector<v1::Dataset>> ListDatasets();
  absl::Status DeleteDataset(const std::string& name, const std::string& version = "");

  // Starts a job once, however often the connection breaks: an empty request_id gets a random one, and Unavailable is
  // tried again with the same request.
  absl::StatusOr<v1::Job> StartJob(v1::StartJobRequest request);
  // What StartJob would train; queues nothing. Tried again when Unavailable.
  absl::StatusOr<v1::JobDescription> DescribeJob(const v1::StartJobRequest& request);
  // Tried again when Unavailable.
  absl::StatusOr<v1::Job> GetJob(const std::string& id);
  // The newest `limit` jobs (0 = all) in one of `states` (none = any).
  absl::StatusOr<std::vector<v1::Job>> ListJobs(const std::vector<v1::JobState>& states = {}, int limit = 0);
  absl::StatusOr<v1::Job> CancelJob(const std::string& id);

  // Hears an event; false stops the watch.
  using EventCallback = std::function<bool(const v1::JobEvent&)>;
  // Passes on each event from `from_seq` exactly once and in order, until the job has ended; reconnects when the server
  // goes away.
  //   Cancelled     the callback said false
  //   Unavailable   max_reconnects attempts in a row brought no event
  absl::Status WatchJob(const std::string& id, const WatchOptions& options, const EventCallback& on_event);

  absl::StatusOr<std::vector<v1::Model>> ListModels();
  absl::StatusOr<v1::Model> GetModel(const std::string& name);  // also "backbone/NAME"
  // Version 0 removes the alias.
  absl::StatusOr<v1::Model> SetAlias(const std::string& name, const std::string& alias, int64_t version);
  absl::StatusOr<v1::Model> DeleteModelVersion(const std::string& name, int64_t version);
  absl::StatusOr<std::vector<v1::Backbone>> ListBackbones();
  // One of them.   NotFound: none of that name
  absl::StatusOr<v1::Backbone> GetBackbone(const std::string& name);

  absl::StatusOr<v1::ClassifyResponse> Classify(const v1::ClassifyRequest& request);

  absl::StatusOr<v1::ServerInfo> GetServerInfo();

 private:
  struct Stubs;

  Client(std::shared_ptr<grpc::Channel> channel, Options options);

  // One connection's worth of WatchJob: moves *last_seq to each event passed on.
  absl::Status WatchOnce(const std::string& id, int64_t* last_seq, const EventCallback& on_event, bool* stopped);
  // Runs `call`, which returns a StatusOr, until it is anything but Unavailable, at most 1 + max_retries times.
  template <typename Call>
  auto RetryUnavailable(const Call& call) -> decltype(call());

  const Options options_;
  const std::unique_ptr<Stubs> stubs_;
};

}  // namespace graft

// The calls of JobService that outlive a connection.
#include <grpcpp/support/sync_stream.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/stubs.h"
#include "worker/base/status.h"

namespace graft {
namespace {

// 128 random bits, in hex.
std::string RandomRequestId() {
  std::random_device device;
  std::string id = "graft-";
  for (int i = 0; i < 4; ++i) {
    absl::StrAppend(&id, absl::Hex(static_cast<uint32_t>(device()), absl::kZeroPad8));
  }
  return id;
}

}  // namespace

template <typename Call>
auto Client::RetryUnavailable(const Call& call) -> decltype(call()) {
  for (int failures = 1;; ++failures) {
    auto response = call();
    if (!absl::IsUnavailable(response.status()) || failures > options_.max_retries) return response;
    options_.sleep(RetryPause(failures));
  }
}

absl::StatusOr<v1::Job> Client::StartJob(v1::StartJobRequest request) {
  if (request.request_id().empty()) request.set_request_id(RandomRequestId());
  return RetryUnavailable([&] {
    return CallUnary(stubs_->jobs, &v1::JobService::Stub::StartJob, request, options_.rpc_timeout);
  });
}

absl::StatusOr<v1::JobDescription> Client::DescribeJob(const v1::StartJobRequest& request) {
  return RetryUnavailable([&] {
    return CallUnary(stubs_->jobs, &v1::JobService::Stub::DescribeJob, request, options_.rpc_timeout);
  });
}

absl::StatusOr<v1::Job> Client::GetJob(const std::string& id) {
  v1::GetJobRequest request;
  request.set_id(id);
  return RetryUnavailable([&] {
    return CallUnary(stubs_->jobs, &v1::JobService::Stub::GetJob, request, options_.rpc_timeout);
  });
}

absl::Status Client::WatchOnce(const std::string& id, int64_t* last_seq, const EventCallback& on_event,
                               bool* stopped) {
  grpc::ClientContext context;
  v1::WatchJobRequest request;
  request.set_id(id);
  request.set_from_seq(*last_seq + 1);
  const auto stream = stubs_->jobs.WatchJob(&context, request);
  v1::JobEvent event;
  while (stream->Read(&event)) {
    if (event.seq() <= *last_seq) continue;
    *last_seq = event.seq();
    if (!on_event(event)) {
      *stopped = true;
      context.TryCancel();
      break;
    }
  }
  return FromGrpc(stream->Finish());
}

absl::Status Client::WatchJob(const std::string& id, const WatchOptions& options, const EventCallback& on_event) {
  int64_t last_seq = std::max<int64_t>(options.from_seq, 1) - 1;
  for (int failures = 0;;) {
    const int64_t seen = last_seq;
    bool stopped = false;
    const absl::Status status = WatchOnce(id, &last_seq, on_event, &stopped);
    if (stopped) return absl::CancelledError("the watch was stopped");
    if (!absl::IsUnavailable(status)) return status;
    failures = last_seq > seen ? 1 : failures + 1;
    if (failures > options_.max_reconnects) return status;
    const absl::Duration pause = RetryPause(failures);
    if (options.on_reconnect) options.on_reconnect(status, pause);
    options_.sleep(pause);
  }
}

}  // namespace graft

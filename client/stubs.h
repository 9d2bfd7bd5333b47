#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <algorithm>
#include <chrono>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/from_grpc.h"
#include "client/graft_client.h"
#include "graft/v1/dataset.grpc.pb.h"
#include "graft/v1/inference.grpc.pb.h"
#include "graft/v1/job.grpc.pb.h"
#include "graft/v1/model.grpc.pb.h"
#include "graft/v1/system.grpc.pb.h"

namespace graft {

struct Client::Stubs {
  explicit Stubs(const std::shared_ptr<grpc::Channel>& channel)
      : datasets(channel), jobs(channel), models(channel), inference(channel), system(channel) {}

  v1::DatasetService::Stub datasets;
  v1::JobService::Stub jobs;
  v1::ModelService::Stub models;
  v1::InferenceService::Stub inference;
  v1::SystemService::Stub system;
};

// Makes one call with one answer.
template <typename Stub, typename Request, typename Response>
absl::StatusOr<Response> CallUnary(Stub& stub,
                                   grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                                   const Request& request, absl::Duration timeout) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(timeout));
  Response response;
  const absl::Status status = FromGrpc((stub.*method)(&context, request, &response));
  if (!status.ok()) return status;
  return response;
}

// The pause before attempt `failures` + 1: 0.2 s, doubling, at most 5 s.
inline absl::Duration RetryPause(int failures) {
  absl::Duration pause = absl::Milliseconds(200);
  for (int i = 1; i < failures && pause < absl::Seconds(5); ++i) pause *= 2;
  return std::min(pause, absl::Seconds(5));
}

}  // namespace graft

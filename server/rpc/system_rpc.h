#pragma once

#include <utility>

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include "graft/v1/system.grpc.pb.h"

namespace graft {

// graft.v1.SystemService: tells what it was made with.
//
// Threads:  safe.
// Lifetime: outlives the gRPC server.
class SystemRpc : public v1::SystemService::CallbackService {
 public:
  explicit SystemRpc(v1::ServerInfo info) : info_(std::move(info)) {}

  grpc::ServerUnaryReactor* GetServerInfo(grpc::CallbackServerContext* context,
                                          const v1::GetServerInfoRequest* /*request*/,
                                          v1::ServerInfo* response) override {
    *response = info_;
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

 private:
  const v1::ServerInfo info_;
};

}  // namespace graft

#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include "graft/v1/inference.grpc.pb.h"
#include "server/rpc/classify_context.h"

namespace graft {

// graft.v1.InferenceService over the classifier.
//
// Threads:  safe.
// Lifetime: outlives the gRPC server; what `classify` points to outlives it.
class InferenceRpc : public v1::InferenceService::CallbackService {
 public:
  explicit InferenceRpc(ClassifyContext classify) : classify_(classify) {}

  grpc::ServerUnaryReactor* Classify(grpc::CallbackServerContext* context, const v1::ClassifyRequest* request,
                                     v1::ClassifyResponse* response) override;
  grpc::ServerBidiReactor<v1::ClassifyRequest, v1::ClassifyStreamResponse>* ClassifyStream(
      grpc::CallbackServerContext* context) override;

 private:
  const ClassifyContext classify_;
};

}  // namespace graft

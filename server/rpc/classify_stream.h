#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include "graft/v1/inference.pb.h"
#include "server/rpc/classify_context.h"

namespace graft {

// One ClassifyStream call: up to four requests at work at a time, answers in the requests' order; an error of one
// request is its answer. `classify` outlives the call.
grpc::ServerBidiReactor<v1::ClassifyRequest, v1::ClassifyStreamResponse>* NewClassifyStream(
    const ClassifyContext* classify, grpc::CallbackServerContext* context);

}  // namespace graft

#pragma once

#include <memory>

#include <grpcpp/support/server_interceptor.h>

namespace graft {

class Metrics;

// Counts, times and logs (at debug level) every RPC of every kind, so that no handler can forget it. An RPC is counted
// when its status is about to be sent; one that its caller broke off counts as CANCELLED or DEADLINE_EXCEEDED, whatever
// the handler said. `metrics` outlives the server.
std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> NewMetricsInterceptorFactory(Metrics* metrics);

}  // namespace graft

#include "server/rpc/interceptors.h"

#include <string>

#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>
#include <spdlog/spdlog.h>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/metrics/metrics.h"
#include "server/rpc/call_context.h"

namespace graft {
namespace {

using grpc::experimental::InterceptionHookPoints;
using grpc::experimental::ServerRpcInfo;

class MetricsInterceptor : public grpc::experimental::Interceptor {
 public:
  MetricsInterceptor(Metrics* metrics, ServerRpcInfo* info) : metrics_(metrics), info_(info), start_(absl::Now()) {}

  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS)) Count(methods->GetSendStatus());
    methods->Proceed();
  }

 private:
  void Count(const grpc::Status& status) {
    // absl and gRPC share google.rpc.Code's numbers.
    auto code = static_cast<absl::StatusCode>(status.error_code());
    if (info_->server_context()->IsCancelled())
      code = StopStatus(*info_->server_context()).code();
    const absl::Duration duration = absl::Now() - start_;
    const absl::string_view method = absl::StripPrefix(info_->method(), "/");
    metrics_->CountRpc(method, absl::StatusCodeToString(code), duration);
    spdlog::debug("rpc {} {} {:.1f} ms", std::string(method), absl::StatusCodeToString(code),
                  absl::ToDoubleMilliseconds(duration));
  }

  Metrics* const metrics_;
  ServerRpcInfo* const info_;
  const absl::Time start_;
};

class MetricsInterceptorFactory : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  explicit MetricsInterceptorFactory(Metrics* metrics) : metrics_(metrics) {}
  grpc::experimental::Interceptor* CreateServerInterceptor(ServerRpcInfo* info) override {
    return new MetricsInterceptor(metrics_, info);
  }

 private:
  Metrics* const metrics_;
};

}  // namespace

std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> NewMetricsInterceptorFactory(Metrics* metrics) {
  return std::make_unique<MetricsInterceptorFactory>(metrics);
}

}  // namespace graft

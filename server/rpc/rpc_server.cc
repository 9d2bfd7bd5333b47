#include "server/rpc/rpc_server.h"

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <utility>
#include <vector>

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "server/rpc/convert.h"
#include "server/rpc/dataset_rpc.h"
#include "server/rpc/health.h"
#include "server/rpc/inference_rpc.h"
#include "server/rpc/interceptors.h"
#include "server/rpc/job_rpc.h"
#include "server/rpc/model_rpc.h"
#include "server/rpc/slots.h"
#include "server/rpc/system_rpc.h"
#include "server/rpc/validate.h"
#include "worker/base/mutex.h"
#include "worker/base/status.h"

namespace graft {
namespace {

constexpr int kWaitingClassifyCalls = 128;    // with their pictures, up to max_request_bytes each
constexpr int kMaxCallsPerConnection = 1'000;
constexpr int kImportStepThreads = 2;  // beyond those that uploads keep

v1::ServerInfo Info(const RpcServer::Options& options) {
  v1::ServerInfo info = options.info;
  *info.mutable_limits() = ToProto(options.limits);
  return info;
}

// HOST:0 with the port that was taken.
std::string WithPort(const std::string& address, int port) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos || address.substr(colon) != ":0") return address;
  return absl::StrCat(address.substr(0, colon), ":", port);
}

}  // namespace

// In dependency order, the server last: destruction is the shutdown order.
struct RpcServer::Parts {
  Parts(const Options& options, const Dependencies& to)
      : uploads(options.limits.max_concurrent_uploads),
        imports(options.limits.max_concurrent_imports),
        executor(options.executor),
        classify_executor({options.executor.threads, kWaitingClassifyCalls}),
        ingest_executor({options.limits.max_concurrent_uploads + kImportStepThreads,
                         options.limits.max_concurrent_uploads + options.limits.max_concurrent_imports}),
        datasets({to.blobs, to.datasets, &ingest_executor, &uploads, &imports, options.limits,
                  options.upload_idle_timeout},
                 &executor),
        jobs(to.jobs, to.events, &executor),
        models(to.models, to.backbones, &executor),
        inference({to.classifier, to.metrics, &classify_executor, options.limits}),
        system(Info(options)) {}

  Slots uploads, imports;
  Executor executor;
  Executor classify_executor;  // its own: loading a model must not hold up the other calls
  Executor ingest_executor;
  DatasetRpc datasets;
  JobRpc jobs;
  ModelRpc models;
  InferenceRpc inference;
  SystemRpc system;
  Mutex mu;
  bool shut_down ABSL_GUARDED_BY(mu) = false;
  std::unique_ptr<grpc::Server> server;
};

namespace {

void Configure(const RpcServer::Options& options, Metrics* metrics, grpc::ServerBuilder* builder) {
  builder->SetMaxReceiveMessageSize(static_cast<int>(options.limits.max_request_bytes));
  // Two servers on one port would share its connections without a word.
  builder->AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder->AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxCallsPerConnection);
  // Clients may ping an idle connection, every 10 s at most; we find dead ones within 80 s: they free their slots.
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10'000);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 60'000);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> interceptors;
  interceptors.push_back(NewMetricsInterceptorFactory(metrics));
  builder->experimental().SetInterceptorCreators(std::move(interceptors));
}

}  // namespace

absl::Status RpcServer::Options::Validate() const {
  Violations violations;
  const auto check_positive = [&](absl::string_view field, int64_t value) {
    if (value <= 0) violations.Add(absl::InvalidArgumentError(absl::StrCat(field, ": got ", value, ", want > 0")));
  };
  if (address.empty()) violations.Add(absl::InvalidArgumentError("grpc_address: got nothing, want HOST:PORT"));
  violations.Add(limits.Validate());
  check_positive("executor.threads", executor.threads);
  check_positive("executor.capacity", executor.capacity);
  if (upload_idle_timeout <= absl::ZeroDuration())
    violations.Add(absl::InvalidArgumentError(
        absl::StrCat("upload_idle_timeout: got ", absl::FormatDuration(upload_idle_timeout), ", want > 0")));
  return violations.status();
}

absl::StatusOr<std::unique_ptr<RpcServer>> RpcServer::Start(const Options& options,
                                                            const Dependencies& dependencies) {
  RETURN_IF_ERROR(options.Validate());
  auto parts = std::make_unique<Parts>(options, dependencies);
  EnableHealth();
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  Configure(options, dependencies.metrics, &builder);
  int port = 0;
  builder.AddListeningPort(options.address, grpc::InsecureServerCredentials(), &port);
  for (grpc::Service* service : std::initializer_list<grpc::Service*>{&parts->datasets, &parts->jobs, &parts->models,
                                                                      &parts->inference, &parts->system})
    builder.RegisterService(service);
  parts->server = builder.BuildAndStart();
  if (parts->server == nullptr || port == 0)
    return absl::InvalidArgumentError(
        absl::StrCat("grpc_address: got \"", options.address, "\", want HOST:PORT that is free to listen on"));
  std::unique_ptr<RpcServer> server(new RpcServer(std::move(parts)));
  server->port_ = port;
  server->address_ = WithPort(options.address, port);
  server->SetServing(false);
  return server;
}

RpcServer::RpcServer(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

RpcServer::~RpcServer() { Shutdown(absl::ZeroDuration()); }

void RpcServer::SetServing(bool serving) {
  MutexLock lock(&parts_->mu);
  if (!parts_->shut_down) graft::SetServing(parts_->server.get(), serving);
}

void RpcServer::Shutdown(absl::Duration grace) {
  {
    MutexLock lock(&parts_->mu);
    if (parts_->shut_down) return;
    graft::SetServing(parts_->server.get(), false);
    parts_->shut_down = true;
  }
  parts_->jobs.EndWatches();
  parts_->server->Shutdown(absl::ToChronoTime(absl::Now() + grace));
}

std::shared_ptr<grpc::Channel> RpcServer::InProcessChannel() {
  return parts_->server->InProcessChannel(grpc::ChannelArguments());
}

}  // namespace graft

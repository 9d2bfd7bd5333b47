#include "server/http/http_server.h"

#include <sys/socket.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "httplib.h"
#include "worker/base/status.h"

namespace graft {
namespace {

constexpr int kMaxThreads = 64;
constexpr size_t kMaxBodyBytes = 4096;  // nothing here takes a body
constexpr int kSocketTimeoutSeconds = 5;
constexpr char kMetricsType[] = "text/plain; version=0.0.4; charset=utf-8";  // Prometheus exposition formats

// httplib's default is SO_REUSEPORT, with which two servers share one port in silence.
void ReuseAddress(socket_t socket) {
  const int on = 1;
  ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
}

void AddRoutes(const HttpServer::Options& options, httplib::Server* server) {
  server->Get("/metrics", [metrics = options.metrics](const httplib::Request&, httplib::Response& response) {
    response.set_content(metrics(), kMetricsType);
  });
  server->Get("/healthz", [](const httplib::Request&, httplib::Response& response) {
    response.set_content("ok\n", "text/plain");
  });
  server->Get("/readyz", [ready = options.ready](const httplib::Request&, httplib::Response& response) {
    const absl::Status status = ready();
    response.status = status.ok() ? 200 : 503;
    response.set_content(status.ok() ? "ok\n" : absl::StrCat(status.message(), "\n"), "text/plain");
  });
}

}  // namespace

struct HttpServer::Listener {
  ~Listener() {
    server.stop();
    if (thread.joinable()) thread.join();
  }
  // Returns when stop() would be heard: httplib drops one that comes before its loop has begun.
  void Run() {
    thread = std::thread([this] {
      server.listen_after_bind();
      ended = true;
    });
    while (!server.is_running() && !ended) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }

  httplib::Server server;
  std::atomic<bool> ended{false};
  std::thread thread;
};

HttpServer::HttpServer(std::string host) : host_(std::move(host)), listener_(std::make_unique<Listener>()) {}

HttpServer::~HttpServer() = default;

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(Options options) {
  ASSIGN_OR_RETURN(const HostPort at, ParseHostPort("http-address", options.address));
  if (options.threads < 1 || options.threads > kMaxThreads) {
    return absl::InvalidArgumentError(absl::StrCat("threads: got ", options.threads, ", want 1 to ", kMaxThreads));
  }
  std::unique_ptr<HttpServer> self(new HttpServer(at.host));
  httplib::Server& server = self->listener_->server;
  server.new_task_queue = [threads = options.threads] { return new httplib::ThreadPool(static_cast<size_t>(threads)); };
  server.set_socket_options(ReuseAddress);
  server.set_payload_max_length(kMaxBodyBytes);
  server.set_read_timeout(kSocketTimeoutSeconds);
  server.set_write_timeout(kSocketTimeoutSeconds);
  server.set_keep_alive_timeout(1);  // an idle connection holds a thread, also at shutdown
  AddRoutes(options, &server);
  self->port_ = at.port == 0 ? server.bind_to_any_port(at.host) : at.port;
  if (self->port_ < 0 || (at.port != 0 && !server.bind_to_port(at.host, at.port))) {
    return absl::FailedPreconditionError(
        absl::StrCat("http-address: got \"", options.address, "\", want an address of this machine that is free"));
  }
  self->listener_->Run();
  return self;
}

std::string HttpServer::address() const {
  const bool ipv6 = host_.find(':') != std::string::npos;
  return ipv6 ? absl::StrCat("[", host_, "]:", port_) : absl::StrCat(host_, ":", port_);
}

absl::StatusOr<HostPort> ParseHostPort(absl::string_view field, absl::string_view address) {
  const absl::Status malformed = absl::InvalidArgumentError(
      absl::StrCat(field, ": got \"", address, "\", want HOST:PORT with a port of 0 to 65535"));
  const size_t colon = address.rfind(':');
  HostPort at;
  if (colon == absl::string_view::npos || !absl::SimpleAtoi(address.substr(colon + 1), &at.port)) return malformed;
  absl::string_view host = address.substr(0, colon);
  const bool bracketed = absl::ConsumePrefix(&host, "[") && absl::ConsumeSuffix(&host, "]");
  const bool ipv6 = host.find(':') != absl::string_view::npos;
  if (host.empty() || ipv6 != bracketed || at.port < 0 || at.port > 65535) return malformed;
  at.host = std::string(host);
  return at;
}

}  // namespace graft

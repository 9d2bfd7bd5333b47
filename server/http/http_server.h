#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace graft {

// What operators and their machines ask over plain HTTP: GET /metrics, /healthz, /readyz. No part of the API.
//
// Threads:  safe.
// Lifetime: the destructor stops accepting, finishes what runs and joins; the callbacks are not called after it.
class HttpServer {
 public:
  struct Options {
    std::string address;                    // "HOST:PORT"; port 0 = any free one
    int threads = 2;                        // 1 to 64
    std::function<std::string()> metrics;   // Prometheus text format
    std::function<absl::Status()> ready;    // /readyz: 200, or 503 with the message
  };
  //   InvalidArgument     address, threads
  //   FailedPrecondition  the address cannot be bound (in use, not of this machine)
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(Options options);
  ~HttpServer();

  int port() const { return port_; }
  // "HOST:PORT" with the port that was bound.
  std::string address() const;

 private:
  struct Listener;
  explicit HttpServer(std::string host);

  const std::string host_;
  int port_ = 0;
  std::unique_ptr<Listener> listener_;
};

struct HostPort {
  std::string host;
  int port = 0;
};
// Parses "HOST:PORT" and "[IPV6]:PORT".   InvalidArgument: begins with `field`
absl::StatusOr<HostPort> ParseHostPort(absl::string_view field, absl::string_view address);

}  // namespace graft

#pragma once

#include <memory>
#include <string>

#include <grpcpp/channel.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "graft/v1/system.pb.h"
#include "server/rpc/executor.h"
#include "server/rpc/limits.h"

namespace graft {

class BackboneDirectory;
class BlobStore;
class Classifier;
class DatasetStore;
class EventHub;
class JobService;
class Metrics;
class ModelStore;

// The gRPC server: graft's five services, health, reflection, metrics of every call.
//
// Threads:  safe.
// Lifetime: the destructor ends all calls at once; what Dependencies points to outlives it.
class RpcServer {
 public:
  struct Options {
    std::string address = "0.0.0.0:50051";  // HOST:PORT; port 0 = any free one
    Limits limits;
    Executor::Options executor;             // of everything that may wait, imports aside
    absl::Duration upload_idle_timeout = absl::Minutes(2);
    // What GetServerInfo says; `limits` is filled in.
    v1::ServerInfo info;
    //   InvalidArgument  names each option
    absl::Status Validate() const;
  };
  struct Dependencies {
    DatasetStore* datasets = nullptr;
    ModelStore* models = nullptr;
    BlobStore* blobs = nullptr;
    JobService* jobs = nullptr;
    EventHub* events = nullptr;
    Classifier* classifier = nullptr;
    BackboneDirectory* backbones = nullptr;
    Metrics* metrics = nullptr;
  };
  // Listens. Health says NOT_SERVING until SetServing(true).
  //   InvalidArgument  an option, or an address that cannot be listened on
  static absl::StatusOr<std::unique_ptr<RpcServer>> Start(const Options& options, const Dependencies& dependencies);
  ~RpcServer();

  int port() const { return port_; }
  const std::string& address() const { return address_; }  // with the port in use

  void SetServing(bool serving);
  // Says NOT_SERVING, ends WatchJob calls (a job may take hours) and refuses new calls; those that run have `grace` to
  // finish, then they are cancelled. Returns when no call is left. Once; SetServing() has no effect afterwards.
  void Shutdown(absl::Duration grace);

  // A channel that needs no network.
  std::shared_ptr<grpc::Channel> InProcessChannel();

 private:
  struct Parts;
  explicit RpcServer(std::unique_ptr<Parts> parts);

  int port_ = 0;
  std::string address_;
  std::unique_ptr<Parts> parts_;
};

}  // namespace graft

#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/data_directory.h"
#include "server/http/http_server.h"
#include "server/jobs/event_hub.h"
#include "server/jobs/job_service.h"
#include "server/jobs/runner.h"
#include "server/metrics/metrics.h"
#include "server/models/backbone_directory.h"
#include "server/models/classifier.h"
#include "server/options.h"
#include "server/rpc/rpc_server.h"
#include "server/store/blob_store.h"
#include "server/store/database.h"
#include "server/store/dataset_store.h"
#include "server/store/job_store.h"
#include "server/store/model_store.h"
#include "worker/base/mutex.h"
#include "worker/base/worker_pool.h"
#include "worker/device/devices.h"
#include "worker/infer/batcher.h"
#include "worker/infer/model_cache.h"

namespace graft {

// The whole service in one process: every part, made in dependency order.
//
// Lifetime: the destructor is the shutdown: members are destroyed in reverse order, the gRPC server first.
class App {
 public:
  // Returns when the service answers.
  //   what the parts return: InvalidArgument and FailedPrecondition name the option
  static absl::StatusOr<std::unique_ptr<App>> Start(const ServerOptions& options);

  ~App();

  const std::string& grpc_address() const { return rpc_->address(); }
  std::string http_address() const { return http_->address(); }

  // Says that it is not ready, puts running jobs back into the queue and lets running calls finish for the drain
  // grace. Returns when nothing runs; once.
  void Shutdown();

 private:
  // What computes on one device.
  struct Lane {
    Device device;
    std::unique_ptr<BackboneDirectory> backbones;
    std::unique_ptr<ModelCache> model_cache;
    std::unique_ptr<WorkerPool> training_pool;
    std::unique_ptr<Batcher> batcher;
  };

  explicit App(ServerOptions options) : options_(std::move(options)) {}
  absl::Status OpenStores();
  absl::Status MakeLanes();
  absl::Status StartWork();
  absl::Status StartRunner(const Lane& lane);
  absl::Status StartServers();
  // Leftovers of a process that was killed: running jobs, states of jobs that ended, pictures and checkpoints that
  // nothing refers to.
  absl::Status CleanUp();
  absl::Status SweepBlobs();
  void CollectMetrics();
  v1::ServerInfo Info() const;

  const ServerOptions options_;
  Limits limits_;
  std::atomic<bool> ready_{false};
  Mutex wake_mu_;
  std::vector<Runner*> to_wake_ ABSL_GUARDED_BY(wake_mu_);  // when a job was queued; none before and after their life
  Metrics metrics_;
  std::unique_ptr<DataDirectory> directory_;
  std::unique_ptr<Database> database_;
  std::unique_ptr<BlobStore> blobs_;
  std::unique_ptr<DatasetStore> datasets_;
  std::unique_ptr<ModelStore> models_;
  std::unique_ptr<JobStore> jobs_;
  std::unique_ptr<ActivationStore> activations_;  // null: none
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::unique_ptr<Classifier> classifier_;
  std::unique_ptr<EventHub> events_;
  std::unique_ptr<JobService> job_service_;
  std::vector<std::unique_ptr<Runner>> runners_;  // one for each lane
  std::unique_ptr<HttpServer> http_;
  std::unique_ptr<RpcServer> rpc_;
};

}  // namespace graft

#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/support/status.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"
#include "gtest/gtest.h"
#include "server/jobs/encode.h"
#include "server/jobs/event_hub.h"
#include "server/jobs/job_service.h"
#include "server/metrics/metrics.h"
#include "server/models/backbone_directory.h"
#include "server/models/classifier.h"
#include "server/rpc/rpc_server.h"
#include "server/store/database.h"
#include "server/store/dataset_store.h"
#include "server/store/job_store.h"
#include "server/store/model_store.h"
#include "tests/server/store/store_fixture.h"
#include "tests/support/fake_blob_store.h"
#include "worker/base/clock.h"
#include "worker/base/status.h"
#include "worker/infer/batcher.h"
#include "worker/infer/model_cache.h"

namespace graft {

// A server over real stores in a directory of its own; no backbone is installed.
class RpcTest : public testing::Test {
 protected:
  RpcTest() {
    auto db = Database::Open({absl::StrCat("sqlite3:", directory_.path(), "/graft.db"), 4});
    GRAFT_CHECK(db.ok());
    db_ = *std::move(db);
    datasets_ = std::make_unique<DatasetStore>(db_.get());
    models_ = std::make_unique<ModelStore>(db_.get());
    job_store_ = std::make_unique<JobStore>(db_.get(), Clock::Real(), JobStore::Options(), EncodeStateChange);
    backbones_ = std::make_unique<BackboneDirectory>(directory_.path());
    jobs_ = std::make_unique<JobService>(job_store_.get(), datasets_.get(), backbones_.get());
    events_ = std::make_unique<EventHub>(job_store_.get(), EventHub::Options());
    job_store_->OnEvents([this](const std::string& id) { events_->Notify(id); });
    cache_ = std::make_unique<ModelCache>(1 << 20);
    batcher_ = std::make_unique<Batcher>(Batcher::Options(), Clock::Real());
    classifier_ = std::make_unique<Classifier>(
        models_.get(), &blobs_, std::vector<Classifier::Lane>{{backbones_.get(), cache_.get(), batcher_.get()}});
    options_.address = "127.0.0.1:0";
  }
  ~RpcTest() override { server_.reset(); }

  RpcServer::Dependencies Dependencies() {
    return {datasets_.get(), models_.get(),     &blobs_,          jobs_.get(),
            events_.get(),   classifier_.get(), backbones_.get(), &metrics_};
  }
  void StartServer() {
    auto server = RpcServer::Start(options_, Dependencies());
    GRAFT_CHECK(server.ok());
    server_ = *std::move(server);
    channel_ = server_->InProcessChannel();
  }
  void UseNetwork() {
    channel_ = grpc::CreateChannel(server_->address(), grpc::InsecureChannelCredentials());
  }
  // After it no call runs.
  void StopServer() { server_->Shutdown(absl::InfiniteDuration()); }

  template <typename Service>
  std::unique_ptr<typename Service::Stub> Stub() {
    return Service::NewStub(channel_);
  }
  // Queues a job without checking its spec; returns its id.
  std::string QueueJob() {
    JobRecord job;
    job.dataset = "flowers";
    job.dataset_version = "v1";
    auto enqueued = job_store_->Enqueue(job);
    GRAFT_CHECK(enqueued.ok());
    return enqueued->job.id;
  }

  ScratchDirectory directory_;
  FakeBlobStore blobs_;
  Metrics metrics_;
  std::unique_ptr<Database> db_;
  std::unique_ptr<DatasetStore> datasets_;
  std::unique_ptr<ModelStore> models_;
  std::unique_ptr<JobStore> job_store_;
  std::unique_ptr<BackboneDirectory> backbones_;
  std::unique_ptr<JobService> jobs_;
  std::unique_ptr<EventHub> events_;
  std::unique_ptr<ModelCache> cache_;
  std::unique_ptr<Batcher> batcher_;
  std::unique_ptr<Classifier> classifier_;
  RpcServer::Options options_;
  std::unique_ptr<RpcServer> server_;
  std::shared_ptr<grpc::Channel> channel_;
};

// The fields of the attached google.rpc.BadRequest, in order.
inline std::vector<std::string> ViolatedFields(const grpc::Status& status) {
  std::vector<std::string> fields;
  google::rpc::Status details;
  google::rpc::BadRequest bad_request;
  if (!details.ParseFromString(status.error_details()) || details.details().empty() ||
      !details.details(0).UnpackTo(&bad_request))
    return fields;
  for (const auto& violation : bad_request.field_violations()) fields.push_back(violation.field());
  return fields;
}

}  // namespace graft

#include "server/app.h"

#include <unistd.h>

#include <cstdint>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/jobs/encode.h"
#include "server/jobs/state_files.h"
#include "server/log.h"
#include "server/process_usage.h"
#include "worker/base/clock.h"
#include "worker/base/status.h"
#include "worker/device/devices.h"
#include "worker/device/threads.h"

namespace graft {
namespace {

constexpr int kTrainingNice = 10;  // serving threads come first

// Unique to this process and device: a worker that was thought dead must not be taken for its successor.
std::string LeaseOwner(const Device& device) {
  char host[256] = "host";
  ::gethostname(host, sizeof(host) - 1);
  return absl::StrCat(host, "/", ::getpid(), "/", absl::ToUnixNanos(absl::Now()), "/", device.name);
}

const char* StateName(JobState state) {
  switch (state) {
    case JobState::kQueued: return "queued";
    case JobState::kRunning: return "running";
    case JobState::kSucceeded: return "succeeded";
    case JobState::kFailed: return "failed";
    case JobState::kCancelled: return "cancelled";
  }
  return "unknown";
}

}  // namespace

absl::StatusOr<std::unique_ptr<App>> App::Start(const ServerOptions& options) {
  UseOneIntraOpThread();  // before any thread computes
  std::unique_ptr<App> app(new App(options));
  RETURN_IF_ERROR(app->MakeLanes());
  app->limits_.max_queued_jobs = options.max_queued_jobs;
  RETURN_IF_ERROR(app->OpenStores());
  RETURN_IF_ERROR(app->CleanUp());
  RETURN_IF_ERROR(app->StartWork());
  RETURN_IF_ERROR(app->StartServers());
  return app;
}

App::~App() {
  MutexLock lock(&wake_mu_);
  to_wake_.clear();
}

absl::Status App::OpenStores() {
  ASSIGN_OR_RETURN(directory_, DataDirectory::Open(options_.data_dir));
  Database::Options database;
  database.url = directory_->database_url();
  ASSIGN_OR_RETURN(database_, Database::Open(database));
  ASSIGN_OR_RETURN(blobs_, OpenDirectoryBlobStore(directory_->blobs()));
  if (options_.activation_store_bytes > 0) {
    ASSIGN_OR_RETURN(activations_,
                     ActivationStore::Open({directory_->activations(), options_.activation_store_bytes}));
  }
  datasets_ = std::make_unique<DatasetStore>(database_.get());
  models_ = std::make_unique<ModelStore>(database_.get());
  JobStore::Options jobs;
  jobs.max_queued = options_.max_queued_jobs;
  jobs_ = std::make_unique<JobStore>(database_.get(), Clock::Real(), jobs, EncodeStateChange);
  return absl::OkStatus();
}

absl::Status App::MakeLanes() {
  ASSIGN_OR_RETURN(const std::vector<Device> devices, ParseDevices(options_.devices));
  for (const Device& device : devices) {
    Batcher::Options batcher;
    batcher.threads = device.threads;
    batcher.max_queued_images = options_.max_queued_images;
    batcher.image_limits = limits_.ingest.image;
    batcher.on_thread_start = UseOneIntraOpThread;
    RETURN_IF_ERROR(batcher.Validate());
    auto lane = std::make_unique<Lane>();
    lane->device = device;
    lane->backbones = std::make_unique<BackboneDirectory>(options_.backbone_dir, device.name);
    lane->model_cache = std::make_unique<ModelCache>(options_.model_cache_bytes);
    lane->training_pool =
        std::make_unique<WorkerPool>(WorkerPool::Options{device.threads, kTrainingNice, "train", UseOneIntraOpThread});
    lane->batcher = std::make_unique<Batcher>(std::move(batcher), Clock::Real());
    lanes_.push_back(std::move(lane));
  }
  return absl::OkStatus();
}

absl::Status App::StartWork() {
  events_ = std::make_unique<EventHub>(jobs_.get(), EventHub::Options());
  jobs_->OnEvents([this](const std::string& job_id) {
    events_->Notify(job_id);
    MutexLock lock(&wake_mu_);
    for (Runner* const runner : to_wake_) runner->Wake();
  });
  job_service_ = std::make_unique<JobService>(jobs_.get(), datasets_.get(), lanes_.front()->backbones.get());
  std::vector<Classifier::Lane> serving;
  for (const auto& lane : lanes_) {
    serving.push_back({lane->backbones.get(), lane->model_cache.get(), lane->batcher.get()});
  }
  classifier_ = std::make_unique<Classifier>(models_.get(), blobs_.get(), std::move(serving));
  for (const auto& lane : lanes_) RETURN_IF_ERROR(StartRunner(*lane));
  MutexLock lock(&wake_mu_);
  for (const auto& runner : runners_) to_wake_.push_back(runner.get());
  return absl::OkStatus();
}

absl::Status App::StartRunner(const Lane& lane) {
  Runner::Options options;
  options.owner = LeaseOwner(lane.device);
  options.state_directory = directory_->states();
  options.nice = kTrainingNice;
  options.tensorboard_directory = directory_->tensorboard();
  options.activation_cache_bytes = options_.activation_cache_bytes;
  options.activations = activations_.get();
  options.image_limits = limits_.ingest.image;
  const Runner::Stores stores{jobs_.get(), datasets_.get(), blobs_.get(), lane.backbones.get(), &metrics_};
  ASSIGN_OR_RETURN(std::unique_ptr<Runner> runner,
                   Runner::Create(std::move(options), stores, lane.training_pool.get()));
  runners_.push_back(std::move(runner));
  return absl::OkStatus();
}

absl::Status App::StartServers() {
  metrics_.OnScrape([this] { CollectMetrics(); });
  HttpServer::Options http;
  http.address = options_.http_address;
  http.metrics = [this] { return metrics_.Scrape(); };
  http.ready = [this] { return ready_ ? absl::OkStatus() : absl::UnavailableError("starting or shutting down"); };
  ASSIGN_OR_RETURN(http_, HttpServer::Start(std::move(http)));

  RpcServer::Options rpc;
  rpc.address = options_.grpc_address;
  rpc.limits = limits_;
  rpc.info = Info();
  RpcServer::Dependencies parts;
  parts.datasets = datasets_.get();
  parts.models = models_.get();
  parts.blobs = blobs_.get();
  parts.jobs = job_service_.get();
  parts.events = events_.get();
  parts.classifier = classifier_.get();
  parts.backbones = lanes_.front()->backbones.get();
  parts.metrics = &metrics_;
  ASSIGN_OR_RETURN(rpc_, RpcServer::Start(rpc, parts));
  ready_ = true;
  rpc_->SetServing(true);
  return absl::OkStatus();
}

void App::Shutdown() {
  ready_ = false;
  rpc_->SetServing(false);
  for (const auto& runner : runners_) runner->Drain();
  rpc_->Shutdown(options_.drain_grace);
}

absl::Status App::CleanUp() {
  ASSIGN_OR_RETURN(const int recovered, jobs_->RecoverExpired(/*even_unexpired=*/true));
  if (recovered > 0) LogWarning("jobs of a killed process put back", {{"count", absl::StrCat(recovered)}});
  ASSIGN_OR_RETURN(const StateFiles states, StateFiles::Open(directory_->states()));
  for (const std::string& id : states.Jobs()) {
    const absl::StatusOr<JobRecord> job = jobs_->Get(id);
    if (absl::IsNotFound(job.status()) || (job.ok() && IsFinal(job->state))) states.Remove(id);
  }
  return SweepBlobs();
}

absl::Status App::SweepBlobs() {
  ASSIGN_OR_RETURN(const std::set<std::string> images, datasets_->ReferencedImages());
  ASSIGN_OR_RETURN(const std::set<std::string> checkpoints, models_->ReferencedCheckpoints());
  std::vector<std::string> garbage;
  RETURN_IF_ERROR(blobs_->ForEach([&](const std::string& digest) {
    if (images.count(digest) == 0 && checkpoints.count(digest) == 0) garbage.push_back(digest);
  }));
  for (const std::string& digest : garbage) RETURN_IF_ERROR(blobs_->Delete(digest));
  if (!garbage.empty()) LogInfo("unused blobs deleted", {{"count", absl::StrCat(garbage.size())}});
  return absl::OkStatus();
}

void App::CollectMetrics() {
  const absl::StatusOr<std::map<JobState, int64_t>> jobs = jobs_->CountByState();
  if (jobs.ok()) {
    for (const auto& [state, count] : *jobs) {
      metrics_.SetGauge({"graft_jobs", "Jobs by state.", "state", StateName(state), static_cast<double>(count)});
    }
  }
  Batcher::Stats stats;  // of all devices
  int64_t models = 0, model_bytes = 0;
  for (const auto& lane : lanes_) {
    const Batcher::Stats s = lane->batcher->stats();
    stats.queued_images += s.queued_images;
    stats.queued_bytes += s.queued_bytes;
    stats.batches += s.batches;
    stats.images += s.images;
    models += lane->model_cache->count();
    model_bytes += lane->model_cache->size_bytes();
    metrics_.SetCounter({"graft_device_busy_seconds_total", "Time that serving threads computed, summed over them.",
                         "device", lane->device.name, s.busy_seconds});
    metrics_.SetGauge({"graft_device_threads", "Serving threads.", "device", lane->device.name,
                       static_cast<double>(lane->device.threads)});
  }
  const auto gauge = [this](const char* name, const char* help, double value) {
    metrics_.SetGauge({name, help, "", "", value});
  };
  const auto counter = [this](const char* name, const char* help, double value) {
    metrics_.SetCounter({name, help, "", "", value});
  };
  gauge("graft_queued_images", "Pictures of Classify calls that wait.", static_cast<double>(stats.queued_images));
  gauge("graft_queued_bytes", "Their encoded size.", static_cast<double>(stats.queued_bytes));
  counter("graft_batches_total", "Serving batches computed.", static_cast<double>(stats.batches));
  counter("graft_batched_images_total", "Pictures in them.", static_cast<double>(stats.images));
  gauge("graft_models_loaded", "Models in memory.", static_cast<double>(models));
  gauge("graft_models_loaded_bytes", "Memory of their own weights.", static_cast<double>(model_bytes));
  const ProcessUsage usage = ReadProcessUsage();
  counter("process_cpu_seconds_total", "User and system CPU time.", usage.cpu_seconds);
  gauge("process_resident_memory_bytes", "Resident memory.", static_cast<double>(usage.resident_bytes));
}

v1::ServerInfo App::Info() const {
  v1::ServerInfo info;
  info.set_version(GRAFT_VERSION);
  info.set_libtorch_version(LibTorchVersion());
  *info.mutable_start_time() = ToTimestamp(absl::Now());
  for (const auto& lane : lanes_) {
    v1::Device* const device = info.add_devices();
    device->set_name(lane->device.name);
    device->set_serving_threads(lane->device.threads);
    device->set_training_threads(lane->device.threads);
  }
  return info;
}

}  // namespace graft

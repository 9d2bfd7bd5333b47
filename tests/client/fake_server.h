#pragma once

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "graft/v1/dataset.grpc.pb.h"
#include "graft/v1/inference.grpc.pb.h"
#include "graft/v1/job.grpc.pb.h"
#include "graft/v1/model.grpc.pb.h"
#include "worker/base/mutex.h"

namespace graft {

// Keeps what was uploaded; `refuse_upload` answers before the chunks are read.
class FakeDatasetService : public v1::DatasetService::Service {
 public:
  grpc::Status UploadDataset(grpc::ServerContext*, grpc::ServerReader<v1::UploadDatasetRequest>* reader,
                             v1::UploadDatasetResponse* response) override {
    v1::UploadDatasetRequest request;
    reader->Read(&request);
    header = request.header();
    if (!refuse_upload.ok()) return refuse_upload;
    while (reader->Read(&request)) {
      archive += request.chunk();
      largest_chunk = std::max(largest_chunk, request.chunk().size());
    }
    response->mutable_dataset()->set_name(header.name());
    response->mutable_dataset()->set_version("sha256:abc");
    response->mutable_dataset()->set_multi_label(header.multi_label());
    return grpc::Status::OK;
  }

  using ImportStream = grpc::ServerReaderWriter<v1::ImportImagesResponse, v1::ImportImagesRequest>;
  grpc::Status ImportImages(grpc::ServerContext*, ImportStream* stream) override {
    v1::ImportImagesRequest request;
    stream->Read(&request);
    int64_t count = 0;
    while (stream->Read(&request)) {
      v1::ImportImagesResponse response;
      response.mutable_verdict()->set_index(count++);
      response.mutable_verdict()->set_accepted(true);
      stream->Write(response);
    }
    v1::ImportImagesResponse last;
    last.mutable_dataset()->set_version("sha256:def");
    last.mutable_dataset()->set_image_count(count);
    stream->Write(last);
    return grpc::Status::OK;
  }

  grpc::Status ListDatasets(grpc::ServerContext*, const v1::ListDatasetsRequest* request,
                            v1::ListDatasetsResponse* response) override {
    v1::Dataset* const dataset = response->add_datasets();
    dataset->set_name(request->page_token().empty() ? "first" : "second");
    dataset->set_multi_label(!request->page_token().empty());
    if (request->page_token().empty()) response->set_next_page_token("more");
    return grpc::Status::OK;
  }

  v1::DatasetHeader header;
  std::string archive;
  size_t largest_chunk = 0;
  grpc::Status refuse_upload;
};

// Answers StartJob and DescribeJob from `start_failures` first; plays one part of a job's events for each WatchJob.
class FakeJobService : public v1::JobService::Service {
 public:
  struct Part {
    std::vector<v1::JobEvent> events;
    grpc::Status end;
    bool until_cancelled = false;  // stays open after the events
  };

  grpc::Status StartJob(grpc::ServerContext*, const v1::StartJobRequest* request, v1::Job* job) override {
    MutexLock lock(&mu_);
    started_.push_back(*request);
    if (!start_failures.empty()) {
      const grpc::Status failure = start_failures.front();
      start_failures.pop_front();
      return failure;
    }
    job->set_id("job-1");
    *job->mutable_spec() = request->spec();
    job->set_state(v1::JOB_STATE_QUEUED);
    return grpc::Status::OK;
  }

  grpc::Status DescribeJob(grpc::ServerContext*, const v1::StartJobRequest* request,
                           v1::JobDescription* response) override {
    MutexLock lock(&mu_);
    described_.push_back(*request);
    if (!start_failures.empty()) {
      const grpc::Status failure = start_failures.front();
      start_failures.pop_front();
      return failure;
    }
    *response = description;
    response->mutable_effective()->MergeFrom(request->spec());
    return grpc::Status::OK;
  }

  grpc::Status GetJob(grpc::ServerContext*, const v1::GetJobRequest* request, v1::Job* response) override {
    if (request->id() != job.id()) {
      return grpc::Status(grpc::StatusCode::NOT_FOUND, absl::StrCat("job: got \"", request->id(), "\", no such job"));
    }
    *response = job;
    return grpc::Status::OK;
  }

  grpc::Status WatchJob(grpc::ServerContext* context, const v1::WatchJobRequest* request,
                        grpc::ServerWriter<v1::JobEvent>* writer) override {
    Part part;
    {
      MutexLock lock(&mu_);
      asked_from_.push_back(request->from_seq());
      if (parts.empty()) return grpc::Status(grpc::StatusCode::UNAVAILABLE, "gone");
      part = parts.front();
      parts.pop_front();
    }
    for (const v1::JobEvent& event : part.events) {
      if (event.seq() >= request->from_seq() || resend_all) writer->Write(event);
    }
    while (part.until_cancelled && !context->IsCancelled()) std::this_thread::yield();
    return part.end;
  }

  std::vector<v1::StartJobRequest> started() const {
    MutexLock lock(&mu_);
    return started_;
  }
  std::vector<v1::StartJobRequest> described() const {
    MutexLock lock(&mu_);
    return described_;
  }
  std::vector<int64_t> asked_from() const {
    MutexLock lock(&mu_);
    return asked_from_;
  }

  // Set before the calls.
  std::deque<grpc::Status> start_failures;
  std::deque<Part> parts;
  bool resend_all = false;  // a server that replays more than was asked for
  v1::Job job;
  v1::JobDescription description;  // the request's spec is merged into it

 private:
  mutable Mutex mu_;
  std::vector<v1::StartJobRequest> started_ ABSL_GUARDED_BY(mu_);
  std::vector<v1::StartJobRequest> described_ ABSL_GUARDED_BY(mu_);
  std::vector<int64_t> asked_from_ ABSL_GUARDED_BY(mu_);
};

// Has two models, "flowers" and the multi-label "scenes"; refuses a request that holds the picture "bad".
class FakeInferenceService : public v1::InferenceService::Service {
 public:
  grpc::Status Classify(grpc::ServerContext*, const v1::ClassifyRequest* request,
                        v1::ClassifyResponse* response) override {
    const bool multi_label = request->model() == "scenes";
    if (!multi_label && request->model() != "flowers")
      return grpc::Status(grpc::StatusCode::NOT_FOUND, "model: no such model");
    request_sizes.push_back(request->images_size());
    for (const std::string& image : request->images()) {
      if (image == "bad") {
        return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT,
                            absl::StrCat("images[", response->results_size(), "]: cannot be decoded"));
      }
      v1::ImageResult* const result = response->add_results();
      v1::Prediction* prediction = result->add_predictions();
      prediction->set_label(image.substr(0, 20));
      prediction->set_probability(0.97F);
      if (!multi_label) continue;
      for (const float probability : {0.5F, 0.25F}) {
        v1::Prediction* const other = result->add_predictions();
        other->set_label("sky");
        other->set_probability(probability);
      }
    }
    response->set_model(absl::StrCat(request->model(), "/3"));
    response->set_multi_label(multi_label);
    return grpc::Status::OK;
  }

  std::vector<int> request_sizes;
};

// Has two backbones: "installed", with a classifier, and "missing".
class FakeModelService : public v1::ModelService::Service {
 public:
  grpc::Status ListBackbones(grpc::ServerContext*, const v1::ListBackbonesRequest*,
                             v1::ListBackbonesResponse* response) override {
    v1::Backbone* const installed = response->add_backbones();
    installed->set_name("installed");
    installed->set_installed(true);
    installed->set_digest("sha256:abc");
    installed->set_architecture("resnet18");
    installed->set_paper("He et al. 2015");
    installed->set_source("a test");
    installed->add_stages("layer1");
    installed->add_stage_parameters(1234);
    installed->set_published_parameter_count(11'689'512);
    installed->set_gflops(1.814);
    installed->set_feature_width(512);
    installed->set_class_count(1000);
    installed->set_trainable(true);
    installed->set_min_input_px(32);
    installed->set_input_multiple_px(16);
    installed->set_max_input_px(512);
    installed->mutable_preprocessing()->set_resize_px(256);
    installed->mutable_preprocessing()->set_crop_px(224);
    installed->mutable_preprocessing()->set_interpolation(v1::INTERPOLATION_BICUBIC);
    response->add_backbones()->set_name("missing");
    return grpc::Status::OK;
  }

  grpc::Status SetAlias(grpc::ServerContext*, const v1::SetAliasRequest* request, v1::Model* model) override {
    model->set_name(request->name());
    (*model->mutable_aliases())[request->alias()] = request->version();
    return grpc::Status::OK;
  }
};

// A graft server in this process, on a free port.
class FakeServer {
 public:
  FakeServer() {
    grpc::ServerBuilder builder;
    builder.SetMaxReceiveMessageSize(64 << 20);
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&datasets);
    builder.RegisterService(&jobs);
    builder.RegisterService(&models);
    builder.RegisterService(&inference);
    server_ = builder.BuildAndStart();
    address = absl::StrCat("127.0.0.1:", port);
  }
  ~FakeServer() { Stop(); }

  // Ends running calls at once, as a server does whose grace period is over.
  void Stop() { server_->Shutdown(std::chrono::system_clock::now()); }

  FakeDatasetService datasets;
  FakeJobService jobs;
  FakeModelService models;
  FakeInferenceService inference;
  std::string address;

 private:
  std::unique_ptr<grpc::Server> server_;
};

inline v1::JobEvent StateEvent(int64_t seq, v1::JobState state, const std::string& reason = "") {
  v1::JobEvent event;
  event.set_seq(seq);
  event.mutable_state()->set_state(state);
  event.mutable_state()->set_reason(reason);
  return event;
}

inline v1::JobEvent EpochEvent(int64_t seq, int epoch) {
  v1::JobEvent event;
  event.set_seq(seq);
  event.mutable_epoch()->set_phase("head");
  event.mutable_epoch()->set_epoch(epoch);
  event.mutable_epoch()->set_phase_epochs(3);
  return event;
}

}  // namespace graft

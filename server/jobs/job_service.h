#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "graft/v1/job.pb.h"
#include "server/models/backbone_directory.h"
#include "server/store/dataset_store.h"
#include "server/store/job_store.h"
#include "worker/train/recipe.h"

namespace graft {

// What can be asked about jobs, behind the RPC layer and in front of the store.
//
// Threads: safe.
class JobService {
 public:
  JobService(JobStore* jobs, DatasetStore* datasets, BackboneDirectory* backbones)
      : jobs_(jobs), datasets_(datasets), backbones_(backbones) {}

  //   InvalidArgument     all violations, "field: got X, want Y", one a line; of what the backbone cannot do, and of
  //                       what a multi-label dataset does not allow, only when the request itself is right
  //   NotFound            dataset, dataset version or backbone
  //   FailedPrecondition  the backbone's file cannot be used
  //   AlreadyExists       request_id was used with another spec; names the first field that differs
  //   ResourceExhausted   the queue is full
  absl::StatusOr<v1::Job> Start(const v1::StartJobRequest& request);
  // What Start() would run.   Errors likewise, but for AlreadyExists and ResourceExhausted.
  absl::StatusOr<v1::JobDescription> Describe(const v1::StartJobRequest& request);
  absl::StatusOr<v1::Job> Get(const std::string& id);
  absl::StatusOr<v1::ListJobsResponse> List(const v1::ListJobsRequest& request);
  absl::StatusOr<v1::Job> Cancel(const std::string& id);

 private:
  struct Planned;
  absl::StatusOr<Planned> Plan(v1::JobSpec effective);
  static void AddOwnDefaults(const v1::JobSpec& spec, const Planned& planned, std::vector<DefaultValue>* defaults);

  JobStore* const jobs_;
  DatasetStore* const datasets_;
  BackboneDirectory* const backbones_;
};

}  // namespace graft

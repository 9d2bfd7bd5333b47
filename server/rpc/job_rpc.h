#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include "graft/v1/job.grpc.pb.h"
#include "server/jobs/event_hub.h"
#include "server/jobs/job_service.h"
#include "server/rpc/executor.h"
#include "server/rpc/watch_job.h"

namespace graft {

// graft.v1.JobService over the domain's JobService and the event hub.
//
// Threads:  safe.
// Lifetime: outlives the gRPC server; what it points to outlives it.
class JobRpc : public v1::JobService::CallbackService {
 public:
  JobRpc(JobService* jobs, EventHub* events, Executor* executor)
      : jobs_(jobs), events_(events), executor_(executor) {}

  // Ends every WatchJob call, also those that come later, with Unavailable: else a shutdown would wait for training.
  void EndWatches() { watches_.EndAll(); }

  grpc::ServerUnaryReactor* StartJob(grpc::CallbackServerContext* context, const v1::StartJobRequest* request,
                                     v1::Job* response) override;
  grpc::ServerUnaryReactor* DescribeJob(grpc::CallbackServerContext* context, const v1::StartJobRequest* request,
                                        v1::JobDescription* response) override;
  grpc::ServerUnaryReactor* GetJob(grpc::CallbackServerContext* context, const v1::GetJobRequest* request,
                                   v1::Job* response) override;
  grpc::ServerUnaryReactor* ListJobs(grpc::CallbackServerContext* context, const v1::ListJobsRequest* request,
                                     v1::ListJobsResponse* response) override;
  grpc::ServerUnaryReactor* CancelJob(grpc::CallbackServerContext* context, const v1::CancelJobRequest* request,
                                      v1::Job* response) override;
  grpc::ServerWriteReactor<v1::JobEvent>* WatchJob(grpc::CallbackServerContext* context,
                                                   const v1::WatchJobRequest* request) override;

 private:
  JobService* const jobs_;
  EventHub* const events_;
  Executor* const executor_;
  WatchSet watches_;
};

}  // namespace graft

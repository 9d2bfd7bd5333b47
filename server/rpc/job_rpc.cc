#include "server/rpc/job_rpc.h"

#include "server/rpc/unary.h"

namespace graft {

grpc::ServerUnaryReactor* JobRpc::StartJob(grpc::CallbackServerContext* context, const v1::StartJobRequest* request,
                                           v1::Job* response) {
  return RunUnary(context, executor_, response, [this, request] { return jobs_->Start(*request); });
}

grpc::ServerUnaryReactor* JobRpc::DescribeJob(grpc::CallbackServerContext* context,
                                              const v1::StartJobRequest* request, v1::JobDescription* response) {
  return RunUnary(context, executor_, response, [this, request] { return jobs_->Describe(*request); });
}

grpc::ServerUnaryReactor* JobRpc::GetJob(grpc::CallbackServerContext* context, const v1::GetJobRequest* request,
                                         v1::Job* response) {
  return RunUnary(context, executor_, response, [this, request] { return jobs_->Get(request->id()); });
}

grpc::ServerUnaryReactor* JobRpc::ListJobs(grpc::CallbackServerContext* context, const v1::ListJobsRequest* request,
                                           v1::ListJobsResponse* response) {
  return RunUnary(context, executor_, response, [this, request] { return jobs_->List(*request); });
}

grpc::ServerUnaryReactor* JobRpc::CancelJob(grpc::CallbackServerContext* context, const v1::CancelJobRequest* request,
                                            v1::Job* response) {
  return RunUnary(context, executor_, response, [this, request] { return jobs_->Cancel(request->id()); });
}

grpc::ServerWriteReactor<v1::JobEvent>* JobRpc::WatchJob(grpc::CallbackServerContext* context,
                                                         const v1::WatchJobRequest* request) {
  return NewWatchJob({events_, executor_, &watches_}, context, *request);
}

}  // namespace graft

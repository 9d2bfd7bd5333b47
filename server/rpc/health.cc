#include "server/rpc/health.h"

#include <grpcpp/health_check_service_interface.h>

#include "graft/v1/dataset.grpc.pb.h"
#include "graft/v1/inference.grpc.pb.h"
#include "graft/v1/job.grpc.pb.h"
#include "graft/v1/model.grpc.pb.h"
#include "graft/v1/system.grpc.pb.h"

namespace graft {

void EnableHealth() { grpc::EnableDefaultHealthCheckService(true); }

void SetServing(grpc::Server* server, bool serving) {
  grpc::HealthCheckServiceInterface* const health = server->GetHealthCheckService();
  for (const char* service :
       {"", v1::DatasetService::service_full_name(), v1::JobService::service_full_name(),
        v1::ModelService::service_full_name(), v1::InferenceService::service_full_name(),
        v1::SystemService::service_full_name()})
    health->SetServingStatus(service, serving);
}

}  // namespace graft

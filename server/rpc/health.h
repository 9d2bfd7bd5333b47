#pragma once

#include <grpcpp/server.h>

namespace graft {

// Makes servers built from now on answer grpc.health.v1.Health.
void EnableHealth();
// What Health says of the server ("") and of each graft service by its full name. EnableHealth() was called before the
// server was built.
void SetServing(grpc::Server* server, bool serving);

}  // namespace graft

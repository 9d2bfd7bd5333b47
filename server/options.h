#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/log.h"
#include "worker/device/devices.h"

namespace graft {

// What an operator chooses, from the command line alone.
struct ServerOptions {
  std::string data_dir;                              // database, pictures, checkpoints. Required.
  std::string backbone_dir;                          // server/models/backbone_directory.h. Required.
  std::string grpc_address = "127.0.0.1:50051";      // HOST:PORT; port 0 = any free one
  std::string http_address = "127.0.0.1:8080";       // /metrics, /healthz, /readyz
  std::string devices = "auto";                      // auto, cpu[:THREADS] or cuda:I,...
  LogFormat log_format = LogFormat::kText;
  std::string log_level = "info";
  absl::Duration drain_grace = absl::Seconds(10);    // that running calls get at shutdown, >= 0
  int64_t activation_cache_bytes = int64_t{1} << 30; // memory of a job for the frozen stages' activations, >= 0
  int64_t activation_store_bytes = int64_t{8} << 30; // disk for them, kept across jobs, >= 0; 0 = none
  int64_t model_cache_bytes = int64_t{1} << 30;      // memory of loaded models' own weights, > 0
  int max_queued_jobs = 1000;                        // >= 1
  int max_queued_images = 1024;                      // of Classify, >= 1

  //   InvalidArgument  every violation, one a line: "grpc-address: got ..., want ..."
  absl::Status Validate() const;
  // Every option with the value in effect, for the log.
  std::vector<std::pair<std::string, std::string>> Describe() const;
};

// What the command line asks for.
struct CommandLine {
  enum class Action { kServe, kPrint };
  Action action = Action::kServe;
  std::string text;        // kPrint: --help, --version
  ServerOptions options;   // kServe; valid
};

//   InvalidArgument  unknown flag, malformed value, missing required flag, and Validate()'s
absl::StatusOr<CommandLine> ParseCommandLine(int argc, const char* const* argv);

}  // namespace graft

#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace graft {

enum class LogFormat {
  kText,  // 2026-01-02T03:04:05.678Z info started grpc_address=127.0.0.1:50051
  kJson,  // {"time":"...","level":"info","msg":"started","grpc_address":"127.0.0.1:50051"}
};

// Sends the process's log (spdlog's default logger) to standard error, one line a record. Until then it is spdlog's
// own default.
//   InvalidArgument  level is none of debug, info, warning, error
absl::Status StartLogging(LogFormat format, absl::string_view level);

// What goes with a message. Values are for people and for grep; no pictures, no credentials.
using LogFields = std::vector<std::pair<std::string, std::string>>;

// Threads: safe.
void LogDebug(absl::string_view message, const LogFields& fields = {});
void LogInfo(absl::string_view message, const LogFields& fields = {});
void LogWarning(absl::string_view message, const LogFields& fields = {});
void LogError(absl::string_view message, const LogFields& fields = {});

}  // namespace graft

#include <cstdlib>
#include <iostream>
#include <memory>

#include "absl/strings/str_cat.h"
#include "server/app.h"
#include "server/log.h"
#include "server/options.h"
#include "server/shutdown_signal.h"
#include "worker/device/blas_kernels.h"

namespace graft {
namespace {

int Serve(const ServerOptions& options) {
  LogInfo("options", options.Describe());
  LogInfo("linear algebra", {{"openblas_kernels", BlasCore()}});
  absl::StatusOr<std::unique_ptr<App>> app = App::Start(options);
  if (!app.ok()) {
    LogError("graftd cannot start", {{"error", std::string(app.status().message())}});
    return EXIT_FAILURE;
  }
  LogInfo("graftd serves", {{"version", GRAFT_VERSION},
                            {"grpc_address", (*app)->grpc_address()},
                            {"http_address", (*app)->http_address()}});
  LogInfo("graftd shuts down", {{"signal", absl::StrCat(WaitForShutdownSignal())}});
  (*app)->Shutdown();
  app->reset();
  LogInfo("graftd has shut down");
  return EXIT_SUCCESS;
}

int Main(int argc, char** argv) {
  UseFastBlasKernels(argv);
  CatchShutdownSignals();
  const absl::StatusOr<CommandLine> line = ParseCommandLine(argc, argv);
  if (!line.ok()) {
    std::cerr << "graftd: " << line.status().message() << "\nRun graftd --help for its options.\n";
    return 2;  // as usual for a wrong command line
  }
  if (line->action == CommandLine::Action::kPrint) {
    std::cout << line->text;
    return EXIT_SUCCESS;
  }
  const absl::Status logging = StartLogging(line->options.log_format, line->options.log_level);
  if (!logging.ok()) {
    std::cerr << "graftd: " << logging.message() << "\n";
    return 2;
  }
  return Serve(line->options);
}

}  // namespace
}  // namespace graft

int main(int argc, char** argv) { return graft::Main(argc, argv); }

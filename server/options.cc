#include "server/options.h"

#include <map>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/http/http_server.h"
#include "worker/base/status.h"

namespace graft {
namespace {

const std::map<std::string, LogFormat>& LogFormats() {
  static const auto* const formats =
      new std::map<std::string, LogFormat>{{"text", LogFormat::kText}, {"json", LogFormat::kJson}};
  return *formats;
}

// As the command line has them: CLI11's own conversions are not used, so that an error reads like all others.
struct RawOptions {
  std::string log_format = "text";
  std::string drain_grace;
};

void Declare(CLI::App* app, ServerOptions* options, RawOptions* raw) {
  app->add_option("--data-dir", options->data_dir, "Directory of the database, pictures and checkpoints")->required();
  app->add_option("--backbone-dir", options->backbone_dir,
                  "Directory of backbones: NAME.safetensors, NAME.gguf, or NAME.pt with NAME.json")
      ->required();
  app->add_option("--grpc-address", options->grpc_address, "HOST:PORT of the API; port 0 takes any free one");
  app->add_option("--http-address", options->http_address, "HOST:PORT of /metrics, /healthz and /readyz");
  app->add_option("--devices", options->devices, "auto, cpu[:THREADS] or cuda:I,...");
  app->add_option("--log-format", raw->log_format, "text or json");
  app->add_option("--log-level", options->log_level, "debug, info, warning or error");
  app->add_option("--drain-grace", raw->drain_grace, "Time that running calls get at shutdown, such as 10s");
  app->add_option("--activation-cache-bytes", options->activation_cache_bytes,
                  "Memory of a training job for the activations of its frozen stages");
  app->add_option("--activation-store-bytes", options->activation_store_bytes,
                  "Disk for such activations, kept across jobs; 0: none");
  app->add_option("--model-cache-bytes", options->model_cache_bytes, "Memory of loaded models' own weights");
  app->add_option("--max-queued-jobs", options->max_queued_jobs, "Jobs that may wait");
  app->add_option("--max-queued-images", options->max_queued_images, "Pictures of Classify calls that may wait");
  for (CLI::Option* option : app->get_options()) {
    if (option->get_name() != "--help" && option->get_name() != "--version" && !option->get_required()) {
      option->capture_default_str();
    }
  }
}

absl::Status ParseRaw(const RawOptions& raw, ServerOptions* options) {
  const auto format = LogFormats().find(raw.log_format);
  if (format == LogFormats().end()) {
    return absl::InvalidArgumentError(absl::StrCat("log-format: got \"", raw.log_format, "\", want text or json"));
  }
  options->log_format = format->second;
  if (!absl::ParseDuration(raw.drain_grace, &options->drain_grace)) {
    return absl::InvalidArgumentError(
        absl::StrCat("drain-grace: got \"", raw.drain_grace, "\", want a duration such as 10s or 1m30s"));
  }
  return absl::OkStatus();
}

class Violations {
 public:
  void Want(bool ok, absl::string_view field, const std::string& got, absl::string_view want) {
    if (!ok) lines_.push_back(absl::StrCat(field, ": got ", got, ", want ", want));
  }
  void Add(const absl::Status& status) {
    if (!status.ok()) lines_.emplace_back(status.message());
  }
  absl::Status status() const {
    return lines_.empty() ? absl::OkStatus() : absl::InvalidArgumentError(absl::StrJoin(lines_, "\n"));
  }

 private:
  std::vector<std::string> lines_;
};

}  // namespace

absl::Status ServerOptions::Validate() const {
  Violations violations;
  violations.Want(!data_dir.empty(), "data-dir", "\"\"", "a directory");
  violations.Want(!backbone_dir.empty(), "backbone-dir", "\"\"", "a directory");
  violations.Add(ParseHostPort("grpc-address", grpc_address).status());
  violations.Add(ParseHostPort("http-address", http_address).status());
  violations.Want(drain_grace >= absl::ZeroDuration() && drain_grace < absl::InfiniteDuration(), "drain-grace",
                  absl::FormatDuration(drain_grace), "at least 0s");
  violations.Want(activation_cache_bytes >= 0, "activation-cache-bytes", absl::StrCat(activation_cache_bytes), ">= 0");
  violations.Want(activation_store_bytes >= 0, "activation-store-bytes", absl::StrCat(activation_store_bytes), ">= 0");
  violations.Want(model_cache_bytes > 0, "model-cache-bytes", absl::StrCat(model_cache_bytes), "> 0");
  violations.Want(max_queued_jobs > 0, "max-queued-jobs", absl::StrCat(max_queued_jobs), "> 0");
  violations.Want(max_queued_images > 0, "max-queued-images", absl::StrCat(max_queued_images), "> 0");
  return violations.status();
}

std::vector<std::pair<std::string, std::string>> ServerOptions::Describe() const {
  std::string format;
  for (const auto& [name, value] : LogFormats()) {
    if (value == log_format) format = name;
  }
  return {{"data_dir", data_dir},
          {"backbone_dir", backbone_dir},
          {"grpc_address", grpc_address},
          {"http_address", http_address},
          {"devices", devices},
          {"log_format", format},
          {"log_level", log_level},
          {"drain_grace", absl::FormatDuration(drain_grace)},
          {"activation_cache_bytes", absl::StrCat(activation_cache_bytes)},
          {"activation_store_bytes", absl::StrCat(activation_store_bytes)},
          {"model_cache_bytes", absl::StrCat(model_cache_bytes)},
          {"max_queued_jobs", absl::StrCat(max_queued_jobs)},
          {"max_queued_images", absl::StrCat(max_queued_images)}};
}

absl::StatusOr<CommandLine> ParseCommandLine(int argc, const char* const* argv) {
  CommandLine line;
  RawOptions raw;
  raw.drain_grace = absl::FormatDuration(line.options.drain_grace);
  CLI::App app("graftd trains and serves image classifiers by transfer learning, over gRPC.", "graftd");
  app.set_version_flag("--version", "graftd " GRAFT_VERSION);
  Declare(&app, &line.options, &raw);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success&) {  // --help, --version
    line.action = CommandLine::Action::kPrint;
    line.text = app.get_option("--version")->count() > 0 ? app.version() + "\n" : app.help();
    return line;
  } catch (const CLI::ParseError& error) {
    return absl::InvalidArgumentError(error.what());
  }
  RETURN_IF_ERROR(ParseRaw(raw, &line.options));
  RETURN_IF_ERROR(line.options.Validate());
  return line;
}

}  // namespace graft

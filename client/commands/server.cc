#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"
#include "client/commands/commands.h"
#include "client/format.h"
#include "worker/base/status.h"

namespace graft {
namespace {

absl::Status ShowServer(const Console& console) {
  ASSIGN_OR_RETURN(const auto client, console.Connect());
  ASSIGN_OR_RETURN(const v1::ServerInfo info, client->GetServerInfo());
  if (console.json) {
    console.PrintJson(info);
    return absl::OkStatus();
  }
  console.PrintLine(absl::StrCat("graft ", info.version(), ", LibTorch ", info.libtorch_version(), ", up since ",
                                 FormatTime(info.start_time())));
  for (const v1::Device& device : info.devices()) {
    console.PrintLine(absl::StrCat("device ", device.name(), ": ", device.serving_threads(), " serving threads, ",
                                   device.training_threads(), " training threads"));
  }
  const v1::SystemLimits& limits = info.limits();
  console.PrintLine(absl::StrCat("limits: picture ", FormatBytes(limits.max_image_bytes()), " and ",
                                 FormatCount(limits.max_image_pixels()), " pixels; request ",
                                 limits.max_images_per_request(), " pictures and ",
                                 FormatBytes(limits.max_request_bytes())));
  console.PrintLine(absl::StrCat("limits: dataset ", FormatCount(limits.max_dataset_images()), " pictures, ",
                                 FormatBytes(limits.max_dataset_bytes()), ", ", limits.max_classes(), " classes; ",
                                 limits.max_queued_jobs(), " queued jobs"));
  return absl::OkStatus();
}

}  // namespace

void AddServerCommands(CLI::App* app, Action* action) {
  CLI::App* server = app->add_subcommand("server", "The server itself")->require_subcommand(1);
  server->add_subcommand("info", "Version, devices and limits")->callback([action] { *action = ShowServer; });
}

}  // namespace graft

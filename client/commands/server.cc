#include <CLI/CLI.hpp>

#include <string>

#include "absl/strings/str_cat.h"
#include "client/commands/commands.h"
#include "client/format.h"
#include "worker/base/status.h"

namespace graft {
namespace {

std::string BackboneStatus(const v1::Backbone& backbone) {
  if (backbone.installed()) return "installed";
  return backbone.problem().empty() ? "not installed" : absl::StrCat("broken: ", backbone.problem());
}

absl::Status ListBackbones(const Console& console) {
  ASSIGN_OR_RETURN(const auto client, console.Connect());
  ASSIGN_OR_RETURN(const auto backbones, client->ListBackbones());
  Table table({{"NAME", false}, {"PARAMETERS", true}, {"STAGES", true}, {"FEATURES", true}, {"INPUT", true},
               {"STATUS", false}, {"SOURCE", false}});
  for (const v1::Backbone& backbone : backbones) {
    if (console.json) {
      console.PrintJson(backbone);
      continue;
    }
    table.AddRow({backbone.name(), FormatCount(backbone.parameter_count()), absl::StrCat(backbone.stages_size()),
                  absl::StrCat(backbone.feature_width()), absl::StrCat(backbone.preprocessing().crop_px(), " px"),
                  BackboneStatus(backbone), backbone.source()});
  }
  if (!console.json) console.Print(table);
  return absl::OkStatus();
}

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
  CLI::App* backbone = app->add_subcommand("backbone", "Pretrained networks")->require_subcommand(1);
  backbone->add_subcommand("list", "All backbones, and which are installed")->callback([action] {
    *action = ListBackbones;
  });
  CLI::App* server = app->add_subcommand("server", "The server itself")->require_subcommand(1);
  server->add_subcommand("info", "Version, devices and limits")->callback([action] { *action = ShowServer; });
}

}  // namespace graft

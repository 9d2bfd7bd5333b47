#include <CLI/CLI.hpp>

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/commands/commands.h"
#include "client/format.h"
#include "worker/base/status.h"

namespace graft {
namespace {

struct BackboneArgs {
  std::string name;
};

std::string FormatInstalled(const v1::Backbone& backbone) {
  if (backbone.installed()) return "yes";
  if (!backbone.problem().empty()) return absl::StrCat("problem: ", backbone.problem());
  return backbone.digest().empty() ? "no" : "needs no file";
}

// Empty where the server could not tell.
std::string FormatMillions(int64_t count) {
  return count == 0 ? "" : absl::StrFormat("%.2f M", static_cast<double>(count) / 1e6);
}

std::string FormatGflops(double gflops) { return gflops == 0 ? "" : absl::StrFormat("%.2f", gflops); }

std::string FormatInput(const v1::Preprocessing& preprocessing) {
  return preprocessing.crop_px() == 0 ? "" : absl::StrCat(preprocessing.crop_px(), " px");
}

std::string FormatNumber(int64_t number) { return number == 0 ? "" : absl::StrCat(number); }

absl::Status List(const Console& console) {
  ASSIGN_OR_RETURN(const auto client, console.Connect());
  ASSIGN_OR_RETURN(const auto backbones, client->ListBackbones());
  Table table({{"NAME", false}, {"PARAMETERS", true}, {"GFLOPS", true}, {"INPUT", true}, {"FEATURES", true},
               {"STAGES", true}, {"CLASSES", true}, {"INSTALLED", false}});
  for (const v1::Backbone& backbone : backbones) {
    if (console.json) {
      console.PrintJson(backbone);
      continue;
    }
    table.AddRow({backbone.name(), FormatMillions(backbone.published_parameter_count()), FormatGflops(backbone.gflops()),
                  FormatInput(backbone.preprocessing()), FormatNumber(backbone.feature_width()),
                  FormatNumber(backbone.stages_size()), FormatNumber(backbone.class_count()),
                  FormatInstalled(backbone)});
  }
  if (!console.json) console.Print(table);
  return absl::OkStatus();
}

std::string FormatSizes(const v1::Backbone& backbone) {
  if (backbone.min_input_px() == 0) return "";
  if (backbone.min_input_px() == backbone.max_input_px()) return absl::StrCat(backbone.min_input_px(), " px only");
  std::string text = absl::StrCat("from ", backbone.min_input_px(), " px to ", backbone.max_input_px(), " px");
  if (backbone.input_multiple_px() > 1) absl::StrAppend(&text, ", multiples of ", backbone.input_multiple_px(), " px");
  return text;
}

std::string FormatPreprocessing(const v1::Preprocessing& p) {
  if (p.crop_px() == 0) return "";
  return absl::StrCat("shorter side to ", p.resize_px(), " px (", FormatInterpolation(p.interpolation()), "), crop ",
                      p.crop_px(), " px, mean ", absl::StrJoin(p.mean(), " "), ", std ", absl::StrJoin(p.std(), " "));
}

std::string FormatUse(const v1::Backbone& backbone) {
  if (backbone.architecture().empty()) return "";
  std::string text;
  if (backbone.installed()) text = backbone.trainable() ? "frozen, fine-tuned" : "frozen only";
  if (backbone.architecture() == backbone.name()) absl::StrAppend(&text, text.empty() ? "" : ", ", "from scratch");
  if (backbone.class_count() > 0) {
    absl::StrAppend(&text, "; as the model backbone/", backbone.name(), " with ", backbone.class_count(), " classes");
  }
  return text;
}

// "name value" lines, and the stages.
void PrintBackbone(const Console& console, const v1::Backbone& backbone) {
  const auto line = [&](const char* name, const std::string& value) {
    if (!value.empty()) console.PrintLine(absl::StrCat(name, " ", Printable(value)));
  };
  line("backbone", backbone.name());
  line("installed", FormatInstalled(backbone));
  line("architecture", backbone.architecture());
  line("paper", backbone.paper());
  line("source", backbone.source());
  line("digest", backbone.digest());
  const int64_t parameters = backbone.published_parameter_count();
  line("parameters", parameters == 0 ? "" : FormatCount(parameters));
  line("gflops", FormatGflops(backbone.gflops()));
  line("features", FormatNumber(backbone.feature_width()));
  line("dropout", backbone.dropout() == 0 ? "" : absl::StrCat(backbone.dropout()));
  line("preprocessing", FormatPreprocessing(backbone.preprocessing()));
  line("input", FormatSizes(backbone));
  line("use", FormatUse(backbone));
  Table table({{"STAGE", true}, {"NAME", false}, {"PARAMETERS", true}});
  for (int i = 0; i < backbone.stages_size(); ++i) {
    const bool counted = i < backbone.stage_parameters_size();
    table.AddRow({absl::StrCat(i), backbone.stages(i), counted ? FormatCount(backbone.stage_parameters(i)) : ""});
  }
  console.Print(table);
}

absl::Status Show(const Console& console, const BackboneArgs& args) {
  ASSIGN_OR_RETURN(const auto client, console.Connect());
  ASSIGN_OR_RETURN(const v1::Backbone backbone, client->GetBackbone(args.name));
  if (console.json) {
    console.PrintJson(backbone);
  } else {
    PrintBackbone(console, backbone);
  }
  return absl::OkStatus();
}

}  // namespace

void AddBackboneCommands(CLI::App* app, Action* action) {
  CLI::App* group = app->add_subcommand("backbone", "Networks to start from")->require_subcommand(1);
  group->add_subcommand("list", "All backbones, and which are installed")->callback([action] { *action = List; });

  const auto args = std::make_shared<BackboneArgs>();
  CLI::App* show = group->add_subcommand("show", "A backbone's stages, input and origin");
  show->add_option("name", args->name, "Name of the backbone")->required();
  show->callback([args, action] { *action = [args](const Console& console) { return Show(console, *args); }; });
}

}  // namespace graft

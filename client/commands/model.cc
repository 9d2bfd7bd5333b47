#include <CLI/CLI.hpp>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/commands/commands.h"
#include "client/format.h"
#include "worker/base/status.h"

namespace graft {
namespace {

struct ModelArgs {
  std::string name;
  std::string alias;
  int64_t version = 0;
};

// "default=3, canary=4", sorted; of one version when `version` is not 0.
std::string Aliases(const v1::Model& model, int64_t version = 0) {
  std::vector<std::string> names;
  for (const auto& [alias, target] : model.aliases()) {
    if (version == 0) names.push_back(absl::StrCat(alias, "=", target));
    if (version == target) names.push_back(alias);
  }
  std::sort(names.begin(), names.end());
  return absl::StrJoin(names, ", ");
}

// Empty for backbone/NAME, which nobody evaluated.
std::string Accuracy(const v1::ModelVersion& version) {
  return version.has_evaluation() ? FormatScore(version.evaluation()) : "";
}

// Empty when the job made no other version.
std::string Epoch(const v1::ModelVersion& version) {
  if (version.checkpoint() == v1::CHECKPOINT_KIND_UNSPECIFIED) return "";
  return version.checkpoint() == v1::CHECKPOINT_KIND_LAST ? "last" : "best";
}

absl::Status List(const Console& console) {
  ASSIGN_OR_RETURN(const auto client, console.Connect());
  ASSIGN_OR_RETURN(const auto models, client->ListModels());
  Table table({{"NAME", false}, {"VERSIONS", true}, {"ALIASES", false}, {"BACKBONE", false}, {"ACCURACY", true},
               {"CREATED", false}});
  for (const v1::Model& model : models) {
    if (console.json) {
      console.PrintJson(model);
      continue;
    }
    const v1::ModelVersion newest = model.versions().empty() ? v1::ModelVersion() : model.versions(0);
    table.AddRow({model.name(), absl::StrCat(model.versions_size()), Aliases(model), newest.backbone(),
                  Accuracy(newest), FormatTime(newest.create_time())});
  }
  if (!console.json) console.Print(table);
  return absl::OkStatus();
}

void PrintModel(const Console& console, const v1::Model& model) {
  if (console.json) {
    console.PrintJson(model);
    return;
  }
  Table table({{"VERSION", true}, {"ALIASES", false}, {"BACKBONE", false}, {"DATASET", false}, {"CLASSES", true},
               {"ACCURACY", true}, {"SIZE", true}, {"JOB", false}, {"CREATED", false}, {"EPOCH", false}});
  for (const v1::ModelVersion& version : model.versions()) {
    table.AddRow({absl::StrCat(version.version()), Aliases(model, version.version()), version.backbone(),
                  version.dataset(), absl::StrCat(version.classes_size()),
                  Accuracy(version), version.checkpoint_bytes() > 0 ? FormatBytes(version.checkpoint_bytes()) : "",
                  version.job_id(), FormatTime(version.create_time()), Epoch(version)});
  }
  console.PrintLine(absl::StrCat("model ", model.name()));
  console.Print(table);
}

absl::Status Show(const Console& console, const ModelArgs& args) {
  ASSIGN_OR_RETURN(const auto client, console.Connect());
  ASSIGN_OR_RETURN(const v1::Model model, client->GetModel(args.name));
  PrintModel(console, model);
  return absl::OkStatus();
}

absl::Status Alias(const Console& console, const ModelArgs& args) {
  ASSIGN_OR_RETURN(const auto client, console.Connect());
  ASSIGN_OR_RETURN(const v1::Model model, client->SetAlias(args.name, args.alias, args.version));
  PrintModel(console, model);
  return absl::OkStatus();
}

}  // namespace

void AddModelCommands(CLI::App* app, Action* action) {
  CLI::App* group = app->add_subcommand("model", "Trained models")->require_subcommand(1);
  group->add_subcommand("list", "All models")->callback([action] { *action = List; });

  const auto args = std::make_shared<ModelArgs>();
  CLI::App* show = group->add_subcommand("show", "A model's versions");
  show->add_option("name", args->name, "Name of the model, or backbone/NAME")->required();
  show->callback([args, action] { *action = [args](const Console& console) { return Show(console, *args); }; });

  CLI::App* alias = group->add_subcommand("alias", "Point an alias at a version");
  alias->add_option("name", args->name, "Name of the model")->required();
  alias->add_option("alias", args->alias, "The alias; 'default' is what a bare model name means")->required();
  alias->add_option("version", args->version, "Version number; 0 removes the alias")
      ->required()
      ->check(CLI::NonNegativeNumber);
  alias->callback([args, action] { *action = [args](const Console& console) { return Alias(console, *args); }; });
}

}  // namespace graft

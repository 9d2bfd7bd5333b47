#include <CLI/CLI.hpp>

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/commands/commands.h"
#include "client/event_view.h"
#include "client/format.h"
#include "worker/base/status.h"

namespace graft {
namespace {

struct UploadArgs {
  std::string path;
  v1::DatasetHeader header;
};

struct NameArgs {
  std::string name;
  std::string version;
};

void PrintDataset(const Console& console, const v1::Dataset& dataset) {
  console.PrintLine(absl::StrCat("dataset ", dataset.name(), " version ", dataset.version()));
  console.PrintLine(absl::StrCat(FormatCount(dataset.image_count()), " images, ", FormatBytes(dataset.bytes()), ", ",
                                 FormatTime(dataset.create_time()),
                                 dataset.multi_label() ? ", multi-label" : "",
                                 dataset.split_by_server() ? ", split by the server" : ""));
  console.PrintLine(absl::StrCat(FormatCount(dataset.train_count()), " for training, ",
                                 FormatCount(dataset.validation_count()), " for validation, ",
                                 FormatCount(dataset.test_count()), " for test"));
  Table table({{"CLASS", false}, {"TRAIN", true}, {"VALIDATION", true}, {"TEST", true}});
  for (const auto& c : dataset.classes()) {
    table.AddRow({c.name(), absl::StrCat(c.train_count()), absl::StrCat(c.validation_count()),
                  absl::StrCat(c.test_count())});
  }
  console.Print(table);
}

void PrintUpload(const Console& console, const v1::UploadDatasetResponse& response) {
  for (const auto& rejected : response.rejected()) {
    console.PrintLine(absl::StrCat("left out: ", Printable(rejected.file_name()), ": ", Printable(rejected.reason())));
  }
  if (response.rejected_count() > response.rejected_size()) {
    console.PrintLine(absl::StrCat("left out: ", response.rejected_count() - response.rejected_size(), " more"));
  }
  if (response.duplicate_count() > 0) {
    console.PrintLine(absl::StrCat(response.duplicate_count(), " pictures were stored already"));
  }
  PrintDataset(console, response.dataset());
}

absl::Status Upload(const Console& console, const UploadArgs& args) {
  ASSIGN_OR_RETURN(const auto client, console.Connect());
  UploadObserver observer;
  observer.warning = [&](const std::string& warning) {
    console.PrintError(absl::StrCat("warning: ", Printable(warning)));
  };
  StatusLine status_line(console.out, console.width);
  if (console.shows_progress()) {
    observer.progress = [&](int64_t sent, int64_t total) {
      status_line.Show({"upload", sent, total, absl::StrCat(FormatBytes(sent), " of ", FormatBytes(total))});
    };
  }
  const auto response = client->UploadDataset(args.path, args.header, observer);
  status_line.Clear();
  RETURN_IF_ERROR(response.status());
  if (console.json) {
    console.PrintJson(*response);
  } else {
    PrintUpload(console, *response);
  }
  return absl::OkStatus();
}

absl::Status List(const Console& console) {
  ASSIGN_OR_RETURN(const auto client, console.Connect());
  ASSIGN_OR_RETURN(const auto datasets, client->ListDatasets());
  Table table({{"NAME", false}, {"VERSION", false}, {"CLASSES", true}, {"IMAGES", true}, {"TRAIN", true},
               {"SIZE", true}, {"CREATED", false}, {"LABELS", false}});
  for (const v1::Dataset& dataset : datasets) {
    if (console.json) {
      console.PrintJson(dataset);
      continue;
    }
    table.AddRow({dataset.name(), ShortDigest(dataset.version()), absl::StrCat(dataset.classes_size()),
                  absl::StrCat(dataset.image_count()), absl::StrCat(dataset.train_count()),
                  FormatBytes(dataset.bytes()), FormatTime(dataset.create_time()),
                  dataset.multi_label() ? "multi" : "single"});
  }
  if (!console.json) console.Print(table);
  return absl::OkStatus();
}

absl::Status Show(const Console& console, const NameArgs& args) {
  ASSIGN_OR_RETURN(const auto client, console.Connect());
  ASSIGN_OR_RETURN(const v1::Dataset dataset, client->GetDataset(args.name, args.version));
  if (console.json) {
    console.PrintJson(dataset);
  } else {
    PrintDataset(console, dataset);
  }
  return absl::OkStatus();
}

absl::Status Delete(const Console& console, const NameArgs& args) {
  ASSIGN_OR_RETURN(const auto client, console.Connect());
  RETURN_IF_ERROR(client->DeleteDataset(args.name, args.version));
  if (console.json) {
    console.PrintJson(v1::DeleteDatasetResponse());
  } else {
    console.PrintLine(absl::StrCat("deleted ", args.name, args.version.empty() ? "" : " version ", args.version));
  }
  return absl::OkStatus();
}

void AddUpload(CLI::App* group, Action* action) {
  const auto args = std::make_shared<UploadArgs>();
  CLI::App* app = group->add_subcommand("upload", "Upload a folder or an archive (zip, tar, tar.gz) of pictures");
  app->add_option("path", args->path,
                  "Folder or archive of CLASS/picture, train|val|test/CLASS/picture, or with a manifest.csv or .jsonl")
      ->required();
  app->add_option_function<std::string>("--name", [args](const std::string& name) { args->header.set_name(name); },
                                        "Name of the dataset")
      ->required();
  app->add_option_function<double>(
         "--validation-fraction", [args](double share) { args->header.set_validation_fraction(share); },
         "Share of each class for validation when the pictures come without splits (default 0.2)")
      ->check(Positive());
  app->add_option_function<uint64_t>("--split-seed", [args](uint64_t seed) { args->header.set_split_seed(seed); },
                                     "Seed of that split (default 0)");
  app->add_flag_callback("--multi-label", [args] { args->header.set_multi_label(true); },
                         "A picture has any number of classes: one in several folders has all of theirs. A manifest "
                         "with labels needs no flag");
  app->callback([args, action] { *action = [args](const Console& console) { return Upload(console, *args); }; });
}

void AddNamed(CLI::App* app, Action* action, absl::Status (*run)(const Console&, const NameArgs&)) {
  const auto args = std::make_shared<NameArgs>();
  app->add_option("name", args->name, "Name of the dataset")->required();
  app->add_option("--version", args->version, "One version of it: sha256:...");
  app->callback([args, action, run] { *action = [args, run](const Console& console) { return run(console, *args); }; });
}

}  // namespace

void AddDatasetCommands(CLI::App* app, Action* action) {
  CLI::App* group = app->add_subcommand("dataset", "Labelled pictures")->require_subcommand(1);
  AddUpload(group, action);
  group->add_subcommand("list", "The newest version of every dataset")->callback([action] { *action = List; });
  AddNamed(group->add_subcommand("show", "A dataset's classes and counts"), action, Show);
  AddNamed(group->add_subcommand("delete", "Delete a dataset or one version of it"), action, Delete);
}

}  // namespace graft

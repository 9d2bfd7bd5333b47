#include <CLI/CLI.hpp>

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/commands/commands.h"
#include "client/commands/follow.h"
#include "worker/base/status.h"

namespace graft {
namespace {

struct TrainArgs {
  v1::StartJobRequest request;
  bool wait = false;
};

void PrintJobObject(const Console& console, const v1::Job& job) {
  console.PrintLine(absl::StrCat("{\"job\":", ToJson(job), "}"));
}

absl::Status Wait(const Console& console, Client* client, const std::string& id) {
  const absl::Status outcome = FollowJob(console, client, id, 1);
  // A watch that broke leaves the job's end unknown.
  if (!outcome.ok() && !absl::IsFailedPrecondition(outcome)) return outcome;
  ASSIGN_OR_RETURN(const v1::Job job, client->GetJob(id));
  if (console.json) {
    PrintJobObject(console, job);
  } else if (!job.model_version().empty()) {
    console.PrintLine(absl::StrCat("model ", job.model_version()));
  }
  return outcome;
}

absl::Status Train(const Console& console, const TrainArgs& args) {
  ASSIGN_OR_RETURN(const auto client, console.Connect());
  ASSIGN_OR_RETURN(const v1::Job job, client->StartJob(args.request));
  if (!console.json) {
    console.PrintLine(absl::StrCat("job ", job.id()));
  } else if (!args.wait) {
    PrintJobObject(console, job);
  }
  return args.wait ? Wait(console, client.get(), job.id()) : absl::OkStatus();
}

v1::Strategy ParseStrategy(const std::string& name) {
  if (name == "scratch") return v1::STRATEGY_SCRATCH;
  return name == "fine-tune" ? v1::STRATEGY_FINE_TUNE : v1::STRATEGY_FROZEN_HEAD;
}

void AddRequired(CLI::App* app, v1::JobSpec* spec) {
  app->add_option_function<std::string>("--dataset", [spec](const std::string& v) { spec->set_dataset(v); },
                                        "Name of the dataset")
      ->required();
  app->add_option_function<std::string>("--backbone", [spec](const std::string& v) { spec->set_backbone(v); },
                                        "Name from 'graft backbone list'")
      ->required();
  app->add_option_function<std::string>(
         "--strategy", [spec](const std::string& v) { spec->set_strategy(ParseStrategy(v)); },
         "frozen-head trains a new head; fine-tune then the backbone's last stages with it; scratch trains the whole "
         "network from random weights")
      ->required()
      ->check(CLI::IsMember({"frozen-head", "fine-tune", "scratch"}));
}

void AddTuning(CLI::App* app, v1::JobSpec* spec) {
  app->add_option_function<int32_t>("--epochs", [spec](int32_t v) { spec->set_epochs(v); },
                                    "Epochs of the last phase (default 30, 10 for fine-tune)")
      ->check(Positive());
  app->add_option_function<int32_t>("--batch-size", [spec](int32_t v) { spec->set_batch_size(v); },
                                    "Images a step (default 32)")
      ->check(Positive());
  app->add_option_function<double>("--learning-rate", [spec](double v) { spec->set_learning_rate(v); },
                                   "Of the last phase (default 0.01, 0.001 for fine-tune)")
      ->check(Positive());
  app->add_option_function<uint64_t>("--seed", [spec](uint64_t v) { spec->set_seed(v); },
                                     "Of shuffling and initial weights (default 0)");
  app->add_option_function<int32_t>("--input-px", [spec](int32_t v) { spec->set_input_px(v); },
                                    "Side of the network's input (default: the backbone's; 'graft backbone show' has "
                                    "the sizes that work)")
      ->check(Positive());
  app->add_option_function<int32_t>(
         "--unfreeze-stages", [spec](int32_t v) { spec->mutable_fine_tune()->set_unfreeze_stages(v); },
         "fine-tune: last backbone stages to train (default 3)")
      ->check(Positive());
  app->add_option_function<int32_t>(
         "--head-epochs", [spec](int32_t v) { spec->mutable_fine_tune()->set_head_epochs(v); },
         "fine-tune: epochs of the head's own phase before (default 10)")
      ->check(Positive());
}

}  // namespace

void AddTrainCommand(CLI::App* app, Action* action) {
  const auto args = std::make_shared<TrainArgs>();
  v1::StartJobRequest* request = &args->request;
  CLI::App* train = app->add_subcommand("train", "Start a training job");
  AddRequired(train, request->mutable_spec());
  AddTuning(train, request->mutable_spec());
  train->add_option_function<std::string>(
      "--dataset-version", [request](const std::string& v) { request->mutable_spec()->set_dataset_version(v); },
      "sha256:... (default: the newest)");
  train->add_option_function<std::string>(
      "--model", [request](const std::string& v) { request->mutable_spec()->set_model(v); },
      "The result becomes the next version of this model");
  train->add_option_function<std::string>(
      "--request-id", [request](const std::string& v) { request->set_request_id(v); },
      "The same id and options return the same job (default: a random one)");
  train->add_flag("--wait", args->wait, "Show the job's events until it has ended; fail if it does");
  train->callback([args, action] { *action = [args](const Console& console) { return Train(console, *args); }; });
}

}  // namespace graft

#include <CLI/CLI.hpp>

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/commands/commands.h"
#include "client/commands/follow.h"
#include "client/commands/train_options.h"
#include "client/job_description.h"
#include "worker/base/status.h"

namespace graft {
namespace {

struct TrainArgs {
  v1::StartJobRequest request;  // its spec is read from `spec`
  SpecOptions spec;
  bool wait = false;
  bool print_spec = false;
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

absl::Status PrintSpec(const Console& console, const TrainArgs& args) {
  ASSIGN_OR_RETURN(const auto client, console.Connect());
  ASSIGN_OR_RETURN(const v1::JobDescription description, client->DescribeJob(args.request));
  if (console.json) {
    console.PrintJson(description);
  } else {
    console.out << FormatJobDescription(description) << std::flush;
  }
  return absl::OkStatus();
}

// Fills in the request's spec, or reports what is wrong with it as CLI11 reports a wrong command line.
void ReadSpec(TrainArgs* args) {
  absl::StatusOr<v1::JobSpec> spec = args->spec.Build();
  if (!spec.ok()) throw CLI::ValidationError(std::string(spec.status().message()), CLI::ExitCodes::ValidationError);
  if (spec->dataset().empty()) throw CLI::RequiredError("--dataset");
  if (spec->strategy() == v1::STRATEGY_UNSPECIFIED) throw CLI::RequiredError("--strategy");
  const bool chooses = spec->strategy() == v1::STRATEGY_AUTO;
  if (!chooses && spec->backbone().empty()) throw CLI::RequiredError("--backbone");
  *args->request.mutable_spec() = *std::move(spec);
}

}  // namespace

void AddTrainCommand(CLI::App* app, Action* action) {
  const auto args = std::make_shared<TrainArgs>();
  CLI::App* train = app->add_subcommand("train", "Start a training job");
  AddSpecOptions(train, &args->spec);
  train->add_option_function<std::string>(
      "--request-id", [args](const std::string& v) { args->request.set_request_id(v); },
      "The same id and options return the same job (default: a random one)");
  CLI::Option* const wait =
      train->add_flag("--wait", args->wait, "Show the job's events until it has ended; fail if it does");
  train->add_flag("--print-spec", args->print_spec, "Start nothing; print all settings with their defaults, for --spec")
      ->excludes(wait);
  train->callback([args, action] {
    ReadSpec(args.get());
    *action = [args](const Console& console) {
      return args->print_spec ? PrintSpec(console, *args) : Train(console, *args);
    };
  });
}

}  // namespace graft

#include <CLI/CLI.hpp>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "client/commands/commands.h"
#include "client/commands/follow.h"
#include "client/evaluation_text.h"
#include "client/format.h"
#include "worker/base/status.h"

namespace graft {
namespace {

struct ListArgs {
  std::vector<std::string> states;
  int limit = 50;
};

struct JobArgs {
  std::string id;
  int64_t from_seq = 1;
};

absl::Status List(const Console& console, const ListArgs& args) {
  std::vector<v1::JobState> states;
  for (const std::string& name : args.states) {
    v1::JobState state = v1::JOB_STATE_UNSPECIFIED;
    v1::JobState_Parse(absl::StrCat("JOB_STATE_", absl::AsciiStrToUpper(name)), &state);
    states.push_back(state);
  }
  ASSIGN_OR_RETURN(const auto client, console.Connect());
  ASSIGN_OR_RETURN(const auto jobs, client->ListJobs(states, args.limit));
  Table table({{"ID", false}, {"STATE", false}, {"DATASET", false}, {"BACKBONE", false}, {"STRATEGY", false},
               {"MODEL", false}, {"ACCURACY", true}, {"CREATED", false}});
  for (const v1::Job& job : jobs) {
    if (console.json) {
      console.PrintJson(job);
      continue;
    }
    // That of auto is known once it has chosen.
    const std::string& backbone = job.spec().backbone().empty() ? job.effective().backbone() : job.spec().backbone();
    table.AddRow({job.id(), FormatState(job.state()), job.spec().dataset(), backbone,
                  FormatStrategy(job.spec().strategy()), job.model_version(),
                  job.has_evaluation() ? FormatScore(job.evaluation()) : "",
                  FormatTime(job.create_time())});
  }
  if (!console.json) console.Print(table);
  return absl::OkStatus();
}

std::string FormatTraining(const v1::Job& job) {
  const v1::JobSpec& spec = job.has_effective() ? job.effective() : job.spec();
  const std::string strategy = FormatStrategy(spec.strategy());
  if (spec.strategy() == v1::STRATEGY_AUTO) {  // has not chosen yet
    return absl::StrCat(strategy, ", within ", FormatSeconds(spec.auto_().budget_seconds()));
  }
  return absl::StrCat(strategy, job.spec().strategy() == v1::STRATEGY_AUTO ? " (chosen by auto)" : "", ", ",
                      spec.epochs(), " epochs, batch size ", spec.batch_size(), ", learning rate ",
                      spec.learning_rate(), ", seed ", spec.seed());
}

// "name value" lines of what is known about a job.
void PrintJob(const Console& console, const v1::Job& job) {
  const v1::JobSpec& spec = job.has_effective() ? job.effective() : job.spec();
  const auto line = [&](const char* name, const std::string& value) {
    if (!value.empty()) console.PrintLine(absl::StrCat(name, " ", Printable(value)));
  };
  line("job", job.id());
  const std::string attempt = job.attempt() > 1 ? absl::StrCat(", attempt ", job.attempt()) : "";
  line("state", absl::StrCat(FormatState(job.state()), attempt, job.cancel_requested() ? ", asked to stop" : ""));
  line("error", job.error());
  line("dataset", absl::StrCat(spec.dataset(), " ", spec.dataset_version()));
  line("backbone", spec.backbone());
  line("input", spec.input_px() > 0 ? absl::StrCat(spec.input_px(), " px") : "");
  line("strategy", FormatTraining(job));
  line("model", job.model_version());
  line("created", FormatTime(job.create_time()));
  line("started", FormatTime(job.start_time()));
  line("ended", FormatTime(job.end_time()));
  line("events", absl::StrCat(job.last_seq()));
  if (job.has_auto_report()) console.out << FormatAutoReport(job.auto_report(), console.terminal);
  if (job.has_last_epoch()) {
    v1::JobEvent event;
    *event.mutable_epoch() = job.last_epoch();
    console.out << FormatEvent(event, console.terminal);
  }
  if (job.has_evaluation()) console.out << FormatEvaluation(job.evaluation(), console.terminal);
}

void PrintAnyJob(const Console& console, const v1::Job& job) {
  if (console.json) {
    console.PrintJson(job);
  } else {
    PrintJob(console, job);
  }
}

absl::Status Show(const Console& console, const JobArgs& args) {
  ASSIGN_OR_RETURN(const auto client, console.Connect());
  ASSIGN_OR_RETURN(const v1::Job job, client->GetJob(args.id));
  PrintAnyJob(console, job);
  return absl::OkStatus();
}

absl::Status Cancel(const Console& console, const JobArgs& args) {
  ASSIGN_OR_RETURN(const auto client, console.Connect());
  ASSIGN_OR_RETURN(const v1::Job job, client->CancelJob(args.id));
  PrintAnyJob(console, job);
  return absl::OkStatus();
}

absl::Status Watch(const Console& console, const JobArgs& args) {
  ASSIGN_OR_RETURN(const auto client, console.Connect());
  return FollowJob(console, client.get(), args.id, args.from_seq);
}

void AddList(CLI::App* group, Action* action) {
  const auto args = std::make_shared<ListArgs>();
  CLI::App* app = group->add_subcommand("list", "Jobs, newest first");
  app->add_option("--state", args->states, "Only jobs in this state; may be repeated")
      ->check(CLI::IsMember({"queued", "running", "succeeded", "failed", "cancelled"}));
  app->add_option("--limit", args->limit, "At most so many; 0 = all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app->callback([args, action] { *action = [args](const Console& console) { return List(console, *args); }; });
}

std::shared_ptr<JobArgs> AddJob(CLI::App* app, Action* action, absl::Status (*run)(const Console&, const JobArgs&)) {
  const auto args = std::make_shared<JobArgs>();
  app->add_option("id", args->id, "Job id")->required();
  app->callback([args, action, run] { *action = [args, run](const Console& console) { return run(console, *args); }; });
  return args;
}

}  // namespace

void AddJobCommands(CLI::App* app, Action* action) {
  CLI::App* group = app->add_subcommand("job", "Training jobs")->require_subcommand(1);
  AddList(group, action);
  AddJob(group->add_subcommand("show", "A job's settings, state and result"), action, Show);
  AddJob(group->add_subcommand("cancel", "Ask a job to stop"), action, Cancel);
  CLI::App* watch = group->add_subcommand("watch", "A job's events until it has ended; fails unless it succeeds");
  const auto args = AddJob(watch, action, Watch);
  watch->add_option("--from-seq", args->from_seq, "First event wanted")->check(CLI::NonNegativeNumber);
}

}  // namespace graft

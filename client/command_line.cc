#include "client/command_line.h"

#include <CLI/CLI.hpp>

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "client/commands/commands.h"

namespace graft {
namespace {

constexpr int kFailure = 1;
constexpr int kUsage = 2;

// CLI11 reports through exceptions; this is where they end. Help is one of them, and a success.
int Report(const CLI::App& app, const CLI::ParseError& error, const Console& console) {
  if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) {
    return app.exit(error, console.out, console.err);
  }
  console.PrintError(error.what());
  console.err << "Run with --help for more information.\n";
  return kUsage;
}

}  // namespace

CLI::Validator Positive() {
  return CLI::Validator(
      [](std::string& text) {
        double value = 0;
        const bool positive = CLI::detail::lexical_cast(text, value) && value > 0;
        return positive ? std::string() : absl::StrCat("got ", text, ", want > 0");
      },
      "POSITIVE");
}

int RunCommandLine(std::vector<std::string> args, Console console) {
  CLI::App app("Trains and serves image classifiers on a graft server.", "graft");
  app.require_subcommand(1);
  app.fallthrough();  // subcommands inherit it: --server and --json may stand after them
  app.add_option("--server", console.server, "host:port of the server")->capture_default_str();
  app.add_flag("--json", console.json, "One JSON object a line on standard output, and nothing else");

  Action action;
  AddDatasetCommands(&app, &action);
  AddTrainCommand(&app, &action);
  AddJobCommands(&app, &action);
  AddModelCommands(&app, &action);
  AddClassifyCommand(&app, &action);
  AddBackboneCommands(&app, &action);
  AddServerCommands(&app, &action);

  std::reverse(args.begin(), args.end());  // CLI11 takes them from the back
  try {
    app.parse(args);
  } catch (const CLI::ParseError& error) {
    return Report(app, error, console);
  }
  const absl::Status status = action(console);
  if (status.ok()) return 0;
  console.PrintError(std::string(status.message()));
  return kFailure;
}

}  // namespace graft

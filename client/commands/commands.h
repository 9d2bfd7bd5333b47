#pragma once

#include <CLI/App.hpp>
#include <CLI/Validators.hpp>

#include "client/commands/console.h"

namespace graft {

// Each adds its subcommands to `app`; parsing one of them sets *action, which outlives the parse.
void AddDatasetCommands(CLI::App* app, Action* action);
void AddTrainCommand(CLI::App* app, Action* action);
void AddJobCommands(CLI::App* app, Action* action);
void AddModelCommands(CLI::App* app, Action* action);
void AddClassifyCommand(CLI::App* app, Action* action);
void AddBackboneCommands(CLI::App* app, Action* action);
void AddServerCommands(CLI::App* app, Action* action);

// A number > 0. (CLI::PositiveNumber names the largest double, digit by digit, when it refuses.)
CLI::Validator Positive();

}  // namespace graft

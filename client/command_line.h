#pragma once

#include <string>
#include <vector>

#include "client/commands/console.h"

namespace graft {

// Runs the `graft` command with the arguments after its name and returns its exit status: 0 success, 1 failure, 2 wrong
// usage. Results go to console.out, messages to console.err.
int RunCommandLine(std::vector<std::string> args, Console console);

}  // namespace graft

#include <sys/ioctl.h>
#include <unistd.h>

#include <iostream>
#include <string>
#include <vector>

#include "client/command_line.h"

int main(int argc, char** argv) {
  graft::Console console{std::cout, std::cerr};
  console.terminal = ::isatty(STDOUT_FILENO) == 1;
  winsize size = {};
  if (console.terminal && ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    console.width = size.ws_col;
  }
  return graft::RunCommandLine(std::vector<std::string>(argv + 1, argv + argc), console);
}

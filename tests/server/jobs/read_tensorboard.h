#pragma once

#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "worker/base/status.h"

namespace graft {

// What an independent reader says of a directory's event files: a line of JSON a record, or its complaint. The tests
// run in the source folder.
inline std::vector<std::string> ReadTensorBoard(const std::string& directory) {
  const std::string command =
      absl::StrCat("/usr/bin/python3 -B tests/support/tensorboard_reader.py '", directory, "' 2>&1");
  FILE* const output = popen(command.c_str(), "r");
  GRAFT_CHECK(output != nullptr);
  std::string text;
  for (int c; (c = std::fgetc(output)) != EOF;) text.push_back(static_cast<char>(c));
  pclose(output);
  return absl::StrSplit(text, '\n', absl::SkipEmpty());
}

}  // namespace graft

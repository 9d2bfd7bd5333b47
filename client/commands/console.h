#pragma once

#include <google/protobuf/message.h>

#include <functional>
#include <memory>
#include <ostream>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/graft_client.h"
#include "client/render.h"

namespace graft {

// Where a command writes, and what every command is told.
struct Console {
  std::ostream& out;
  std::ostream& err;
  bool terminal = false;  // `out` is one
  int width = 80;         // of the terminal, characters
  std::string server = ClientOptions().server;  // --server
  bool json = false;                            // --json

  absl::StatusOr<std::unique_ptr<Client>> Connect() const;

  // Progress bars are for people at a terminal.
  bool shows_progress() const { return terminal && !json; }
  // One line: the message in proto JSON, fields named as in the .proto, zero values included.
  void PrintJson(const google::protobuf::Message& message) const;
  void PrintLine(const std::string& line) const;
  void Print(const Table& table) const;
  // One line on the error stream, named as ours.
  void PrintError(const std::string& message) const;
};

// What the chosen subcommand does once the arguments are known to be right.
using Action = std::function<absl::Status(const Console&)>;

std::string ToJson(const google::protobuf::Message& message);

}  // namespace graft

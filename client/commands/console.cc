#include "client/commands/console.h"

#include <google/protobuf/util/json_util.h>

#include <utility>

namespace graft {

std::string ToJson(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  std::string json;
  // Fails for an Any or a well-known type with an impossible value only; a time out of range is the server's bug.
  const auto status = google::protobuf::util::MessageToJsonString(message, &json, options);
  return status.ok() ? json : "{}";
}

absl::StatusOr<std::unique_ptr<Client>> Console::Connect() const {
  ClientOptions options;
  options.server = server;
  return Client::Connect(std::move(options));
}

void Console::PrintJson(const google::protobuf::Message& message) const { PrintLine(ToJson(message)); }

void Console::PrintLine(const std::string& line) const { out << line << '\n' << std::flush; }

void Console::Print(const Table& table) const { out << table.Render(terminal) << std::flush; }

void Console::PrintError(const std::string& message) const { err << "graft: " << message << '\n' << std::flush; }

}  // namespace graft

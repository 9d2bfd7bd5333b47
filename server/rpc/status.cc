#include "server/rpc/status.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include <spdlog/spdlog.h>

#include "absl/strings/ascii.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "google/rpc/error_details.pb.h"
#include "server/ingest/names.h"

namespace graft {
namespace {

// Trailing metadata over 8 KiB makes a gRPC client drop the status. The message may grow threefold (percent-encoding)
// and is sent twice more in the details (base64).
constexpr size_t kMaxMessageBytes = 1000;
constexpr absl::string_view kMore = "(and more)";

bool IsFieldCharacter(char c) {
  return absl::ascii_isalnum(c) || c == '_' || c == '.' || c == '-' || c == '[' || c == ']';
}

// At most `max_bytes` of UTF-8.
std::string Cut(std::string text, size_t max_bytes) {
  if (text.size() <= max_bytes) return text;
  while (max_bytes > 0 && (static_cast<unsigned char>(text[max_bytes]) & 0xC0) == 0x80) --max_bytes;
  text.resize(max_bytes);
  return text;
}

// The message's lines, each valid UTF-8 without control characters, as protobuf strings and logs need them.
std::vector<std::string> Lines(absl::string_view message) {
  std::vector<std::string> lines;
  size_t bytes = 0;
  for (const absl::string_view line : absl::StrSplit(message, '\n', absl::SkipEmpty())) {
    std::string text = Cut(Printable(line), kMaxMessageBytes);
    bytes += text.size() + 1;
    if (bytes > kMaxMessageBytes && !lines.empty()) {
      lines.emplace_back(kMore);
      break;
    }
    lines.push_back(std::move(text));
  }
  return lines;
}

void AddViolation(absl::string_view line, google::rpc::BadRequest* bad_request) {
  const size_t colon = line.find(": ");
  if (colon == absl::string_view::npos || colon == 0) return;
  const absl::string_view field = line.substr(0, colon);
  if (!std::all_of(field.begin(), field.end(), IsFieldCharacter)) return;
  google::rpc::BadRequest::FieldViolation* violation = bad_request->add_field_violations();
  violation->set_field(std::string(field));
  violation->set_description(std::string(line.substr(colon + 2)));
}

// google.rpc.Status, serialized; empty when no line names a field.
std::string Details(const std::string& message, const std::vector<std::string>& lines) {
  google::rpc::BadRequest bad_request;
  for (const std::string& line : lines) AddViolation(line, &bad_request);
  if (bad_request.field_violations().empty()) return "";
  google::rpc::Status details;
  details.set_code(static_cast<int>(grpc::StatusCode::INVALID_ARGUMENT));
  // Again, because grpcio-status refuses details whose message differs from the call's.
  details.set_message(message);
  details.add_details()->PackFrom(bad_request);
  return details.SerializeAsString();
}

}  // namespace

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  if (absl::IsInternal(status) || absl::IsUnknown(status)) {
    spdlog::error("internal error answered to a caller: {}", std::string(status.message()));
    return grpc::Status(grpc::StatusCode::INTERNAL, "internal error");
  }
  const std::vector<std::string> lines = Lines(status.message());
  const std::string message = absl::StrJoin(lines, "\n");
  // absl and gRPC share google.rpc.Code's numbers.
  const auto code = static_cast<grpc::StatusCode>(status.raw_code());
  return grpc::Status(code, message, absl::IsInvalidArgument(status) ? Details(message, lines) : "");
}

}  // namespace graft

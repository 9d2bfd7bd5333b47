#include "server/store/sql.h"

#include "absl/strings/escaping.h"

namespace graft {

int64_t ToMicros(absl::Time time) { return absl::ToUnixMicros(time); }

int64_t ToMicros(const std::optional<absl::Time>& time) { return time ? absl::ToUnixMicros(*time) : 0; }

absl::Time FromMicros(int64_t us) { return absl::FromUnixMicros(us); }

std::optional<absl::Time> OptionalFromMicros(int64_t us) {
  if (us == 0) return std::nullopt;
  return absl::FromUnixMicros(us);
}

std::string ToText(const std::string& bytes) { return absl::Base64Escape(bytes); }

absl::StatusOr<std::string> FromText(const std::string& text) {
  std::string bytes;
  if (!absl::Base64Unescape(text, &bytes)) return absl::DataLossError("database: a stored message is not base64");
  return bytes;
}

}  // namespace graft

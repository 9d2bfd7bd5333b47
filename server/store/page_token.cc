#include "server/store/page_token.h"

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace graft {

std::string EncodePageToken(absl::string_view kind, absl::string_view key) {
  return absl::WebSafeBase64Escape(absl::StrCat(kind, ":", key));
}

absl::Status MalformedPageToken(const std::string& token) {
  return absl::InvalidArgumentError(absl::StrCat("page_token: got \"", absl::CEscape(token),
                                                 "\", want next_page_token of an earlier answer, or none"));
}

absl::StatusOr<std::string> DecodePageToken(absl::string_view kind, const std::string& token) {
  const std::string prefix = absl::StrCat(kind, ":");
  std::string plain;
  if (!absl::WebSafeBase64Unescape(token, &plain) || !absl::StartsWith(plain, prefix)) {
    return MalformedPageToken(token);
  }
  return plain.substr(prefix.size());
}

}  // namespace graft

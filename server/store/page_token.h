#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace graft {

// An opaque token for "after `key`" in the listing `kind`.
std::string EncodePageToken(absl::string_view kind, absl::string_view key);
// The key of a token of the same listing.
//   InvalidArgument  anything that EncodePageToken did not make
absl::StatusOr<std::string> DecodePageToken(absl::string_view kind, const std::string& token);
// That error, for a key that is none.
absl::Status MalformedPageToken(const std::string& token);

}  // namespace graft

#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace graft {

// Names of datasets and models.
//   InvalidArgument  not 1 to 64 of [a-z0-9._-] starting with a letter or digit; the message begins with `field`
absl::Status CheckName(absl::string_view field, absl::string_view name);

// A class name.
//   InvalidArgument  not 1 to 128 bytes of UTF-8 without control characters; the message begins with `field`
absl::Status CheckLabel(absl::string_view label, absl::string_view field = "label");

// The classes of one picture of a multi-label dataset; more would be a mistake, and each is kept for each picture.
constexpr size_t kMaxLabels = 100;
//   InvalidArgument  more than kMaxLabels; one that CheckLabel() refuses ("labels[2]: ...")
absl::Status CheckLabels(const std::vector<std::string>& labels);

// Whether `text` is UTF-8 (no overlong forms, surrogates, or code points past U+10FFFF) without control characters
// (C0, DEL, C1): what a protobuf string, a log line and a terminal take as it is.
bool IsPlainText(absl::string_view text);

// `text` itself when it is plain, else with every byte outside printable ASCII as \xNN; at most 1024 bytes of it.
std::string Printable(absl::string_view text);
// The same of each line.
std::string PrintableLines(absl::string_view text);

}  // namespace graft

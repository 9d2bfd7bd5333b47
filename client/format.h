#pragma once

#include <google/protobuf/timestamp.pb.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "graft/v1/job.pb.h"
#include "graft/v1/model.pb.h"

namespace graft {

// Text of one line that a terminal shows as it is: control characters (a file name may hold some) become '?'.
std::string Printable(absl::string_view text);
// Characters of UTF-8 text, which is its width for the scripts that take one column each.
size_t DisplayWidth(absl::string_view text);

std::string FormatCount(int64_t count);                              // 1,234,567
std::string FormatBytes(int64_t bytes);                              // 512 B, 1.5 MiB
std::string FormatPercent(double share);                             // 0.9312 -> 93.1 %
std::string FormatPercent(double share, double deviation);           // 93.1 ± 0.4 %
std::string FormatScore(const v1::Evaluation& evaluation);           // 93.1 %, of a multi-label dataset mAP 93.1 %
std::string FormatSeconds(double seconds);                           // 5 s, 1m05s, 2h03m
std::string FormatTime(const google::protobuf::Timestamp& time);     // 2024-05-01 12:00:00 UTC; empty when not set
std::string FormatState(v1::JobState state);                         // "running"
std::string FormatStrategy(v1::Strategy strategy);                   // "frozen-head"
std::string FormatInterpolation(v1::Interpolation interpolation);    // "bilinear"
std::string ShortDigest(absl::string_view digest);                   // "sha256:" and 12 hex digits

}  // namespace graft

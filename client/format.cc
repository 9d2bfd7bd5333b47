#include "client/format.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"

namespace graft {

std::string Printable(absl::string_view text) {
  std::string line(text);
  for (char& c : line) {
    if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) c = c == '\n' || c == '\t' ? ' ' : '?';
  }
  return line;
}

size_t DisplayWidth(absl::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

std::string FormatCount(int64_t count) {
  std::string digits = absl::StrFormat("%d", count);
  const size_t first = count < 0 ? 1 : 0;
  for (size_t i = digits.size(); i > first + 3; i -= 3) digits.insert(i - 3, ",");
  return digits;
}

std::string FormatBytes(int64_t bytes) {
  if (bytes < 1024) return absl::StrFormat("%d B", bytes);
  static constexpr const char* kUnits[] = {"KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  for (; value >= 1024 && unit + 1 < sizeof(kUnits) / sizeof(kUnits[0]); ++unit) value /= 1024;
  return absl::StrFormat("%.1f %s", value, kUnits[unit]);
}

std::string FormatPercent(double share) { return absl::StrFormat("%.1f %%", share * 100); }

std::string FormatPercent(double share, double deviation) {
  return absl::StrFormat("%.1f ± %.1f %%", share * 100, deviation * 100);
}

std::string FormatScore(const v1::Evaluation& evaluation) {
  if (!evaluation.has_multi_label()) return FormatPercent(evaluation.accuracy());
  return absl::StrCat("mAP ", FormatPercent(evaluation.multi_label().mean_average_precision()));
}

std::string FormatSeconds(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "?";
  const int64_t whole = std::llround(std::min(seconds, 1e12));
  if (whole < 60) return absl::StrFormat("%d s", whole);
  if (whole < 3600) return absl::StrFormat("%dm%02ds", whole / 60, whole % 60);
  return absl::StrFormat("%dh%02dm", whole / 3600, whole % 3600 / 60);
}

std::string FormatTime(const google::protobuf::Timestamp& time) {
  if (time.seconds() == 0 && time.nanos() == 0) return "";
  return absl::FormatTime("%Y-%m-%d %H:%M:%S UTC", absl::FromUnixSeconds(time.seconds()), absl::UTCTimeZone());
}

std::string FormatState(v1::JobState state) {
  std::string name = v1::JobState_Name(state);
  return absl::AsciiStrToLower(absl::StripPrefix(name, "JOB_STATE_"));
}

std::string FormatStrategy(v1::Strategy strategy) {
  std::string name = v1::Strategy_Name(strategy);
  return absl::StrReplaceAll(absl::AsciiStrToLower(absl::StripPrefix(name, "STRATEGY_")), {{"_", "-"}});
}

std::string FormatInterpolation(v1::Interpolation interpolation) {
  std::string name = v1::Interpolation_Name(interpolation);
  return absl::AsciiStrToLower(absl::StripPrefix(name, "INTERPOLATION_"));
}

std::string ShortDigest(absl::string_view digest) {
  return std::string(digest.substr(0, absl::string_view("sha256:").size() + 12));
}

}  // namespace graft

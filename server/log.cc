#include "server/log.h"

#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "nlohmann/json.hpp"
#include "spdlog/formatter.h"
#include "spdlog/sinks/stdout_sinks.h"
#include "spdlog/spdlog.h"

namespace graft {
namespace {

// The fields of the record that this thread is logging: spdlog's records have room for a message only, and it formats
// them on the thread that logs.
thread_local const LogFields* current_fields = nullptr;

std::string Time(const spdlog::details::log_msg& record) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::FromChrono(record.time), absl::UTCTimeZone());
}

std::string Level(const spdlog::details::log_msg& record) {
  const spdlog::string_view_t name = spdlog::level::to_string_view(record.level);
  return std::string(name.data(), name.size());
}

// As it is when it is one plain word, else quoted and escaped: a value can neither end the line nor look like a field.
std::string TextValue(const std::string& value) {
  const bool plain = !value.empty() && value.find_first_of(" \"=\\") == std::string::npos;
  return plain && absl::CEscape(value) == value ? value : absl::StrCat("\"", absl::Utf8SafeCEscape(value), "\"");
}

std::string TextLine(const spdlog::details::log_msg& record) {
  const absl::string_view message(record.payload.data(), record.payload.size());
  std::string line = absl::StrCat(Time(record), " ", Level(record), " ", absl::Utf8SafeCEscape(message));
  if (current_fields == nullptr) return line;
  for (const auto& [name, value] : *current_fields) absl::StrAppend(&line, " ", name, "=", TextValue(value));
  return line;
}

std::string JsonLine(const spdlog::details::log_msg& record) {
  nlohmann::ordered_json line;
  line["time"] = Time(record);
  line["level"] = Level(record);
  line["msg"] = std::string(record.payload.data(), record.payload.size());
  if (current_fields != nullptr) {
    for (const auto& [name, value] : *current_fields) line[name] = value;
  }
  return line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);  // bytes that are not UTF-8
}

class LineFormatter : public spdlog::formatter {
 public:
  explicit LineFormatter(LogFormat format) : format_(format) {}

  void format(const spdlog::details::log_msg& record, spdlog::memory_buf_t& out) override {
    const std::string line = format_ == LogFormat::kJson ? JsonLine(record) : TextLine(record);
    out.append(line.data(), line.data() + line.size());
    out.push_back('\n');
  }
  std::unique_ptr<spdlog::formatter> clone() const override { return std::make_unique<LineFormatter>(format_); }

 private:
  const LogFormat format_;
};

void Log(spdlog::level::level_enum level, absl::string_view message, const LogFields& fields) {
  current_fields = &fields;
  spdlog::default_logger_raw()->log(level, spdlog::string_view_t(message.data(), message.size()));
  current_fields = nullptr;
}

}  // namespace

absl::Status StartLogging(LogFormat format, absl::string_view level) {
  static constexpr std::pair<absl::string_view, spdlog::level::level_enum> kLevels[] = {
      {"debug", spdlog::level::debug},
      {"info", spdlog::level::info},
      {"warning", spdlog::level::warn},
      {"error", spdlog::level::err},
  };
  for (const auto& [name, value] : kLevels) {
    if (name != level) continue;
    auto logger = std::make_shared<spdlog::logger>("", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    logger->set_formatter(std::make_unique<LineFormatter>(format));
    logger->set_level(value);
    spdlog::set_default_logger(std::move(logger));
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat("log-level: got \"", level, "\", want debug, info, warning or error"));
}

void LogDebug(absl::string_view message, const LogFields& fields) { Log(spdlog::level::debug, message, fields); }
void LogInfo(absl::string_view message, const LogFields& fields) { Log(spdlog::level::info, message, fields); }
void LogWarning(absl::string_view message, const LogFields& fields) { Log(spdlog::level::warn, message, fields); }
void LogError(absl::string_view message, const LogFields& fields) { Log(spdlog::level::err, message, fields); }

}  // namespace graft

#include "server/log.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace graft {
namespace {

using testing::MatchesRegex;

std::string Logged(LogFormat format, const std::string& message, const LogFields& fields) {
  EXPECT_TRUE(StartLogging(format, "info").ok());
  testing::internal::CaptureStderr();
  LogInfo(message, fields);
  return testing::internal::GetCapturedStderr();
}

TEST(LogTest, TextLineHasTimeLevelMessageAndFields) {
  EXPECT_THAT(Logged(LogFormat::kText, "job starts", {{"job", "job-1"}, {"attempt", "2"}}),
              MatchesRegex("20..-..-..T..:..:..\\....Z info job starts job=job-1 attempt=2\n"));
}

TEST(LogTest, TextValueCanNeitherEndTheLineNorLookLikeAField) {
  EXPECT_THAT(Logged(LogFormat::kText, "failed", {{"error", "a=1\nb"}}), MatchesRegex(".* error=\"a=1\\\\nb\"\n"));
}

TEST(LogTest, TextMessageStaysOnItsLine) {
  EXPECT_THAT(Logged(LogFormat::kText, "two\nlines", {}), MatchesRegex(".* info two\\\\nlines\n"));
}

TEST(LogTest, JsonLineIsOneObject) {
  EXPECT_THAT(Logged(LogFormat::kJson, "say \"hi\"", {{"job", "job-1"}}),
              MatchesRegex("\\{\"time\":\"20[^\"]*Z\",\"level\":\"info\","
                           "\"msg\":\"say \\\\\"hi\\\\\"\",\"job\":\"job-1\"\\}\n"));
}

TEST(LogTest, BytesThatAreNotTextDoNotStopTheLog) {
  EXPECT_THAT(Logged(LogFormat::kJson, "name", {{"file", "\xff"}}), MatchesRegex(".*\"file\":.*\n"));
}

TEST(LogTest, LowerLevelsAreSilent) {
  ASSERT_TRUE(StartLogging(LogFormat::kText, "warning").ok());
  testing::internal::CaptureStderr();
  LogInfo("unheard");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST(LogTest, UnknownLevelIsInvalid) {
  const absl::Status status = StartLogging(LogFormat::kText, "loud");
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_EQ(status.message(), "log-level: got \"loud\", want debug, info, warning or error");
}

}  // namespace
}  // namespace graft

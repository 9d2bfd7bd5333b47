#include "server/options.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace graft {
namespace {

using testing::HasSubstr;

absl::StatusOr<CommandLine> Parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "graftd");
  return ParseCommandLine(static_cast<int>(arguments.size()), arguments.data());
}

TEST(OptionsTest, DefaultsListenOnThisMachineOnly) {
  const auto line = Parse({"--data-dir", "d", "--backbone-dir", "b"});
  ASSERT_TRUE(line.ok()) << line.status();
  EXPECT_EQ(line->action, CommandLine::Action::kServe);
  EXPECT_EQ(line->options.data_dir, "d");
  EXPECT_EQ(line->options.backbone_dir, "b");
  EXPECT_EQ(line->options.grpc_address, "127.0.0.1:50051");
  EXPECT_EQ(line->options.http_address, "127.0.0.1:8080");
  EXPECT_EQ(line->options.drain_grace, absl::Seconds(10));
  EXPECT_EQ(line->options.activation_store_bytes, int64_t{8} << 30);
}

TEST(OptionsTest, EveryFlagArrives) {
  const auto line = Parse({"--data-dir=d", "--backbone-dir=b", "--grpc-address=0.0.0.0:1", "--http-address=[::]:2",
                           "--devices=cpu:3", "--log-format=json", "--log-level=debug", "--drain-grace=1m30s",
                           "--activation-cache-bytes=4", "--activation-store-bytes=8", "--model-cache-bytes=5",
                           "--max-queued-jobs=6", "--max-queued-images=7"});
  ASSERT_TRUE(line.ok()) << line.status();
  EXPECT_EQ(line->options.grpc_address, "0.0.0.0:1");
  EXPECT_EQ(line->options.http_address, "[::]:2");
  EXPECT_EQ(line->options.devices, "cpu:3");
  EXPECT_EQ(line->options.log_format, LogFormat::kJson);
  EXPECT_EQ(line->options.log_level, "debug");
  EXPECT_EQ(line->options.drain_grace, absl::Seconds(90));
  EXPECT_EQ(line->options.activation_cache_bytes, 4);
  EXPECT_EQ(line->options.activation_store_bytes, 8);
  EXPECT_EQ(line->options.model_cache_bytes, 5);
  EXPECT_EQ(line->options.max_queued_jobs, 6);
  EXPECT_EQ(line->options.max_queued_images, 7);
}

TEST(OptionsTest, UnknownFlagIsInvalid) {
  const absl::Status status = Parse({"--data-dir=d", "--backbone-dir=b", "--data-dri=x"}).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("--data-dri"));
}

TEST(OptionsTest, MissingRequiredFlagIsNamed) {
  EXPECT_THAT(std::string(Parse({"--data-dir=d"}).status().message()), HasSubstr("--backbone-dir"));
}

TEST(OptionsTest, AllViolationsComeInOneMessage) {
  const absl::Status status = Parse({"--data-dir=d", "--backbone-dir=b", "--grpc-address=nowhere", "--drain-grace=-1s",
                                     "--max-queued-jobs=0"}).status();
  EXPECT_EQ(status.message(),
            "grpc-address: got \"nowhere\", want HOST:PORT with a port of 0 to 65535\n"
            "drain-grace: got -1s, want at least 0s\n"
            "max-queued-jobs: got 0, want > 0");
}

TEST(OptionsTest, NoActivationStoreIsZeroBytesAndFewerAreInvalid) {
  const auto none = Parse({"--data-dir=d", "--backbone-dir=b", "--activation-store-bytes=0"});
  ASSERT_TRUE(none.ok()) << none.status();
  EXPECT_EQ(none->options.activation_store_bytes, 0);
  EXPECT_EQ(Parse({"--data-dir=d", "--backbone-dir=b", "--activation-store-bytes=-1"}).status().message(),
            "activation-store-bytes: got -1, want >= 0");
}

TEST(OptionsTest, DurationAndFormatAreChecked) {
  EXPECT_EQ(Parse({"--data-dir=d", "--backbone-dir=b", "--drain-grace=10"}).status().message(),
            "drain-grace: got \"10\", want a duration such as 10s or 1m30s");
  EXPECT_EQ(Parse({"--data-dir=d", "--backbone-dir=b", "--log-format=xml"}).status().message(),
            "log-format: got \"xml\", want text or json");
}

TEST(OptionsTest, HelpAndVersionPrint) {
  const auto help = Parse({"--help"});
  ASSERT_TRUE(help.ok()) << help.status();
  EXPECT_EQ(help->action, CommandLine::Action::kPrint);
  EXPECT_THAT(help->text, HasSubstr("--drain-grace"));
  EXPECT_THAT(help->text, HasSubstr("127.0.0.1:50051"));
  const auto version = Parse({"--version"});
  ASSERT_TRUE(version.ok()) << version.status();
  EXPECT_THAT(version->text, HasSubstr("graftd "));
}

TEST(OptionsTest, DescriptionNamesEveryOption) {
  ServerOptions options;
  options.data_dir = "d";
  const auto described = options.Describe();
  EXPECT_EQ(described.size(), 13u);
  EXPECT_EQ(described.front(), (std::pair<std::string, std::string>("data_dir", "d")));
}

}  // namespace
}  // namespace graft

#include "client/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "client/commands/follow.h"
#include "tests/client/fake_server.h"
#include "tests/client/read_tar.h"
#include "tests/client/test_files.h"

namespace graft {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

struct Result {
  int status = 0;
  std::string out;
  std::string err;

  // One parsed object for each line of `out`.
  std::vector<json> objects() const {
    std::vector<json> all;
    for (const auto line : absl::StrSplit(out, '\n', absl::SkipEmpty())) {
      all.push_back(json::parse(std::string(line), nullptr, false));
    }
    return all;
  }
};

Result RunCommand(const std::vector<std::string>& args) {
  std::ostringstream out;
  std::ostringstream err;
  Console console{out, err};
  Result result;
  result.status = RunCommandLine(args, console);
  result.out = out.str();
  result.err = err.str();
  return result;
}

class CommandLineTest : public testing::Test {
 protected:
  // Runs the command against the fake server.
  Result Run(std::vector<std::string> args) {
    args.push_back("--server");
    args.push_back(server_.address);
    return RunCommand(args);
  }

  Result Train(const std::vector<std::string>& more) {
    std::vector<std::string> args = {"train",      "--dataset",   "flowers",  "--backbone", "resnet18",
                                     "--strategy", "frozen-head", "--epochs", "3"};
    args.insert(args.end(), more.begin(), more.end());
    return Run(args);
  }

  // The job's events end with `state`.
  void JobEndsWith(v1::JobState state, const std::string& reason = "") {
    server_.jobs.parts = {{{EpochEvent(1, 1), StateEvent(2, state, reason)}, grpc::Status::OK}};
    server_.jobs.job.set_id("job-1");
    server_.jobs.job.set_state(state);
    server_.jobs.job.set_model_version("roses/1");
  }

  FakeServer server_;
};

// Command lines that are refused before any connection.
class UsageTest : public testing::TestWithParam<std::vector<std::string>> {};

TEST_P(UsageTest, WrongUsageIsStatus2) {
  const Result result = RunCommand(GetParam());
  EXPECT_EQ(result.status, 2);
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, StartsWith("graft: "));
}

using Args = std::vector<std::string>;
INSTANTIATE_TEST_SUITE_P(
    CommandLine, UsageTest,
    testing::Values(Args{}, Args{"frobnicate"}, Args{"dataset"}, Args{"dataset", "upload", "folder"},
                    Args{"dataset", "upload", "--name", "x"}, Args{"job", "watch"},
                    Args{"job", "list", "--state", "lost"}, Args{"job", "watch", "j", "--from-seq", "x"},
                    Args{"train", "--dataset", "d", "--backbone", "b"},
                    Args{"train", "--dataset", "d", "--backbone", "b", "--strategy", "magic"},
                    Args{"train", "--dataset", "d", "--backbone", "b", "--strategy", "fine-tune", "--epochs", "0"},
                    Args{"train", "--dataset", "d", "--backbone", "b", "--strategy", "scratch", "--input-px", "0"},
                    Args{"backbone"}, Args{"backbone", "show"},
                    Args{"model", "alias", "m", "default"}, Args{"model", "alias", "m", "default", "-1"},
                    Args{"classify", "--model", "m"}, Args{"classify", "picture.jpg"},
                    Args{"classify", "--model", "m", "picture.jpg", "--top-k", "0"},
                    Args{"server", "info", "--bogus"}, Args{"server", "info", "extra"}));

TEST_F(CommandLineTest, HelpIsASuccess) {
  const Result result = RunCommand({"train", "--help"});
  EXPECT_EQ(result.status, 0);
  EXPECT_THAT(result.out, HasSubstr("--unfreeze-stages"));
}

TEST_F(CommandLineTest, ServerAndJsonMayStandBeforeOrAfter) {
  const Result before = RunCommand({"--server", server_.address, "--json", "dataset", "list"});
  const Result after = RunCommand({"dataset", "list", "--json", "--server", server_.address});
  EXPECT_EQ(before.status, 0) << before.err;
  EXPECT_EQ(after.status, 0) << after.err;
  EXPECT_EQ(before.out, after.out);
  ASSERT_EQ(after.objects().size(), 2u);
  EXPECT_EQ(after.objects()[0]["name"], "first");
  EXPECT_EQ(after.objects()[0]["image_count"], "0");  // zero values are there; 64-bit numbers are strings in proto JSON
}

TEST_F(CommandLineTest, FailureIsStatus1WithMessageOnStandardError) {
  const Result result = Run({"job", "show", "nothing", "--json"});
  EXPECT_EQ(result.status, 1);
  EXPECT_EQ(result.out, "");
  EXPECT_EQ(result.err, "graft: job: got \"nothing\", no such job\n");
}

TEST_F(CommandLineTest, UploadPassesItsOptions) {
  const auto folder = TestFolder();
  MakeFile(folder / "rose" / "a.jpg", "rose");
  const Result result = Run({"dataset", "upload", folder.string(), "--name", "flowers", "--validation-fraction", "0.3",
                             "--split-seed", "7", "--json"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(server_.datasets.header.name(), "flowers");
  EXPECT_EQ(server_.datasets.header.validation_fraction(), 0.3);
  EXPECT_EQ(server_.datasets.header.split_seed(), 7u);
  EXPECT_EQ(ReadTar(server_.datasets.archive).size(), 1u);
  ASSERT_EQ(result.objects().size(), 1u);
  EXPECT_EQ(result.objects()[0]["dataset"]["version"], "sha256:abc");
}

TEST_F(CommandLineTest, TrainPassesItsOptions) {
  const Result result = Run({"train", "--dataset", "d", "--backbone", "b", "--strategy", "fine-tune", "--epochs", "4",
                             "--model", "m", "--learning-rate", "0.5", "--batch-size", "8", "--seed", "9",
                             "--unfreeze-stages", "2", "--head-epochs", "6", "--request-id", "r", "--dataset-version",
                             "sha256:1", "--json"});
  EXPECT_EQ(result.status, 0) << result.err;
  ASSERT_EQ(server_.jobs.started().size(), 1u);
  EXPECT_EQ(server_.jobs.started()[0].ShortDebugString(),
            "request_id: \"r\" spec { dataset: \"d\" dataset_version: \"sha256:1\" backbone: \"b\" "
            "strategy: STRATEGY_FINE_TUNE model: \"m\" epochs: 4 batch_size: 8 learning_rate: 0.5 seed: 9 "
            "fine_tune { unfreeze_stages: 2 head_epochs: 6 } }");
  ASSERT_EQ(result.objects().size(), 1u);
  EXPECT_EQ(result.objects()[0]["job"]["id"], "job-1");
}

TEST_F(CommandLineTest, TrainFromScratchOnPicturesOfASize) {
  const Result result = Run({"train", "--dataset", "d", "--backbone", "b", "--strategy", "scratch", "--input-px", "96",
                             "--request-id", "r"});
  EXPECT_EQ(result.status, 0) << result.err;
  ASSERT_EQ(server_.jobs.started().size(), 1u);
  EXPECT_EQ(server_.jobs.started()[0].ShortDebugString(),
            "request_id: \"r\" spec { dataset: \"d\" backbone: \"b\" strategy: STRATEGY_SCRATCH input_px: 96 }");
}

TEST_F(CommandLineTest, TrainWaitEndsWithTheJob) {
  JobEndsWith(v1::JOB_STATE_SUCCEEDED);
  const Result result = Train({"--wait", "--json"});
  EXPECT_EQ(result.status, 0) << result.err;
  const auto objects = result.objects();
  ASSERT_EQ(objects.size(), 3u);
  EXPECT_EQ(objects[0]["epoch"]["epoch"], 1);
  EXPECT_EQ(objects[1]["state"]["state"], "JOB_STATE_SUCCEEDED");
  EXPECT_EQ(objects[2]["job"]["model_version"], "roses/1");
}

TEST_F(CommandLineTest, TrainWaitFailsWithTheJob) {
  JobEndsWith(v1::JOB_STATE_FAILED, "out of memory");
  const Result result = Train({"--wait", "--json"});
  EXPECT_EQ(result.status, 1);
  EXPECT_EQ(result.err, "graft: job job-1 failed: out of memory\n");
  EXPECT_EQ(result.objects().back()["job"]["state"], "JOB_STATE_FAILED");
}

TEST_F(CommandLineTest, TrainWaitFailsWhenTheJobIsCancelled) {
  JobEndsWith(v1::JOB_STATE_CANCELLED);
  EXPECT_EQ(Train({"--wait"}).status, 1);
}

TEST_F(CommandLineTest, WatchOfASucceededJobIsStatus0) {
  JobEndsWith(v1::JOB_STATE_SUCCEEDED);
  const Result result = Run({"job", "watch", "job-1"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("head epoch 1/3"));
  EXPECT_THAT(result.out, HasSubstr("succeeded\n"));
}

TEST_F(CommandLineTest, WatchPastTheLastStateAsksTheServer) {
  JobEndsWith(v1::JOB_STATE_FAILED);
  const Result result = Run({"job", "watch", "job-1", "--from-seq", "3"});
  EXPECT_EQ(result.status, 1);
  EXPECT_THAT(server_.jobs.asked_from(), ElementsAre(3));
}

TEST_F(CommandLineTest, BackbonesAreListed) {
  const Result result = Run({"backbone", "list"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(result.out,
            "installed\t11.69 M\t1.81\t224 px\t512\t1\t1000\tyes\n"
            "missing\t\t\t\t\t\t\tno\n");
  const auto objects = Run({"backbone", "list", "--json"}).objects();
  ASSERT_EQ(objects.size(), 2u);
  EXPECT_EQ(objects[0]["class_count"], 1000);
  EXPECT_EQ(objects[1]["installed"], false);
}

TEST_F(CommandLineTest, ABackboneIsShownWithItsStages) {
  const Result result = Run({"backbone", "show", "installed"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("architecture resnet18\n"));
  EXPECT_THAT(result.out, HasSubstr("preprocessing shorter side to 256 px (bicubic), crop 224 px"));
  EXPECT_THAT(result.out, HasSubstr("input from 32 px to 512 px, multiples of 16 px\n"));
  EXPECT_THAT(result.out, HasSubstr("as the model backbone/installed with 1000 classes\n"));
  EXPECT_THAT(result.out, HasSubstr("0\tlayer1\t1,234\n"));
  const auto objects = Run({"backbone", "show", "installed", "--json"}).objects();
  ASSERT_EQ(objects.size(), 1u);
  EXPECT_EQ(objects[0]["preprocessing"]["interpolation"], "INTERPOLATION_BICUBIC");
}

TEST_F(CommandLineTest, UnknownBackboneIsAFailureThatNamesTheKnown) {
  const Result result = Run({"backbone", "show", "nobody"});
  EXPECT_EQ(result.status, 1);
  EXPECT_EQ(result.err, "graft: backbone: got \"nobody\", want one of installed, missing\n");
}

TEST_F(CommandLineTest, AliasIsSet) {
  const Result result = Run({"model", "alias", "roses", "canary", "2", "--json"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(result.objects().at(0)["aliases"]["canary"], "2");
}

TEST_F(CommandLineTest, ClassifyIsOneObjectForEachFile) {
  const auto folder = TestFolder();
  std::vector<std::string> args = {"classify", "--json", "--model", "flowers"};
  for (int i = 0; i < 20; ++i) args.push_back(MakeFile(folder / std::to_string(i), "label" + std::to_string(i)));
  const Result result = Run(args);
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(server_.inference.request_sizes, ElementsAre(16, 4));
  const auto objects = result.objects();
  ASSERT_EQ(objects.size(), 20u);
  EXPECT_EQ(objects[19], json({{"file", (folder / "19").string()},
                               {"model", "flowers/3"},
                               {"predictions", {{{"label", "label19"}, {"class_index", 0}, {"probability", 0.97}}}}}));
}

TEST_F(CommandLineTest, ClassifyKeepsRequestsBelow16MiB) {
  const auto folder = TestFolder();
  std::vector<std::string> args = {"classify", "--model", "flowers"};
  for (int i = 0; i < 3; ++i) args.push_back(MakeFile(folder / std::to_string(i), std::string(7 << 20, 'x')));
  const Result result = Run(args);
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(server_.inference.request_sizes, ElementsAre(2, 1));
}

TEST_F(CommandLineTest, ClassifyNamesTheBadFileAndAnswersTheOthers) {
  const auto folder = TestFolder();
  const std::string good = MakeFile(folder / "good.jpg", "rose");
  const std::string bad = MakeFile(folder / "bad.jpg", "bad");
  const Result result = Run({"classify", "--model", "flowers", good, bad, (folder / "none.jpg").string()});
  EXPECT_EQ(result.status, 1);
  EXPECT_EQ(result.out, good + "\trose\t0.9700\tflowers/3\n");
  EXPECT_THAT(result.err, HasSubstr("graft: " + bad + ": images[0]: cannot be decoded\n"));
  EXPECT_THAT(result.err, HasSubstr("none.jpg"));
  EXPECT_THAT(result.err, HasSubstr("2 of 3 files"));
}

TEST_F(CommandLineTest, ClassifyRefusesAFileOver32MiBAndAnswersTheOthers) {
  const auto folder = TestFolder();
  const std::string good = MakeFile(folder / "good.jpg", "rose");
  const std::string large = MakeFile(folder / "large.jpg", "");
  std::filesystem::resize_file(large, (32 << 20) + 1);  // sparse
  const Result result = Run({"classify", "--model", "flowers", large, good});
  EXPECT_EQ(result.status, 1);
  EXPECT_EQ(result.out, good + "\trose\t0.9700\tflowers/3\n");
  EXPECT_THAT(result.err, HasSubstr(large + ": got 33554433 bytes, want at most 33554432 (32 MiB)\n"));
}

TEST_F(CommandLineTest, ClassifyWithAFileNamedLikeASubcommand) {
  const auto previous = std::filesystem::current_path();
  const auto folder = TestFolder();
  MakeFile(folder / "job", "rose");
  std::filesystem::current_path(folder);
  const Result result = Run({"classify", "--model", "flowers", "job"});
  std::filesystem::current_path(previous);
  EXPECT_EQ(result.status, 0) << result.err;
}

TEST(InterruptMessageDeathTest, InterruptIsStatus130AndSaysHowToGoOn) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        const InterruptMessage message("graft job watch job-1\n");
        raise(SIGINT);
      },
      testing::ExitedWithCode(130), "graft job watch job-1");
}

}  // namespace
}  // namespace graft

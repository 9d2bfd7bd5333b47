#include "client/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <utility>
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
                    Args{"train", "--dataset", "d", "--backbone", "b", "--strategy", "gradual", "--optimizer", "magic"},
                    Args{"train", "--dataset", "d", "--backbone", "b", "--strategy", "gradual", "--set", "epochs"},
                    Args{"train", "--dataset", "d", "--backbone", "b", "--strategy", "gradual", "--set", "epoch=1"},
                    Args{"train", "--dataset", "d", "--backbone", "b", "--strategy", "gradual", "--set", "seed=-1"},
                    Args{"train", "--dataset", "d", "--backbone", "b", "--strategy", "gradual", "--set", "seed=1", "x"},
                    Args{"train", "--dataset", "d", "--backbone", "b", "--strategy", "gradual", "--spec", "/none"},
                    Args{"train", "--dataset", "d", "--backbone", "b", "--strategy", "gradual", "--wait",
                         "--print-spec"},
                    Args{"train", "--dataset", "d", "--strategy", "gradual"},
                    Args{"train", "--dataset", "d", "--strategy", "auto", "--budget", "0"},
                    Args{"train", "--dataset", "d", "--strategy", "auto", "--budget", "-5m"},
                    Args{"train", "--dataset", "d", "--strategy", "auto", "--backbones", "a,,b"},
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

TEST_F(CommandLineTest, EveryTrainingOptionHasItsField) {
  const Result result = Run(
      {"train", "--dataset", "d", "--backbone", "b", "--strategy", "gradual", "--request-id", "r", "--optimizer",
       "adamw", "--momentum", "0.8", "--weight-decay", "0.01", "--schedule", "one-cycle", "--warmup-epochs", "2",
       "--label-smoothing", "0.1", "--clip-norm", "1", "--l2-sp", "0.02", "--ema-decay", "0.99", "--mixup-alpha", "0.2",
       "--cutmix-alpha", "0.3", "--augmentation", "light", "--augmented-views", "0", "--head", "mlp", "--hidden-width",
       "64", "--dropout", "0", "--early-stopping", "3", "--class-balance", "weights", "--precision", "bfloat16",
       "--folds", "5", "--learning-curve", "4", "--stage-decay", "0.5", "--unfreeze-from", "layer3",
       "--accumulate-batches", "2"});
  EXPECT_EQ(result.status, 0) << result.err;
  ASSERT_EQ(server_.jobs.started().size(), 1u);
  EXPECT_EQ(server_.jobs.started()[0].spec().ShortDebugString(),
            "dataset: \"d\" backbone: \"b\" strategy: STRATEGY_GRADUAL "
            "fine_tune { unfreeze_from: \"layer3\" stage_decay: 0.5 } "
            "head { type: HEAD_TYPE_MLP hidden_width: 64 dropout: 0 } "
            "optimizer { type: OPTIMIZER_TYPE_ADAMW momentum: 0.8 weight_decay: 0.01 } "
            "schedule { type: SCHEDULE_TYPE_ONE_CYCLE warmup_epochs: 2 } "
            "regularization { label_smoothing: 0.1 clip_norm: 1 l2_sp: 0.02 ema_decay: 0.99 mixup_alpha: 0.2 "
            "cutmix_alpha: 0.3 } "
            "augmentation { preset: \"light\" views: 0 } early_stopping { patience: 3 } "
            "class_balance: CLASS_BALANCE_WEIGHTS precision: PRECISION_BFLOAT16 "
            "evaluation { folds: 5 learning_curve: 4 } accumulate_batches: 2");
}

TEST_F(CommandLineTest, AutoNeedsNoBackbone) {
  const Result result = Run({"train", "--dataset", "d", "--strategy", "auto", "--request-id", "r"});
  EXPECT_EQ(result.status, 0) << result.err;
  ASSERT_EQ(server_.jobs.started().size(), 1u);
  EXPECT_EQ(server_.jobs.started()[0].spec().ShortDebugString(), "dataset: \"d\" strategy: STRATEGY_AUTO");
}

TEST_F(CommandLineTest, AutoPassesItsOptions) {
  const Result result = Run({"train", "--dataset", "d", "--strategy", "auto", "--request-id", "r", "--budget", "600",
                             "--backbones", "a,b"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(Run({"train", "--dataset", "d", "--strategy", "auto", "--backbone", "a"}).status, 0);
  ASSERT_EQ(server_.jobs.started().size(), 2u);
  EXPECT_EQ(server_.jobs.started()[0].spec().ShortDebugString(),
            "dataset: \"d\" strategy: STRATEGY_AUTO auto { budget_seconds: 600 backbones: \"a\" backbones: \"b\" }");
  EXPECT_EQ(server_.jobs.started()[1].spec().ShortDebugString(),
            "dataset: \"d\" backbone: \"a\" strategy: STRATEGY_AUTO");
}

TEST_F(CommandLineTest, ABudgetIsSecondsOrADuration) {
  const std::vector<std::pair<std::string, double>> budgets = {
      {"90", 90}, {"0.1", 0.1}, {"1e3", 1000}, {"10m", 600}, {"1h30m", 5400}, {"1.5h", 5400}, {"168h", 604800},
      {"90500ms", 90.5}};
  for (const auto& [text, seconds] : budgets) {
    const Result result = Run({"train", "--dataset", "d", "--strategy", "auto", "--budget", text});
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_EQ(server_.jobs.started().back().spec().auto_().budget_seconds(), seconds) << text;
  }
}

TEST_F(CommandLineTest, AWrongBudgetNamesWhatItWants) {
  for (const std::string text : {"soon", "", "10 m", "5d", "inf", "nan", "-inf"}) {
    const Result result = Run({"train", "--dataset", "d", "--strategy", "auto", "--budget", text});
    EXPECT_EQ(result.status, 2);
    EXPECT_THAT(result.err, StartsWith("graft: --budget: got \"" + text +
                                       "\", want seconds or a duration such as 10m or 1h30m\n"));
  }
}

TEST_F(CommandLineTest, JobShowTellsWhatAutoWillDoAndThenWhatItChose) {
  v1::Job& job = server_.jobs.job;
  job.set_id("job-1");
  job.mutable_spec()->set_strategy(v1::STRATEGY_AUTO);
  *job.mutable_effective() = job.spec();
  job.mutable_effective()->mutable_auto_()->set_budget_seconds(600);
  EXPECT_THAT(Run({"job", "show", "job-1"}).out, HasSubstr("\nstrategy auto, within 10m00s\n"));
  job.mutable_effective()->set_strategy(v1::STRATEGY_FINE_TUNE);
  job.mutable_effective()->set_backbone("resnet18");
  job.mutable_auto_report()->add_backbones()->set_name("resnet18");
  job.mutable_auto_report()->add_reasons("It was the only one.");
  const std::string out = Run({"job", "show", "job-1"}).out;
  EXPECT_THAT(out, HasSubstr("\nbackbone resnet18\nstrategy fine-tune (chosen by auto), 0 epochs, "));
  EXPECT_THAT(out, HasSubstr("\nbackbones by a linear probe, best first:\nresnet18\t0.0 ± 0.0 %\t"));
  EXPECT_THAT(out, HasSubstr("\nIt was the only one.\n"));
}

TEST_F(CommandLineTest, OptionsWinOverTheFileAndSetOverAll) {
  const std::string spec = MakeFile(TestFolder() / "spec.yaml",
                                    "dataset: d\nbackbone: b\nstrategy: fine-tune\nepochs: 1\nbatch_size: 1\n"
                                    "seed: 1\nfine_tune: {head_epochs: 1}\n");
  const Result result = Run({"train", "--request-id", "r", "--set", "seed=3", "--set=fine_tune.stage_decay=0.5",
                             "--spec", spec, "--seed", "2", "--batch-size", "2", "--strategy", "gradual"});
  EXPECT_EQ(result.status, 0) << result.err;
  ASSERT_EQ(server_.jobs.started().size(), 1u);
  EXPECT_EQ(server_.jobs.started()[0].spec().ShortDebugString(),
            "dataset: \"d\" backbone: \"b\" strategy: STRATEGY_GRADUAL epochs: 1 batch_size: 2 seed: 3 "
            "fine_tune { head_epochs: 1 stage_decay: 0.5 }");
}

TEST_F(CommandLineTest, WhatTheFileDoesNotGiveIsStillRequired) {
  const std::string spec = MakeFile(TestFolder() / "spec.yaml", "dataset: d\nbackbone: b\n");
  const Result result = Run({"train", "--spec", spec});
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.err, StartsWith("graft: --strategy is required\n"));
}

TEST_F(CommandLineTest, AWrongSpecFileIsWrongUsageThatNamesItsLine) {
  const std::string spec = MakeFile(TestFolder() / "spec.yaml", "dataset: d\nepoch: 3\n");
  const Result result = Run({"train", "--spec", spec});
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.err, StartsWith("graft: " + spec + ":2: epoch: got an unknown field, want one of dataset, "));
}

TEST_F(CommandLineTest, AWrongOptionIsNamed) {
  const Result result = Train({"--optimizer", "magic"});
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.err, StartsWith("graft: --optimizer: got \"magic\", want one of sgd, adamw, rmsprop, lbfgs\n"));
}

TEST_F(CommandLineTest, AWrongSetNamesItsField) {
  const Result result = Train({"--set", "optimizer.type=magic"});
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.err, StartsWith("graft: --set: optimizer.type: got \"magic\", want one of sgd, adamw, rmsprop, "
                                     "lbfgs\n"));
}

TEST_F(CommandLineTest, PrintedSpecReadsBackAndStartsNothing) {
  v1::DefaultValue* const momentum = server_.jobs.description.add_defaults();
  momentum->set_field("optimizer.momentum");
  momentum->set_value("0.9");
  momentum->set_source("a paper");
  server_.jobs.description.mutable_effective()->mutable_optimizer()->set_momentum(0.9);
  const Result printed = Train({"--print-spec", "--head", "mlp"});
  EXPECT_EQ(printed.status, 0) << printed.err;
  EXPECT_EQ(printed.out,
            "dataset: flowers\nbackbone: resnet18\nstrategy: frozen-head\nepochs: 3\nhead:\n  type: mlp\n"
            "optimizer:\n  momentum: 0.9  # default: a paper\n");
  server_.jobs.description.Clear();
  const Result again = Run({"train", "--print-spec", "--spec", MakeFile(TestFolder() / "spec.yaml", printed.out)});
  EXPECT_EQ(again.status, 0) << again.err;
  EXPECT_TRUE(server_.jobs.started().empty());
  ASSERT_EQ(server_.jobs.described().size(), 2u);
  EXPECT_EQ(server_.jobs.described()[1].spec().ShortDebugString(),
            "dataset: \"flowers\" backbone: \"resnet18\" strategy: STRATEGY_FROZEN_HEAD epochs: 3 "
            "head { type: HEAD_TYPE_MLP } optimizer { momentum: 0.9 }");
}

TEST_F(CommandLineTest, PrintedSpecAsJsonIsOneObject) {
  server_.jobs.description.add_defaults()->set_source("a paper");
  server_.jobs.description.add_phases()->set_phase("head");
  const Result result = Train({"--print-spec", "--json"});
  EXPECT_EQ(result.status, 0) << result.err;
  ASSERT_EQ(result.objects().size(), 1u);
  const json object = result.objects()[0];
  EXPECT_EQ(object["effective"]["epochs"], 3);
  EXPECT_EQ(object["defaults"][0]["source"], "a paper");
  EXPECT_EQ(object["phases"][0]["phase"], "head");
  // What is effective is a spec file itself.
  const std::string spec = MakeFile(TestFolder() / "spec.json", object["effective"].dump());
  EXPECT_EQ(Run({"train", "--print-spec", "--spec", spec}).status, 0);
  EXPECT_EQ(server_.jobs.described()[1].spec().ShortDebugString(),
            server_.jobs.described()[0].spec().ShortDebugString());
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

TEST_F(CommandLineTest, ClassesThatAMultiLabelModelSeesAreMarked) {
  const std::string file = MakeFile(TestFolder() / "a.jpg", "sea");
  const Result result = Run({"classify", "--model", "scenes", file});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(result.out, file + "\tsea\t* 0.9700\tscenes/3\n" + file + "\tsky\t* 0.5000\tscenes/3\n" + file +
                            "\tsky\t0.2500\tscenes/3\n");
  const auto objects = Run({"classify", "--json", "--model", "scenes", file}).objects();
  ASSERT_EQ(objects.size(), 1u);
  EXPECT_EQ(objects[0]["multi_label"], true);
}

TEST_F(CommandLineTest, UploadOfAMultiLabelDatasetSaysSo) {
  const auto folder = TestFolder();
  MakeFile(folder / "sea" / "a.jpg", "a");
  const Result plain = Run({"dataset", "upload", folder.string(), "--name", "d"});
  EXPECT_EQ(plain.status, 0) << plain.err;
  EXPECT_FALSE(server_.datasets.header.has_multi_label());
  const Result multi = Run({"dataset", "upload", folder.string(), "--name", "d", "--multi-label"});
  EXPECT_EQ(multi.status, 0) << multi.err;
  EXPECT_TRUE(server_.datasets.header.multi_label());
  EXPECT_THAT(multi.out, HasSubstr(", multi-label\n"));
}

TEST_F(CommandLineTest, DatasetListTellsTheKind) {
  const Result result = Run({"dataset", "list"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.out, testing::MatchesRegex("first\t.*\tsingle\nsecond\t.*\tmulti\n"));
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

#include "server/jobs/runner.h"

#include <fstream>
#include <memory>
#include <numeric>
#include <regex>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "graft/v1/model.pb.h"
#include "server/metrics/metrics.h"
#include "server/store/model_store.h"
#include "tests/server/jobs/job_fixture.h"
#include "tests/server/jobs/read_tensorboard.h"
#include "worker/base/mutex.h"
#include "worker/data/activation_store.h"
#include "worker/device/threads.h"

namespace graft {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::MatchesRegex;
using testing::Not;
using testing::SizeIs;

// Real training, of flat colours on a backbone that has learned nothing.
class RunnerTest : public JobTest {
 protected:
  RunnerTest() : pool_({2, 0, "train", UseOneIntraOpThread}) {
    jobs_->OnEvents([this](const std::string&) {
      MutexLock lock(&mu_);
      changed_.SignalAll();
    });
  }

  std::unique_ptr<Runner> StartRunner(const std::string& owner = "runner") {
    Runner::Options options;
    options.owner = owner;
    options.state_directory = directory_.path() + "/states";
    options.tensorboard_directory = directory_.path() + "/tensorboard";
    options.activations = activations_.get();
    options.poll = absl::Milliseconds(5);
    options.heartbeat = absl::Milliseconds(5);
    const Runner::Stores stores{jobs_.get(), &datasets_, &blobs_, &backbones_, &metrics_};
    auto runner = Runner::Create(std::move(options), stores, &pool_);
    GRAFT_CHECK(runner.ok());
    return *std::move(runner);
  }
  std::string Start(int epochs, const std::string& model = "") {
    v1::StartJobRequest request = Request();
    request.mutable_spec()->set_epochs(epochs);
    request.mutable_spec()->set_batch_size(4);
    request.mutable_spec()->set_model(model);
    auto job = service_.Start(request);
    GRAFT_CHECK(job.ok());
    return job->id();
  }
  // A job that chooses how to train small pictures; returns its id.
  std::string StartAuto(int epochs) {
    v1::StartJobRequest request = Request();
    request.mutable_spec()->set_strategy(v1::STRATEGY_AUTO);
    request.mutable_spec()->clear_backbone();
    request.mutable_spec()->set_epochs(epochs);
    request.mutable_spec()->set_input_px(32);
    request.mutable_spec()->set_model("chosen");
    request.mutable_spec()->mutable_auto_()->set_budget_seconds(10);
    auto job = service_.Start(request);
    GRAFT_CHECK(job.ok());
    return job->id();
  }
  std::vector<std::string> AutoReports(const std::string& id) {
    std::vector<std::string> reports;
    for (const v1::JobEvent& event : Events(id)) {
      if (event.has_auto_report()) reports.push_back(event.auto_report().DebugString());
    }
    return reports;
  }
  // Waits until `done` says yes of the job.
  template <typename Condition>
  v1::Job Await(const std::string& id, Condition done) {
    for (;;) {
      auto job = service_.Get(id);
      GRAFT_CHECK(job.ok());
      if (done(*job)) return *std::move(job);
      MutexLock lock(&mu_);
      changed_.WaitFor(&mu_, absl::Milliseconds(100));  // the event may have come since Get()
    }
  }
  v1::Job AwaitEnd(const std::string& id) {
    return Await(id, [](const v1::Job& job) { return job.has_end_time(); });
  }
  // Of a job whose result cannot be stored: ends each attempt's lease.
  v1::Job AwaitEndOfAttempts(const std::string& id) {
    size_t seen = 0;
    return Await(id, [&, id](const v1::Job& job) {
      const size_t warnings = Warnings(id).size();
      if (warnings > seen) GRAFT_CHECK(jobs_->RecoverExpired(/*even_unexpired=*/true).ok());
      seen = warnings;
      return job.has_end_time();
    });
  }
  std::vector<std::string> Warnings(const std::string& id) {
    std::vector<std::string> warnings;
    for (const v1::JobEvent& event : Events(id)) {
      if (event.has_warning()) warnings.push_back(event.warning().message());
    }
    return warnings;
  }
  static bool HasTrained(const v1::Job& job) { return job.has_last_epoch(); }

  std::vector<v1::JobEvent> Events(const std::string& id) {
    std::vector<v1::JobEvent> events;
    const auto records = jobs_->Events(id, 1, 1'000'000);
    GRAFT_CHECK(records.ok());
    for (const EventRecord& record : *records) {
      auto event = DecodeEvent(record);
      GRAFT_CHECK(event.ok());
      events.push_back(*std::move(event));
    }
    return events;
  }
  std::vector<int> Epochs(const std::string& id) {
    std::vector<int> epochs;
    for (const v1::JobEvent& event : Events(id)) {
      if (event.has_epoch()) epochs.push_back(event.epoch().epoch());
    }
    return epochs;
  }

  // Of the job's curves, in the order of the files: the step of each epoch.
  std::vector<int> CurveSteps(const std::string& id) const {
    std::vector<int> steps;
    for (const std::string& line : ReadTensorBoard(absl::StrCat(directory_.path(), "/tensorboard/", id))) {
      std::smatch match;
      static const std::regex epoch("\"step\": ([0-9]+), .*\"loss/train\"");
      if (std::regex_search(line, match, epoch)) steps.push_back(std::stoi(match[1]));
    }
    return steps;
  }
  std::string CheckpointDigest(const std::string& model) {
    auto version = ModelStore(db_.get()).Resolve(model);
    GRAFT_CHECK(version.ok());
    return version->checkpoint_digest;
  }

  std::unique_ptr<ActivationStore> activations_;  // none unless a test makes it
  Mutex mu_;
  CondVar changed_;
  Metrics metrics_;
  WorkerPool pool_;
};

TEST_F(RunnerTest, TrainsAJobAndMakesAModelVersion) {
  const std::unique_ptr<Runner> runner = StartRunner();
  const v1::Job job = AwaitEnd(Start(3, "colour-model"));
  EXPECT_EQ(job.state(), v1::JOB_STATE_SUCCEEDED) << job.error();
  EXPECT_EQ(job.model_version(), "colour-model/1");
  EXPECT_EQ(job.evaluation().image_count(), 8);
  EXPECT_EQ(job.evaluation().split(), v1::SPLIT_VALIDATION);
  EXPECT_EQ(job.last_epoch().epoch(), 3);
  EXPECT_GT(job.parameters().trainable_head(), 0);
  EXPECT_EQ(job.parameters().trainable_backbone(), 0);
  ModelStore models(db_.get());
  const absl::StatusOr<ModelVersionRecord> version = models.Resolve("colour-model");
  ASSERT_TRUE(version.ok()) << version.status();
  EXPECT_EQ(version->dataset_version, "v1");
  EXPECT_EQ(version->backbone, kBackbone);
  const absl::StatusOr<std::string> checkpoint = blobs_.Get(version->checkpoint_digest);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(static_cast<int64_t>(checkpoint->size()), version->checkpoint_bytes);
  EXPECT_THAT(*checkpoint, HasSubstr("learning_rate"));  // the configuration is in it
  v1::ModelVersion details;
  ASSERT_TRUE(details.ParseFromString(models.Get("colour-model")->versions[0].details_pb));
  EXPECT_THAT(details.classes(), testing::ElementsAre("blue", "red"));
  EXPECT_EQ(details.preprocessing().crop_px(), 224);
}

TEST_F(RunnerTest, ModelHasTheInputSizeThatTheJobAskedFor) {
  v1::StartJobRequest request = Request();
  request.mutable_spec()->set_epochs(1);
  request.mutable_spec()->set_input_px(96);
  request.mutable_spec()->set_model("small");
  const std::string id = service_.Start(request)->id();
  const std::unique_ptr<Runner> runner = StartRunner();
  const v1::Job job = AwaitEnd(id);
  ASSERT_EQ(job.state(), v1::JOB_STATE_SUCCEEDED) << job.error();
  v1::ModelVersion details;
  ASSERT_TRUE(details.ParseFromString(ModelStore(db_.get()).Get("small")->versions[0].details_pb));
  EXPECT_EQ(details.preprocessing().crop_px(), 96);
  EXPECT_EQ(details.preprocessing().interpolation(), v1::INTERPOLATION_BILINEAR);
}

TEST_F(RunnerTest, ScratchTrainsEverything) {
  v1::StartJobRequest request = Request();
  request.mutable_spec()->set_strategy(v1::STRATEGY_SCRATCH);
  request.mutable_spec()->set_epochs(1);
  request.mutable_spec()->set_input_px(32);
  const std::string id = service_.Start(request)->id();
  const std::unique_ptr<Runner> runner = StartRunner();
  const v1::Job job = AwaitEnd(id);
  EXPECT_EQ(job.state(), v1::JOB_STATE_SUCCEEDED) << job.error();
  EXPECT_EQ(job.last_epoch().phase(), "scratch");
  EXPECT_EQ(job.parameters().frozen(), 0);
  EXPECT_GT(job.parameters().trainable_backbone(), 0);
}

TEST_F(RunnerTest, EventsTellTheStoryInOrder) {
  const std::unique_ptr<Runner> runner = StartRunner();
  const std::string id = Start(2);
  AwaitEnd(id);
  std::string story;
  for (const v1::JobEvent& event : Events(id)) {
    if (event.has_state()) story += v1::JobState_Name(event.state().state()).substr(10) + " ";
    if (event.has_phase()) story += event.phase().phase() + " ";
    if (event.has_epoch()) story += absl::StrCat("epoch", event.epoch().epoch(), " ");
    if (event.has_checkpoint()) story += "saved ";
    if (event.has_evaluation()) story += "evaluation ";
  }
  // A state in between is saved only when the last is some seconds old.
  EXPECT_THAT(story, MatchesRegex("QUEUED RUNNING head epoch1 (saved )?epoch2 saved evaluation SUCCEEDED "));
}

TEST_F(RunnerTest, CurvesHaveAPointForEachEpoch) {
  const std::unique_ptr<Runner> runner = StartRunner();
  const std::string id = Start(3);
  AwaitEnd(id);
  EXPECT_EQ(CurveSteps(id), Epochs(id));
  EXPECT_EQ(CurveSteps(id), (std::vector<int>{1, 2, 3}));
}

TEST_F(RunnerTest, AFinderSetsTheRateThatAJobLeftOpen) {
  v1::StartJobRequest request = Request();
  request.mutable_spec()->set_epochs(1);
  request.mutable_spec()->mutable_learning_rate_finder()->set_steps(40);
  const std::unique_ptr<Runner> runner = StartRunner();
  for (const bool chosen : {false, true}) {
    if (chosen) request.mutable_spec()->set_learning_rate(0.02);
    request.set_request_id(chosen ? "chosen" : "open");
    const absl::StatusOr<v1::Job> job = service_.Start(request);
    ASSERT_TRUE(job.ok()) << job.status();
    EXPECT_EQ(job->effective().learning_rate_finder().apply(), !chosen);
    ASSERT_EQ(AwaitEnd(job->id()).state(), v1::JOB_STATE_SUCCEEDED);
    std::vector<v1::LearningRateFound> found;
    for (const v1::JobEvent& event : Events(job->id())) {
      if (event.has_learning_rate()) found.push_back(event.learning_rate());
    }
    ASSERT_THAT(found, SizeIs(1));
    EXPECT_EQ(found[0].phase(), "head");
    EXPECT_GT(found[0].points_size(), 4);
    EXPECT_EQ(found[0].applied(), !chosen && found[0].has_suggestion());
  }
}

TEST_F(RunnerTest, CurvesThatCannotBeWrittenDoNotHarmTheJob) {
  std::ofstream(directory_.path() + "/tensorboard") << "in the way";
  const std::unique_ptr<Runner> runner = StartRunner();
  const v1::Job job = AwaitEnd(Start(1));
  EXPECT_EQ(job.state(), v1::JOB_STATE_SUCCEEDED) << job.error();
}

TEST_F(RunnerTest, ActivationsOfAJobServeTheNextOneAndChangeNothing) {
  {
    const std::unique_ptr<Runner> runner = StartRunner();
    ASSERT_EQ(AwaitEnd(Start(2, "hues")).state(), v1::JOB_STATE_SUCCEEDED);
  }
  auto store = ActivationStore::Open({directory_.path() + "/activations"});
  ASSERT_TRUE(store.ok()) << store.status();
  activations_ = *std::move(store);
  {
    const std::unique_ptr<Runner> runner = StartRunner();
    ASSERT_EQ(AwaitEnd(Start(2, "hues")).state(), v1::JOB_STATE_SUCCEEDED);
    EXPECT_EQ(activations_->stats().hits, 0);
    ASSERT_EQ(AwaitEnd(Start(2, "hues")).state(), v1::JOB_STATE_SUCCEEDED);
  }
  EXPECT_EQ(activations_->stats().hits, 16 + 8) << "every picture of both splits";
  EXPECT_EQ(CheckpointDigest("hues/2"), CheckpointDigest("hues/1")) << "as without a store";
  EXPECT_EQ(CheckpointDigest("hues/3"), CheckpointDigest("hues/1"));
}

TEST_F(RunnerTest, AutoTrainsWhatItChoseAndSaysWhy) {
  const std::string id = StartAuto(1);
  const std::unique_ptr<Runner> runner = StartRunner();
  const v1::Job job = AwaitEnd(id);
  ASSERT_EQ(job.state(), v1::JOB_STATE_SUCCEEDED) << job.error();
  EXPECT_EQ(job.spec().strategy(), v1::STRATEGY_AUTO);
  EXPECT_EQ(job.effective().backbone(), kBackbone);
  EXPECT_NE(job.effective().strategy(), v1::STRATEGY_AUTO);
  EXPECT_EQ(job.effective().epochs(), 1) << "what the spec sets holds";
  EXPECT_EQ(job.effective().dataset_version(), "v1");
  EXPECT_GT(job.effective().learning_rate(), 0);
  ASSERT_EQ(job.auto_report().backbones_size(), 1);
  EXPECT_EQ(job.auto_report().backbones(0).name(), kBackbone);
  EXPECT_GT(job.auto_report().trainings_size(), 0);
  EXPECT_GT(job.auto_report().reasons_size(), 0);
  EXPECT_EQ(AutoReports(id), (std::vector<std::string>{job.auto_report().DebugString()}));
  EXPECT_EQ(job.model_version(), "chosen/1");
  const auto shown = ReadTensorBoard(absl::StrCat(directory_.path(), "/tensorboard/", id));
  EXPECT_THAT(shown, Contains(AllOf(HasSubstr("\"auto\""), HasSubstr(job.auto_report().reasons(0)))));
}

TEST_F(RunnerTest, AutoChoosesOnceHoweverOftenTheJobIsPutBack) {
  std::unique_ptr<Runner> first = StartRunner("first");
  const std::string id = StartAuto(100);
  Await(id, HasTrained);
  first->Drain();
  const v1::Job queued = *service_.Get(id);
  ASSERT_EQ(queued.state(), v1::JOB_STATE_QUEUED);
  first.reset();
  const std::unique_ptr<Runner> second = StartRunner("second");
  const v1::Job job = AwaitEnd(id);
  EXPECT_EQ(job.state(), v1::JOB_STATE_SUCCEEDED) << job.error();
  EXPECT_EQ(job.attempt(), 2);
  EXPECT_EQ(job.effective().DebugString(), queued.effective().DebugString());
  EXPECT_THAT(AutoReports(id), SizeIs(1));
}

TEST_F(RunnerTest, WhatAutoChoseCanBeStartedAgainAsItIs) {
  const std::string id = StartAuto(1);
  const std::unique_ptr<Runner> runner = StartRunner();
  v1::StartJobRequest request;
  *request.mutable_spec() = AwaitEnd(id).effective();
  const absl::StatusOr<v1::Job> again = service_.Start(request);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->effective().DebugString(), request.spec().DebugString());
}

TEST_F(RunnerTest, JobWithoutModelKeepsNoCheckpoint) {
  const int puts = blobs_.puts();
  const std::unique_ptr<Runner> runner = StartRunner();
  const v1::Job job = AwaitEnd(Start(1));
  EXPECT_EQ(job.state(), v1::JOB_STATE_SUCCEEDED) << job.error();
  EXPECT_EQ(job.model_version(), "");
  EXPECT_TRUE(job.has_evaluation());
  EXPECT_EQ(blobs_.puts(), puts);
}

TEST_F(RunnerTest, EarlyStoppingKeepsTheLastEpochBesideTheBest) {
  v1::StartJobRequest request = Request();
  request.mutable_spec()->set_epochs(5);
  request.mutable_spec()->set_model("stopped");
  request.mutable_spec()->mutable_early_stopping()->set_patience(2);
  request.mutable_spec()->mutable_early_stopping()->set_min_delta(1e9);  // nothing is better than the first epoch
  const std::string id = service_.Start(request)->id();
  const std::unique_ptr<Runner> runner = StartRunner();
  const v1::Job job = AwaitEnd(id);
  ASSERT_EQ(job.state(), v1::JOB_STATE_SUCCEEDED) << job.error();
  EXPECT_EQ(job.model_version(), "stopped/2");
  ModelStore models(db_.get());
  const ModelVersionRecord best = *models.Resolve("stopped"), last = *models.Resolve("stopped/1");
  EXPECT_EQ(best.version, 2);
  EXPECT_EQ(best.checkpoint, CheckpointKind::kBest);
  EXPECT_EQ(last.checkpoint, CheckpointKind::kLast);
  EXPECT_EQ(best.job_id, id);
  EXPECT_EQ(last.job_id, id);
  EXPECT_NE(best.checkpoint_digest, last.checkpoint_digest);
  EXPECT_EQ(static_cast<int64_t>(blobs_.Get(last.checkpoint_digest)->size()), last.checkpoint_bytes);
  v1::Evaluation evaluation;
  ASSERT_TRUE(evaluation.ParseFromString(models.Get("stopped")->versions[1].evaluation_pb));
  EXPECT_EQ(evaluation.accuracy(), job.evaluation().last_accuracy());
  EXPECT_GT(evaluation.temperature(), 0);
}

TEST_F(RunnerTest, EndedJobLeavesNoStateFile) {
  std::unique_ptr<Runner> runner = StartRunner();
  AwaitEnd(Start(1));
  runner.reset();
  EXPECT_TRUE(StateFiles::Open(directory_.path() + "/states")->Jobs().empty());
}

TEST_F(RunnerTest, CancelledJobEndsCancelled) {
  const std::unique_ptr<Runner> runner = StartRunner();
  const std::string id = Start(10'000, "never");
  Await(id, HasTrained);
  ASSERT_TRUE(service_.Cancel(id).ok());
  const v1::Job job = AwaitEnd(id);
  EXPECT_EQ(job.state(), v1::JOB_STATE_CANCELLED);
  EXPECT_EQ(job.model_version(), "");
}

TEST_F(RunnerTest, DrainedJobGoesOnWhereItStopped) {
  std::unique_ptr<Runner> first = StartRunner("first");
  const std::string id = Start(200, "");
  Await(id, HasTrained);
  first->Drain();
  const v1::Job queued = *service_.Get(id);
  EXPECT_EQ(queued.state(), v1::JOB_STATE_QUEUED);
  const int reached = queued.last_epoch().epoch();
  ASSERT_LT(reached, 200);
  first.reset();

  const std::unique_ptr<Runner> second = StartRunner("second");
  const v1::Job job = AwaitEnd(id);
  EXPECT_EQ(job.state(), v1::JOB_STATE_SUCCEEDED) << job.error();
  EXPECT_EQ(job.attempt(), 2);
  const std::vector<int> epochs = Epochs(id);
  std::vector<int> each_once(200);
  std::iota(each_once.begin(), each_once.end(), 1);
  EXPECT_EQ(epochs, each_once);  // a drained job loses nothing
  EXPECT_EQ(CurveSteps(id), each_once);
}

TEST_F(RunnerTest, DrainedRunnerLeasesNothing) {
  const std::unique_ptr<Runner> runner = StartRunner();
  runner->Drain();
  const std::string id = Start(1);
  runner->Wake();
  EXPECT_EQ(service_.Get(id)->state(), v1::JOB_STATE_QUEUED);
}

TEST_F(RunnerTest, LostPictureFailsTheJobAndNamesIt) {
  const std::string digest = datasets_.Items("colours", "v1")->front().image_digest;
  ASSERT_TRUE(blobs_.Delete(digest).ok());
  const std::unique_ptr<Runner> runner = StartRunner();
  const v1::Job job = AwaitEnd(Start(1));
  EXPECT_EQ(job.state(), v1::JOB_STATE_FAILED);
  EXPECT_THAT(job.error(), HasSubstr(digest));
}

TEST_F(RunnerTest, FullBlobStoreFailsTheJobAtTheThirdAttempt) {
  blobs_.FailPuts(absl::ResourceExhaustedError("no space left"));
  const std::unique_ptr<Runner> runner = StartRunner();
  const v1::Job job = AwaitEndOfAttempts(Start(1, "colour-model"));
  EXPECT_EQ(job.state(), v1::JOB_STATE_FAILED);
  EXPECT_EQ(job.error(), "no space left");
  EXPECT_EQ(job.attempt(), 3);
  EXPECT_THAT(Warnings(job.id()), SizeIs(2));
}

TEST_F(RunnerTest, AResultThatCouldNotBeStoredIsStoredByTheNextAttempt) {
  blobs_.FailPuts(absl::ResourceExhaustedError("no space left"));
  const std::unique_ptr<Runner> runner = StartRunner();
  const std::string id = Start(3, "colour-model");
  Await(id, [&](const v1::Job&) { return Warnings(id).size() == 1; });
  EXPECT_THAT(Warnings(id)[0], HasSubstr("could not be stored, and will be tried again: no space left"));
  blobs_.FailPuts(absl::OkStatus());
  ASSERT_TRUE(jobs_->RecoverExpired(/*even_unexpired=*/true).ok());
  const v1::Job job = AwaitEnd(id);
  EXPECT_EQ(job.state(), v1::JOB_STATE_SUCCEEDED) << job.error();
  EXPECT_EQ(Epochs(id), (std::vector<int>{1, 2, 3})) << "trained once";
  EXPECT_FALSE(CheckpointDigest("colour-model").empty());
}

TEST_F(RunnerTest, InternalErrorsAreNotShownToCallers) {
  blobs_.FailPuts(absl::InternalError("/secret/path"));
  const std::unique_ptr<Runner> runner = StartRunner();
  const v1::Job job = AwaitEndOfAttempts(Start(1, "colour-model"));
  EXPECT_EQ(job.state(), v1::JOB_STATE_FAILED);
  for (const std::string& warning : Warnings(job.id())) EXPECT_THAT(warning, Not(HasSubstr("secret")));
  EXPECT_THAT(job.error(), Not(HasSubstr("secret")));
  EXPECT_THAT(job.error(), HasSubstr("internal error"));
}

TEST_F(RunnerTest, JobWhoseLeaseIsLostIsLeftToItsNewOwner) {
  std::unique_ptr<Runner> runner = StartRunner();
  const std::string id = Start(10'000, "");
  Await(id, HasTrained);
  ASSERT_TRUE(jobs_->RecoverExpired(/*even_unexpired=*/true).ok());
  runner->Drain();  // returns only when the attempt has ended; it may lease the job anew before
  runner.reset();
  const v1::Job job = *service_.Get(id);
  EXPECT_EQ(job.state(), v1::JOB_STATE_QUEUED);
  EXPECT_FALSE(job.has_end_time());
}

TEST_F(RunnerTest, StateThatCannotBeUsedIsAWarningAndANewStart) {
  const std::string id = Start(1);
  ASSERT_TRUE(StateFiles::Open(directory_.path() + "/states")->Write(id, "not a state").ok());
  const std::unique_ptr<Runner> runner = StartRunner();
  const v1::Job job = AwaitEnd(id);
  EXPECT_EQ(job.state(), v1::JOB_STATE_SUCCEEDED) << job.error();
  bool warned = false;
  for (const v1::JobEvent& event : Events(id)) warned = warned || event.has_warning();
  EXPECT_TRUE(warned);
}

TEST_F(RunnerTest, GaugesOfAJobGoWithIt) {
  std::unique_ptr<Runner> runner = StartRunner();
  const std::string id = Start(10'000);
  Await(id, HasTrained);
  Await(id, [](const v1::Job& job) { return job.last_epoch().epoch() > 1; });  // so epoch 1 is counted
  EXPECT_THAT(metrics_.Scrape(), HasSubstr(id));
  ASSERT_TRUE(service_.Cancel(id).ok());
  AwaitEnd(id);
  runner.reset();
  EXPECT_THAT(metrics_.Scrape(), Not(HasSubstr(id)));
}

}  // namespace
}  // namespace graft

#include "server/jobs/runner.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "graft/v1/model.pb.h"
#include "server/metrics/metrics.h"
#include "server/store/model_store.h"
#include "tests/server/jobs/job_fixture.h"
#include "worker/base/mutex.h"
#include "worker/device/threads.h"

namespace graft {
namespace {

using testing::HasSubstr;
using testing::Not;

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
  ASSERT_TRUE(details.ParseFromString(version->details_pb));
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
  ASSERT_TRUE(details.ParseFromString(ModelStore(db_.get()).Resolve("small")->details_pb));
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
  EXPECT_EQ(story, "QUEUED RUNNING head epoch1 saved epoch2 saved evaluation SUCCEEDED ");
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
  ASSERT_GT(epochs.size(), static_cast<size_t>(reached));
  EXPECT_GE(epochs[static_cast<size_t>(reached)], reached);  // at most the last epoch comes twice
  EXPECT_EQ(epochs.back(), 200);
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

TEST_F(RunnerTest, FullBlobStoreFailsTheJob) {
  blobs_.FailPuts(absl::ResourceExhaustedError("no space left"));
  const std::unique_ptr<Runner> runner = StartRunner();
  const v1::Job job = AwaitEnd(Start(1, "colour-model"));
  EXPECT_EQ(job.state(), v1::JOB_STATE_FAILED);
  EXPECT_EQ(job.error(), "no space left");
}

TEST_F(RunnerTest, InternalErrorsAreNotShownToCallers) {
  blobs_.FailPuts(absl::InternalError("/secret/path"));
  const std::unique_ptr<Runner> runner = StartRunner();
  const v1::Job job = AwaitEnd(Start(1, "colour-model"));
  EXPECT_EQ(job.state(), v1::JOB_STATE_FAILED);
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

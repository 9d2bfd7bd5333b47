#include "server/models/classifier.h"

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/jobs/job_run.h"
#include "server/jobs/state_files.h"
#include "tests/server/jobs/job_fixture.h"
#include "tests/support/tiny_classifier.h"
#include "worker/base/clock.h"
#include "worker/base/mutex.h"
#include "worker/device/threads.h"

namespace graft {
namespace {

using testing::HasSubstr;

// Classifies with models that were trained here.
class ClassifierTest : public JobTest {
 protected:
  ClassifierTest()
      : models_(db_.get()),
        pool_({2, 0, "train", UseOneIntraOpThread}),
        cache_(int64_t{1} << 30),
        batcher_(BatcherOptions(), Clock::Real()),
        classifier_(&models_, &blobs_, {{&backbones_, &cache_, &batcher_}}) {}

  static Batcher::Options BatcherOptions() {
    Batcher::Options options;
    options.on_thread_start = UseOneIntraOpThread;
    return options;
  }
  // Trains the next version of `model`.
  void TrainModel(const std::string& model) {
    v1::StartJobRequest request = Request();
    request.mutable_spec()->set_model(model);
    request.mutable_spec()->set_epochs(20);
    request.mutable_spec()->set_batch_size(4);
    TrainModel(request);
  }
  void TrainModel(const v1::StartJobRequest& request) {
    GRAFT_CHECK(service_.Start(request).ok());
    auto job = jobs_->Lease("test");
    GRAFT_CHECK(job.ok() && job->has_value());
    const auto states = StateFiles::Open(directory_.path() + "/states");
    GRAFT_CHECK(states.ok());
    JobRun(**job, {jobs_.get(), &datasets_, &blobs_, &backbones_, &metrics_, &*states, nullptr, &pool_, "test",
                  directory_.path() + "/tensorboard", 1 << 30, {}}, {})
        .Run();
  }
  absl::StatusOr<Classifier::Answer> Classify(const std::string& model, std::vector<std::string> images) {
    Classifier::Request request;
    request.model = model;
    request.images = std::move(images);
    Mutex mu;
    CondVar done;
    std::optional<absl::StatusOr<Classifier::Answer>> answer;
    classifier_.Classify(std::move(request), [&](absl::StatusOr<Classifier::Answer> outcome) {
      MutexLock lock(&mu);
      EXPECT_FALSE(answer.has_value()) << "answered twice";
      answer = std::move(outcome);
      done.Signal();
    });
    MutexLock lock(&mu);
    while (!answer.has_value()) done.Wait(&mu);
    return *std::move(answer);
  }

  Metrics metrics_;
  ModelStore models_;
  WorkerPool pool_;
  ModelCache cache_;
  Batcher batcher_;
  Classifier classifier_;
};

TEST_F(ClassifierTest, TellsTrainedClassesApart) {
  TrainModel("colour-model");
  const auto answer = Classify("colour-model", {FlatBmp(200, 0, 0), FlatBmp(0, 0, 200)});
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->model, "colour-model/1");
  ASSERT_EQ(answer->predictions.size(), 2u);
  const auto& names = answer->predictor->class_names();
  EXPECT_EQ(names[static_cast<size_t>(answer->predictions[0].front().class_index)], "red");
  EXPECT_EQ(names[static_cast<size_t>(answer->predictions[1].front().class_index)], "blue");
}

TEST_F(ClassifierTest, VersionsAreLoadedOnceEach) {
  TrainModel("colour-model");
  TrainModel("colour-model");
  ASSERT_TRUE(Classify("colour-model", {FlatBmp(200, 0, 0)}).ok());
  ASSERT_TRUE(Classify("colour-model/2", {FlatBmp(200, 0, 0)}).ok());
  EXPECT_EQ(cache_.count(), 1);
  ASSERT_TRUE(Classify("colour-model/1", {FlatBmp(200, 0, 0)}).ok());
  EXPECT_EQ(cache_.count(), 2);
}

TEST_F(ClassifierTest, ABackboneAnswersWithItsOwnClasses) {
  InstallWeights(TinyClassifierWeights(), directory_.path(), "insects");
  const auto answer = Classify("backbone/insects", {FlatBmp(200, 0, 0), FlatBmp(0, 0, 200)});
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->model, "backbone/insects");
  EXPECT_THAT(answer->predictor->class_names(), testing::ElementsAre("ant", "bee", "cat"));
  ASSERT_EQ(answer->predictions.size(), 2u);
  EXPECT_EQ(answer->predictions[0].size(), 3u);
  ASSERT_TRUE(Classify("backbone/insects", {FlatBmp(0, 0, 0)}).ok());
  EXPECT_EQ(cache_.count(), 1);
}

TEST_F(ClassifierTest, ABackboneWithoutAClassifierIsFailedPrecondition) {
  const absl::Status status = Classify("backbone/mobilenet_v3_small", {FlatBmp(0, 0, 0)}).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("no classifier of their own"));
}

TEST_F(ClassifierTest, ABackboneThatIsNotInstalledIsNotFound) {
  for (const char* model : {"backbone/mobilenet_v2", "backbone/nobody", "backbone/", "backbone/../x", "backbone"}) {
    EXPECT_TRUE(absl::IsNotFound(Classify(model, {FlatBmp(0, 0, 0)}).status())) << model;
  }
}

TEST_F(ClassifierTest, AModelFromScratchNeedsNoInstalledWeights) {
  v1::StartJobRequest request = Request();
  request.mutable_spec()->set_strategy(v1::STRATEGY_SCRATCH);
  request.mutable_spec()->set_model("from-scratch");
  request.mutable_spec()->set_epochs(1);
  request.mutable_spec()->set_input_px(32);
  TrainModel(request);
  std::filesystem::remove(directory_.path() + "/mobilenet_v3_small.safetensors");
  const auto version = models_.Resolve("from-scratch");
  ASSERT_TRUE(version.ok()) << version.status();
  EXPECT_EQ(version->backbone_digest, "untrained:mobilenet_v3_small");
  const auto answer = Classify("from-scratch", {FlatBmp(200, 0, 0)});
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->predictor->split_point(), 0);
  EXPECT_EQ(answer->predictor->preprocessing().crop_px, 32);
}

TEST_F(ClassifierTest, ErrorsOfTheReferenceAreAnswered) {
  EXPECT_TRUE(absl::IsNotFound(Classify("colour-model", {FlatBmp(0, 0, 0)}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Classify("a/b/c", {FlatBmp(0, 0, 0)}).status()));
}

TEST_F(ClassifierTest, LostCheckpointIsDataLoss) {
  TrainModel("colour-model");
  ASSERT_TRUE(blobs_.Delete(models_.Resolve("colour-model")->checkpoint_digest).ok());
  EXPECT_TRUE(absl::IsDataLoss(Classify("colour-model", {FlatBmp(0, 0, 0)}).status()));
}

TEST_F(ClassifierTest, PictureThatCannotBeDecodedIsNamed) {
  TrainModel("colour-model");
  const absl::Status status = Classify("colour-model", {FlatBmp(200, 0, 0), "no picture"}).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("images[1]"));
}

TEST_F(ClassifierTest, PassedDeadlineIsAnsweredOnce) {
  TrainModel("colour-model");
  Classifier::Request request;
  request.model = "colour-model";
  request.images = {FlatBmp(200, 0, 0)};
  request.deadline = absl::InfinitePast();
  int answers = 0;
  absl::Status status;
  classifier_.Classify(std::move(request), [&](absl::StatusOr<Classifier::Answer> outcome) {
    ++answers;
    status = outcome.status();
  });
  EXPECT_EQ(answers, 1);
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
}

}  // namespace
}  // namespace graft

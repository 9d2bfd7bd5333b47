#include "server/jobs/job_observer.h"

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/jobs/encode.h"
#include "tests/server/jobs/read_tensorboard.h"
#include "tests/server/store/store_fixture.h"
#include "worker/base/status.h"

namespace graft {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;
using testing::StartsWith;

constexpr char kOwner[] = "worker";

// A leased job that an observer tells of.
class JobObserverTest : public StoreTest {
 protected:
  JobObserverTest()
      : jobs_(db_.get(), &clock_, JobStore::Options(), EncodeStateChange), id_(Queue(jobs_)),
        states_(directory_.path() + "/states") {
    GRAFT_CHECK(jobs_.Lease(kOwner).ok());
    auto files = StateFiles::Open(states_);
    GRAFT_CHECK(files.ok());
    files_ = std::make_unique<StateFiles>(*std::move(files));
  }

  std::unique_ptr<JobObserver> Observe() {
    return std::make_unique<JobObserver>(id_, kOwner, &jobs_, files_.get(), &metrics_, curves_, cancel_);
  }
  static PhaseStarted Phased(const Phase& phase, int epochs_before) {
    PhaseStarted started;
    started.phase = &phase;
    started.epochs_before = epochs_before;
    started.parameters = {1, 2, 3};
    return started;
  }
  static EpochMetrics Epoch(int epoch) {
    EpochMetrics metrics;
    metrics.phase = "head";
    metrics.epoch = epoch;
    metrics.train_loss = 0.5;  // all are floats without rounding
    metrics.val_loss = 0.25;
    metrics.train_accuracy = 0.75;
    metrics.val_accuracy = 0.625;
    metrics.learning_rate = 0.125;
    metrics.images_per_second = 64;
    return metrics;
  }
  // Everything after "step" of each record but the files' headers, and the headers as "file".
  std::vector<std::string> Curves() const {
    std::vector<std::string> curves;
    for (const std::string& line : ReadTensorBoard(curves_)) {
      const bool header = absl::StrContains(line, "file_version");
      const size_t after_time = line.find(", ");
      curves.push_back(header ? "file" : line.substr(after_time + 2));
    }
    return curves;
  }
  std::vector<v1::JobEvent> Events() {
    std::vector<v1::JobEvent> events;
    const auto records = jobs_.Events(id_, 1, 1000);
    GRAFT_CHECK(records.ok());
    for (const EventRecord& record : *records) {
      auto event = DecodeEvent(record);
      GRAFT_CHECK(event.ok());
      events.push_back(*std::move(event));
    }
    return events;
  }
  v1::JobEvent LastEvent() { return Events().back(); }

  JobStore jobs_;
  const std::string id_, states_;
  const std::string curves_ = directory_.path() + "/tensorboard/job";
  std::unique_ptr<StateFiles> files_;
  Metrics metrics_;
  CancelToken cancel_;
};

TEST_F(JobObserverTest, EpochIsAPointOfEveryCurve) {
  const auto observer = Observe();
  ASSERT_TRUE(observer->OnEpoch(Epoch(3)).ok());
  EXPECT_THAT(Curves(), ElementsAre("file", R"("step": 3, "summary": {"value": [)"
                                            R"({"tag": "loss/train", "simple_value": 0.5}, )"
                                            R"({"tag": "loss/validation", "simple_value": 0.25}, )"
                                            R"({"tag": "accuracy/train", "simple_value": 0.75}, )"
                                            R"({"tag": "accuracy/validation", "simple_value": 0.625}, )"
                                            R"({"tag": "learning_rate", "simple_value": 0.125}, )"
                                            R"({"tag": "images_per_second", "simple_value": 64.0}]}})"));
}

TEST_F(JobObserverTest, HeldOutPicturesHaveCurvesOfTheirOwn) {
  EpochMetrics epoch = Epoch(1);
  epoch.held_out_loss = 1.5;
  epoch.held_out_accuracy = 0.875;
  epoch.held_out_macro_f1 = 0.75;
  ASSERT_TRUE(Observe()->OnEpoch(epoch).ok());
  EXPECT_THAT(Curves().back(), HasSubstr(R"({"tag": "loss/held_out", "simple_value": 1.5}, )"
                                         R"({"tag": "accuracy/held_out", "simple_value": 0.875}, )"
                                         R"({"tag": "macro_f1/held_out", "simple_value": 0.75}]}})"));
}

TEST_F(JobObserverTest, AFoundLearningRateIsAnEventAndACurveOfItsOwn) {
  LearningRateFound found;
  found.phase = "fine-tune";
  found.points = {{1e-3, 0.5}, {1e-2, 0.25}};
  found.suggestion = 4e-3;
  found.applied = true;
  ASSERT_TRUE(Observe()->OnLearningRate(found).ok());
  EXPECT_EQ(LastEvent().learning_rate().ShortDebugString(), ToProto(found).ShortDebugString());
  EXPECT_THAT(Curves(),
              ElementsAre("file", HasSubstr(R"({"tag": "learning_rate_finder/fine-tune", "simple_value": 0.5})"),
                          R"("step": 1, "summary": {"value": [)"
                          R"({"tag": "learning_rate_finder/fine-tune", "simple_value": 0.25}]}})"));
}

TEST_F(JobObserverTest, StepsGoOnThroughThePhases) {
  const auto observer = Observe();
  const Phase phase;
  ASSERT_TRUE(observer->OnPhase(Phased(phase, 0)).ok());
  ASSERT_TRUE(observer->OnEpoch(Epoch(2)).ok());
  ASSERT_TRUE(observer->OnPhase(Phased(phase, 10)).ok());
  ASSERT_TRUE(observer->OnEpoch(Epoch(1)).ok());
  EXPECT_THAT(Curves(), ElementsAre("file", StartsWith(R"("step": 2, )"),
                                    StartsWith(R"("step": 11, )")));
}

TEST_F(JobObserverTest, ResumedJobGoesOnInAFileOfItsOwnWithTheNextStep) {
  const Phase phase;
  {
    const auto first = Observe();
    ASSERT_TRUE(first->OnPhase(Phased(phase, 10)).ok());
    ASSERT_TRUE(first->OnEpoch(Epoch(4)).ok());
  }
  const auto second = Observe();
  ASSERT_TRUE(second->OnPhase(Phased(phase, 10)).ok());
  ASSERT_TRUE(second->OnEpoch(Epoch(5)).ok());
  EXPECT_THAT(Curves(), ElementsAre("file", StartsWith(R"("step": 14, )"), "file",
                                    StartsWith(R"("step": 15, )")));
}

TEST_F(JobObserverTest, EvaluationIsInTheFile) {
  Assessment assessment;
  assessment.evaluation.accuracy = 0.75;
  assessment.evaluation.loss = 0.5;
  assessment.calibration.ece_after = 0.125;
  assessment.calibration.temperature = 1.5;
  Observe()->WriteEvaluation(assessment);
  EXPECT_THAT(Curves(), ElementsAre("file", AllOf(HasSubstr(R"("evaluation/accuracy", "simple_value": 0.75})"),
                                                  HasSubstr(R"("evaluation/loss", "simple_value": 0.5})"),
                                                  HasSubstr(R"("evaluation/expected_calibration_error", )"
                                                            R"("simple_value": 0.125})"),
                                                  HasSubstr(R"("evaluation/temperature", "simple_value": 1.5})"))));
}

TEST_F(JobObserverTest, MultiLabelEvaluationIsInTheFile) {
  Assessment assessment;
  assessment.evaluation.multi_label = MultiLabelMetrics{0.75, 0.5, 0.25, 0.125};
  Observe()->WriteEvaluation(assessment);
  EXPECT_THAT(Curves(),
              ElementsAre("file", AllOf(HasSubstr(R"("evaluation/mean_average_precision", "simple_value": 0.75})"),
                                        HasSubstr(R"("evaluation/micro_f1", "simple_value": 0.5})"),
                                        HasSubstr(R"("evaluation/macro_f1", "simple_value": 0.25})"),
                                        HasSubstr(R"("evaluation/hamming_loss", "simple_value": 0.125})"))));
}

TEST_F(JobObserverTest, TextIsForTheTextDashboard) {
  Observe()->WriteText("auto", "frozen-head:\n\n81 %");
  const std::vector<std::string> curves = Curves();
  ASSERT_EQ(curves.size(), 2u);
  EXPECT_THAT(curves[1], AllOf(HasSubstr("\"auto\""), HasSubstr("\"text\""), HasSubstr("frozen-head:\\n\\n81 %")));
}

TEST_F(JobObserverTest, NothingToShowIsNoFile) {
  const Phase phase;
  ASSERT_TRUE(Observe()->OnPhase(Phased(phase, 0)).ok());
  EXPECT_FALSE(std::filesystem::exists(curves_));
}

TEST_F(JobObserverTest, CurvesThatCannotBeWrittenAreLoggedOnceAndStopNothing) {
  std::ofstream(directory_.path() + "/tensorboard") << "in the way";
  const auto observer = Observe();
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  const absl::Status first = observer->OnEpoch(Epoch(1)), second = observer->OnEpoch(Epoch(2));
  observer->WriteEvaluation(Assessment());
  const std::string log = testing::internal::GetCapturedStdout() + testing::internal::GetCapturedStderr();
  EXPECT_TRUE(first.ok()) << first;
  EXPECT_TRUE(second.ok()) << second;
  EXPECT_EQ(LastEvent().epoch().epoch(), 2);
  const size_t at = log.find("no TensorBoard curves");
  ASSERT_NE(at, std::string::npos) << log;
  EXPECT_EQ(log.find("no TensorBoard curves", at + 1), std::string::npos) << log;
  EXPECT_EQ(cancel_.reason(), StopReason::kNone);
}

TEST_F(JobObserverTest, StateIsKeptAndTold) {
  StatePoint point;
  point.phase = "fine-tune";
  point.epoch = 2;
  point.images = 64;
  ASSERT_TRUE(Observe()->OnState(point, "a state").ok());
  EXPECT_EQ(*files_->Read(id_), "a state");
  const v1::JobEvent event = LastEvent();
  EXPECT_EQ(event.checkpoint().phase(), "fine-tune");
  EXPECT_EQ(event.checkpoint().epoch(), 2);
  EXPECT_EQ(event.checkpoint().images(), 64);
  EXPECT_EQ(event.checkpoint().bytes(), 7);
}

TEST_F(JobObserverTest, StateThatCannotBeSavedIsAWarning) {
  std::error_code error;
  std::filesystem::remove_all(states_, error);
  std::ofstream(states_) << "in the way";
  StatePoint point;
  point.phase = "head";
  point.epoch = 2;
  EXPECT_TRUE(Observe()->OnState(point, "a state").ok());
  EXPECT_THAT(LastEvent().warning().message(), HasSubstr("state after epoch 2 of phase head could not be saved"));
}

TEST_F(JobObserverTest, PhaseAndEpochAreTheJobsNewest) {
  const auto observer = Observe();
  Phase phase;
  phase.name = "fine-tune";
  ASSERT_TRUE(observer->OnPhase(Phased(phase, 0)).ok());
  ASSERT_TRUE(observer->OnProgress({"features", 3, 9, 1.5}).ok());
  ASSERT_TRUE(observer->OnEpoch(Epoch(7)).ok());
  const absl::StatusOr<JobRecord> job = jobs_.Get(id_);
  ASSERT_TRUE(job.ok()) << job.status();
  v1::ParameterCounts parameters;
  v1::EpochMetrics last_epoch;
  ASSERT_TRUE(parameters.ParseFromString(job->parameters_pb) && last_epoch.ParseFromString(job->last_epoch_pb));
  EXPECT_EQ(parameters.frozen(), 3);
  EXPECT_EQ(last_epoch.epoch(), 7);
  const std::vector<v1::JobEvent> events = Events();
  ASSERT_THAT(events, SizeIs(5));  // queued, running
  EXPECT_EQ(events[2].phase().phase(), "fine-tune");
  EXPECT_EQ(events[3].progress().activity(), "features");
  EXPECT_EQ(events[3].progress().total(), 9);
}

TEST_F(JobObserverTest, LostLeaseStopsTheTrainingAndShowsNothing) {
  ASSERT_TRUE(jobs_.RecoverExpired(/*even_unexpired=*/true).ok());
  const auto observer = Observe();
  const size_t events = Events().size();
  const Phase phase;
  EXPECT_TRUE(absl::IsFailedPrecondition(observer->OnEpoch(Epoch(1))));
  EXPECT_EQ(cancel_.reason(), StopReason::kLeaseLost);
  EXPECT_TRUE(absl::IsFailedPrecondition(observer->OnPhase(Phased(phase, 0))));
  EXPECT_TRUE(absl::IsFailedPrecondition(observer->OnProgress({"train", 1, 2, 3})));
  EXPECT_TRUE(absl::IsFailedPrecondition(observer->OnState({"head", 1, 0}, "a state")));
  EXPECT_TRUE(absl::IsFailedPrecondition(observer->OnWarning("hm")));
  EXPECT_THAT(Events(), SizeIs(events));
  EXPECT_FALSE(std::filesystem::exists(curves_));
}

TEST_F(JobObserverTest, GaugesGoWithTheObserver) {
  auto observer = Observe();
  ASSERT_TRUE(observer->OnEpoch(Epoch(1)).ok());
  EXPECT_THAT(metrics_.Scrape(), HasSubstr(id_));
  observer.reset();
  EXPECT_THAT(metrics_.Scrape(), Not(HasSubstr(id_)));
}

}  // namespace
}  // namespace graft

#include "server/jobs/job_service.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/jobs/job_plan.h"
#include "tests/server/jobs/job_fixture.h"
#include "tests/support/script_file.h"

namespace graft {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class JobServiceTest : public JobTest {};

TEST_F(JobServiceTest, StartQueuesWithDefaultsAndTheNewestVersion) {
  const absl::StatusOr<v1::Job> job = service_.Start(Request());
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->state(), v1::JOB_STATE_QUEUED);
  EXPECT_EQ(job->spec().dataset_version(), "v1");
  EXPECT_EQ(job->spec().epochs(), 0);
  EXPECT_EQ(job->effective().dataset_version(), "v1");
  EXPECT_EQ(job->effective().epochs(), 30);
  EXPECT_EQ(job->effective().batch_size(), 32);
  EXPECT_EQ(job->effective().learning_rate(), 1e-2);
  EXPECT_EQ(job->effective().input_px(), 224);
  EXPECT_FALSE(job->effective().has_fine_tune());
}

TEST_F(JobServiceTest, InputSizeIsKept) {
  v1::StartJobRequest request = Request();
  request.mutable_spec()->set_input_px(96);
  const absl::StatusOr<v1::Job> job = service_.Start(request);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->effective().input_px(), 96);
}

TEST_F(JobServiceTest, InputSizeThatTheBackboneDoesNotComputeIsInvalid) {
  v1::StartJobRequest request = Request();
  for (const int input_px : {8, -1}) {
    request.mutable_spec()->set_input_px(input_px);
    const absl::Status status = service_.Start(request).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status));
    EXPECT_THAT(std::string(status.message()), StartsWith(absl::StrCat("spec.input_px: got ", input_px, ", want ")));
  }
}

TEST_F(JobServiceTest, WhatTheBackboneCannotDoComesInOneAnswer) {
  v1::StartJobRequest request = Request();
  request.mutable_spec()->set_strategy(v1::STRATEGY_FINE_TUNE);
  request.mutable_spec()->mutable_fine_tune()->set_unfreeze_stages(500);
  request.mutable_spec()->set_input_px(8);
  const std::string message(service_.Start(request).status().message());
  EXPECT_THAT(message, HasSubstr("spec.fine_tune.unfreeze_stages: got 500"));
  EXPECT_THAT(message, HasSubstr("\nspec.input_px: got 8"));
}

TEST_F(JobServiceTest, ScratchNeedsAnArchitectureAndNoWeights) {
  v1::StartJobRequest request = Request();
  request.mutable_spec()->set_strategy(v1::STRATEGY_SCRATCH);
  request.mutable_spec()->set_backbone("mobilenet_v2");  // not installed
  const absl::StatusOr<v1::Job> job = service_.Start(request);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->effective().epochs(), 30);
  EXPECT_EQ(job->effective().learning_rate(), 1e-2);
  EXPECT_FALSE(job->effective().has_fine_tune());
  InstallWeights(TinyWeights(), directory_.path(), "my-net");
  request.mutable_spec()->set_backbone("my-net");
  const absl::Status status = service_.Start(request).status();
  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("want an architecture: "));
}

TEST_F(JobServiceTest, BackboneThatStaysFrozenTakesOnlyAHead) {
  InstallScript(directory_.path(), "mean_colour");
  v1::StartJobRequest request = Request();
  request.mutable_spec()->set_backbone("mean_colour");
  ASSERT_TRUE(service_.Start(request).ok());
  request.mutable_spec()->set_strategy(v1::STRATEGY_FINE_TUNE);
  const absl::Status status = service_.Start(request).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_EQ(status.message(), "spec.backbone: mean_colour can only be used frozen; want strategy frozen-head");
}

TEST_F(JobServiceTest, BatchOfTooManyPixelsIsInvalidArgumentAlsoAtTheBackbonesOwnSize) {
  v1::StartJobRequest request = Request();
  request.mutable_spec()->set_batch_size(1024);
  EXPECT_TRUE(service_.Start(request).ok()) << "1024 pictures of 224 px are the limit";
  request.mutable_spec()->set_strategy(v1::STRATEGY_SCRATCH);
  request.mutable_spec()->set_backbone("efficientnet_b1");  // 240 px
  absl::Status status = service_.Start(request).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_EQ(status.message(),
            "spec.batch_size: got 1024 pictures of 240 px, want batch_size * input_px * input_px at most 51380224");
  request.mutable_spec()->set_batch_size(INT32_MAX);  // numbers whose product no integer holds
  request.mutable_spec()->set_input_px(INT32_MAX);
  status = service_.Start(request).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("spec.batch_size: got 2147483647 pictures of 2147483647 px"));
}

TEST_F(JobServiceTest, ModelMustNotBeNamedLikeBackboneReferences) {
  v1::StartJobRequest request = Request();
  request.mutable_spec()->set_model("backbone");
  const absl::Status status = service_.Start(request).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_EQ(status.message(),
            "spec.model: got \"backbone\", want another name: backbone/NAME is a backbone itself");
  request.mutable_spec()->set_model("backbones");
  EXPECT_TRUE(service_.Start(request).ok());
}

TEST_F(JobServiceTest, FineTuneGetsItsDefaults) {
  v1::StartJobRequest request = Request();
  request.mutable_spec()->set_strategy(v1::STRATEGY_FINE_TUNE);
  const absl::StatusOr<v1::Job> job = service_.Start(request);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->effective().fine_tune().unfreeze_stages(), 3);
  EXPECT_EQ(job->effective().fine_tune().head_epochs(), 10);
  EXPECT_FALSE(job->spec().has_fine_tune());
}

TEST_F(JobServiceTest, GradualTakesFineTuneOptions) {
  v1::StartJobRequest request = Request();
  request.mutable_spec()->set_strategy(v1::STRATEGY_GRADUAL);
  request.mutable_spec()->mutable_fine_tune()->set_unfreeze_stages(2);
  const absl::StatusOr<v1::Job> job = service_.Start(request);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->effective().fine_tune().unfreeze_stages(), 2);
  EXPECT_EQ(job->effective().fine_tune().head_epochs(), 10);
  EXPECT_EQ(job->effective().fine_tune().stage_decay(), 1 / 2.6);
}

TEST_F(JobServiceTest, StageThatTheBackboneHasNotIsInvalid) {
  v1::StartJobRequest request = Request();
  request.mutable_spec()->set_strategy(v1::STRATEGY_FINE_TUNE);
  request.mutable_spec()->mutable_fine_tune()->set_unfreeze_from("layer4");
  const absl::Status status = service_.Start(request).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()),
              StartsWith("spec.fine_tune.unfreeze_from: got \"layer4\", want one of features.0, "));
}

TEST_F(JobServiceTest, ArithmeticThatTheDeviceHasNotIsFailedPrecondition) {
  v1::StartJobRequest request = Request();
  request.mutable_spec()->set_precision(v1::PRECISION_FLOAT16);
  const absl::Status status = service_.Start(request).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()), StartsWith("spec.precision: got float16, want "));
}

TEST_F(JobServiceTest, AllViolationsComeInOneAnswer) {
  v1::StartJobRequest request;
  request.set_request_id(std::string(129, 'x'));
  request.mutable_spec()->set_dataset("No Name");
  request.mutable_spec()->set_model("/");
  request.mutable_spec()->set_epochs(-1);
  request.mutable_spec()->set_batch_size(5000);
  request.mutable_spec()->set_learning_rate(-0.5);
  request.mutable_spec()->set_input_px(513);
  const absl::Status status = service_.Start(request).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_EQ(status.message(),
            "request_id: got 129 bytes, want at most 128\n"
            "spec.dataset: got \"No Name\", want 1 to 64 of [a-z0-9._-], starting with a letter or digit\n"
            "spec.backbone: got \"\", want a name from ListBackbones\n"
            "spec.strategy: got 0, want STRATEGY_FROZEN_HEAD, STRATEGY_FINE_TUNE, STRATEGY_GRADUAL, "
            "STRATEGY_SCRATCH or STRATEGY_AUTO\n"
            "spec.model: got \"/\", want 1 to 64 of [a-z0-9._-], starting with a letter or digit\n"
            "spec.input_px: got 513, want 0 to 512\n"
            "spec.batch_size: got 5000 pictures of 513 px, want batch_size * input_px * input_px at most 51380224\n"
            "spec.epochs: got -1, want 1 to 10000\n"
            "spec.batch_size: got 5000, want 1 to 1024\n"
            "spec.learning_rate: got -0.5, want > 0 and <= 10");
}

TEST_F(JobServiceTest, FineTuneNumbersAreNamedByTheirPath) {
  v1::StartJobRequest request = Request();
  request.mutable_spec()->set_strategy(v1::STRATEGY_FINE_TUNE);
  request.mutable_spec()->mutable_fine_tune()->set_head_epochs(-2);
  EXPECT_EQ(service_.Start(request).status().message(), "spec.fine_tune.head_epochs: got -2, want 1 to 10000");
}

TEST_F(JobServiceTest, FineTuneOptionsNeedTheirStrategy) {
  for (const v1::Strategy strategy : {v1::STRATEGY_FROZEN_HEAD, v1::STRATEGY_SCRATCH}) {
    v1::StartJobRequest request = Request();
    request.mutable_spec()->set_strategy(strategy);
    request.mutable_spec()->mutable_fine_tune()->set_head_epochs(2);
    EXPECT_THAT(std::string(service_.Start(request).status().message()),
                StartsWith("spec.fine_tune: got options, want them only with STRATEGY_FINE_TUNE and STRATEGY_GRADUAL"));
  }
}

TEST_F(JobServiceTest, MoreStagesThanTheBackboneHasIsInvalid) {
  v1::StartJobRequest request = Request();
  request.mutable_spec()->set_strategy(v1::STRATEGY_FINE_TUNE);
  request.mutable_spec()->mutable_fine_tune()->set_unfreeze_stages(500);
  const absl::Status status = service_.Start(request).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()), StartsWith("spec.fine_tune.unfreeze_stages: got 500, want 1 to "));
}

TEST_F(JobServiceTest, UnknownDatasetAndVersionAreNotFound) {
  v1::StartJobRequest request = Request();
  request.mutable_spec()->set_dataset_version("v9");
  EXPECT_TRUE(absl::IsNotFound(service_.Start(request).status()));
  request = Request();
  request.mutable_spec()->set_dataset("shapes");
  EXPECT_TRUE(absl::IsNotFound(service_.Start(request).status()));
}

TEST_F(JobServiceTest, BackboneThatIsNotInstalledIsNotFound) {
  v1::StartJobRequest request = Request();
  request.mutable_spec()->set_backbone("mobilenet_v2");
  const absl::Status status = service_.Start(request).status();
  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr(kBackbone));
}

TEST_F(JobServiceTest, SameRequestIdAndSpecIsTheSameJob) {
  v1::StartJobRequest request = Request();
  request.set_request_id("once");
  const absl::StatusOr<v1::Job> first = service_.Start(request);
  const absl::StatusOr<v1::Job> second = service_.Start(request);
  ASSERT_TRUE(first.ok() && second.ok()) << second.status();
  EXPECT_EQ(first->id(), second->id());
}

TEST_F(JobServiceTest, RepeatedStartKeepsItsVersionWhenANewerCame) {
  v1::StartJobRequest request = Request();
  request.set_request_id("once");
  ASSERT_TRUE(service_.Start(request).ok());
  StoreColours("v2", 6);
  const absl::StatusOr<v1::Job> again = service_.Start(request);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->spec().dataset_version(), "v1");
}

TEST_F(JobServiceTest, RepeatedStartNeedsNeitherDatasetNorBackbone) {
  v1::StartJobRequest request = Request();
  request.set_request_id("once");
  const std::string id = service_.Start(request)->id();
  ASSERT_TRUE(service_.Cancel(id).ok());
  ASSERT_TRUE(datasets_.Delete("colours", "").ok());
  ScratchDirectory empty;
  BackboneDirectory no_backbones(empty.path());
  JobService service(jobs_.get(), &datasets_, &no_backbones);
  const absl::StatusOr<v1::Job> again = service.Start(request);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->id(), id);
  request.mutable_spec()->set_dataset("shapes");
  const absl::Status status = service.Start(request).status();
  EXPECT_TRUE(absl::IsAlreadyExists(status));
  EXPECT_THAT(std::string(status.message()), StartsWith("spec.dataset: got \"shapes\", want \"colours\" "));
}

TEST_F(JobServiceTest, NoRequestIdIsNeverTheSame) {
  EXPECT_NE(service_.Start(Request())->id(), service_.Start(Request())->id());
}

TEST_F(JobServiceTest, SameRequestIdWithAnotherSpecNamesTheFirstField) {
  v1::StartJobRequest request = Request();
  request.set_request_id("once");
  const std::string id = service_.Start(request)->id();
  request.mutable_spec()->set_epochs(5);
  request.mutable_spec()->set_seed(7);
  const absl::Status status = service_.Start(request).status();
  EXPECT_TRUE(absl::IsAlreadyExists(status));
  EXPECT_EQ(status.message(), absl::StrCat("spec.epochs: got 5, want 0 as in job ", id,
                                           ", which was started with the same request_id"));
}

TEST_F(JobServiceTest, DifferenceWithinFineTuneIsNamedByItsPath) {
  v1::StartJobRequest request = Request();
  request.set_request_id("once");
  request.mutable_spec()->set_strategy(v1::STRATEGY_FINE_TUNE);
  request.mutable_spec()->mutable_fine_tune()->set_head_epochs(2);
  ASSERT_TRUE(service_.Start(request).ok());
  request.mutable_spec()->mutable_fine_tune()->set_head_epochs(3);
  EXPECT_THAT(std::string(service_.Start(request).status().message()),
              StartsWith("spec.fine_tune.head_epochs: got 3, want 2 "));
}

TEST_F(JobServiceTest, EmptyFineTuneOptionsAreNoDifference) {
  v1::StartJobRequest request = Request();
  request.set_request_id("once");
  request.mutable_spec()->set_strategy(v1::STRATEGY_FINE_TUNE);
  ASSERT_TRUE(service_.Start(request).ok());
  request.mutable_spec()->mutable_fine_tune();
  EXPECT_TRUE(service_.Start(request).ok());
}

TEST_F(JobServiceTest, FullQueueIsResourceExhausted) {
  JobStore::Options options;
  options.max_queued = 1;
  JobStore jobs(db_.get(), &clock_, options, EncodeStateChange);
  JobService service(&jobs, &datasets_, &backbones_);
  ASSERT_TRUE(service.Start(Request()).ok());
  EXPECT_TRUE(absl::IsResourceExhausted(service.Start(Request()).status()));
}

TEST_F(JobServiceTest, GetOfAnUnknownJobIsNotFound) {
  EXPECT_TRUE(absl::IsNotFound(service_.Get("job-x").status()));
}

TEST_F(JobServiceTest, ListPagesNewestFirst) {
  const std::string old = service_.Start(Request())->id();
  const std::string young = service_.Start(Request())->id();
  v1::ListJobsRequest request;
  request.set_page_size(1);
  const absl::StatusOr<v1::ListJobsResponse> first = service_.List(request);
  ASSERT_TRUE(first.ok()) << first.status();
  ASSERT_EQ(first->jobs_size(), 1);
  EXPECT_EQ(first->jobs(0).id(), young);
  request.set_page_token(first->next_page_token());
  const absl::StatusOr<v1::ListJobsResponse> second = service_.List(request);
  ASSERT_TRUE(second.ok()) << second.status();
  ASSERT_EQ(second->jobs_size(), 1);
  EXPECT_EQ(second->jobs(0).id(), old);
  EXPECT_EQ(second->next_page_token(), "");
}

TEST_F(JobServiceTest, ListLeavesOutWhatGrowsWithTheClasses) {
  const std::string id = service_.Start(Request())->id();
  ASSERT_TRUE(jobs_->Lease("worker").ok());
  v1::Evaluation evaluation;
  evaluation.set_accuracy(0.75);
  evaluation.add_classes()->set_name("red");
  evaluation.add_confusion(4);
  JobUpdate update;
  update.evaluation_pb = evaluation.SerializeAsString();
  ASSERT_TRUE(jobs_->Update(id, "worker", update).ok());
  const absl::StatusOr<v1::ListJobsResponse> list = service_.List({});
  ASSERT_TRUE(list.ok()) << list.status();
  ASSERT_EQ(list->jobs_size(), 1);
  EXPECT_EQ(list->jobs(0).evaluation().accuracy(), 0.75);
  EXPECT_EQ(list->jobs(0).evaluation().classes_size(), 0);
  EXPECT_EQ(list->jobs(0).evaluation().confusion_size(), 0);
  EXPECT_EQ(service_.Get(id)->evaluation().confusion_size(), 1);
}

TEST_F(JobServiceTest, ListChecksItsWholeRequest) {
  v1::ListJobsRequest request;
  request.set_page_size(1001);
  request.add_states(v1::JOB_STATE_UNSPECIFIED);
  const absl::Status status = service_.List(request).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_EQ(status.message(), "states[0]: got 0, want a JobState\npage_size: got 1001, want 1 to 1000");
}

TEST_F(JobServiceTest, AutoNeedsNoBackboneButAnInstalledOne) {
  v1::StartJobRequest request = Request();
  request.mutable_spec()->set_strategy(v1::STRATEGY_AUTO);
  request.mutable_spec()->clear_backbone();
  const absl::StatusOr<v1::Job> job = service_.Start(request);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->effective().strategy(), v1::STRATEGY_AUTO);
  EXPECT_EQ(job->effective().auto_().budget_seconds(), 600);
  EXPECT_EQ(job->effective().dataset_version(), "v1");
  ScratchDirectory empty;
  BackboneDirectory no_backbones(empty.path());
  EXPECT_TRUE(absl::IsFailedPrecondition(JobService(jobs_.get(), &datasets_, &no_backbones).Start(request).status()));
  request.mutable_spec()->mutable_auto_()->add_backbones("mobilenet_v2");
  EXPECT_TRUE(absl::IsNotFound(service_.Start(request).status()));
}

TEST_F(JobServiceTest, AutoRefusesWhatNoneOfItsTrainingsCanDo) {
  InstallScript(directory_.path(), "mean_colour");
  v1::StartJobRequest request = Request();
  request.mutable_spec()->set_strategy(v1::STRATEGY_AUTO);
  request.mutable_spec()->set_backbone("mean_colour");
  request.mutable_spec()->mutable_fine_tune()->set_head_epochs(3);
  absl::Status status = service_.Start(request).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("mean_colour can only be used frozen"));
  request.mutable_spec()->set_backbone(kBackbone);
  request.mutable_spec()->mutable_fine_tune()->set_unfreeze_from("layer4");
  status = service_.Start(request).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("unfreeze_from: got \"layer4\", want a stage of"));
  request.mutable_spec()->clear_fine_tune();
  request.mutable_spec()->set_backbone("small_convnet");
  status = service_.Start(request).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("want STRATEGY_SCRATCH"));
}

TEST_F(JobServiceTest, AutoLooksFirstAtWhatComputesLeast) {
  InstallScript(directory_.path(), "mean_colour");
  v1::JobSpec spec = Request().spec();
  spec.set_strategy(v1::STRATEGY_AUTO);
  spec.clear_backbone();
  const auto names = AutoBackbones(spec, &backbones_);
  ASSERT_TRUE(names.ok()) << names.status();
  EXPECT_THAT(*names, testing::ElementsAre("mobilenet_v3_small", "mean_colour")) << "of unknown cost: last";
}

TEST_F(JobServiceTest, CancelOfAQueuedJobEndsIt) {
  const std::string id = service_.Start(Request())->id();
  const absl::StatusOr<v1::Job> job = service_.Cancel(id);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->state(), v1::JOB_STATE_CANCELLED);
  EXPECT_TRUE(job->has_end_time());
}

}  // namespace
}  // namespace graft

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/jobs/job_service.h"
#include "tests/server/jobs/job_fixture.h"
#include "tests/server/jobs/spec_fields.h"
#include "tests/support/script_file.h"

namespace graft {
namespace {

using testing::IsSupersetOf;

// JobService::Describe().
class DescribeJobTest : public JobTest {
 protected:
  v1::JobDescription Describe(const v1::StartJobRequest& request) {
    absl::StatusOr<v1::JobDescription> description = service_.Describe(request);
    EXPECT_TRUE(description.ok()) << description.status();
    return description.ok() ? *std::move(description) : v1::JobDescription();
  }
  static std::string DefaultOf(const v1::JobDescription& description, const std::string& field) {
    for (const v1::DefaultValue& each : description.defaults()) {
      if (each.field() == field) return each.value();
    }
    return "none";
  }
};

TEST_F(DescribeJobTest, EffectiveIsWhatStartMakesOfIt) {
  for (const v1::Strategy strategy : {v1::STRATEGY_FROZEN_HEAD, v1::STRATEGY_FINE_TUNE, v1::STRATEGY_GRADUAL,
                                      v1::STRATEGY_SCRATCH, v1::STRATEGY_AUTO}) {
    v1::StartJobRequest request = Request();
    request.mutable_spec()->set_strategy(strategy);
    request.mutable_spec()->set_seed(7);
    request.mutable_spec()->mutable_augmentation()->set_preset("keras");
    const v1::JobDescription description = Describe(request);
    const absl::StatusOr<v1::Job> job = service_.Start(request);
    ASSERT_TRUE(job.ok()) << job.status();
    EXPECT_EQ(description.effective().DebugString(), job->effective().DebugString());
  }
}

TEST_F(DescribeJobTest, EffectiveSpecDescribesItselfWithoutDefaults) {
  for (const v1::Strategy strategy :
       {v1::STRATEGY_FROZEN_HEAD, v1::STRATEGY_FINE_TUNE, v1::STRATEGY_GRADUAL, v1::STRATEGY_SCRATCH}) {
    v1::StartJobRequest request = Request();
    request.mutable_spec()->set_strategy(strategy);
    const v1::JobDescription first = Describe(request);
    *request.mutable_spec() = first.effective();
    const v1::JobDescription second = Describe(request);
    EXPECT_EQ(second.effective().DebugString(), first.effective().DebugString());
    ASSERT_EQ(second.phases_size(), first.phases_size());
    for (int i = 0; i < first.phases_size(); ++i) {
      EXPECT_EQ(second.phases(i).DebugString(), first.phases(i).DebugString());
    }
    // Only zeros of fields without presence are still open, and a preset stays one.
    for (const v1::DefaultValue& each : second.defaults()) {
      if (absl::StartsWith(each.source(), "preset ")) continue;
      EXPECT_FALSE(SpecField(each.field())->has_presence()) << each.field();
      EXPECT_TRUE(each.value() == "0" || each.value() == "\"\"") << each.field() << " " << each.value();
    }
  }
}

TEST_F(DescribeJobTest, DefaultsAreFieldsWithTheirSource) {
  v1::StartJobRequest request = Request();
  request.mutable_spec()->set_batch_size(8);
  const v1::JobDescription description = Describe(request);
  for (const v1::DefaultValue& each : description.defaults()) {
    EXPECT_NE(SpecField(each.field()), nullptr) << each.field();
    EXPECT_NE(each.source(), "") << each.field();
  }
  EXPECT_EQ(DefaultOf(description, "epochs"), "30");
  EXPECT_EQ(DefaultOf(description, "optimizer.momentum"), "0.9");
  EXPECT_EQ(DefaultOf(description, "batch_size"), "none");
  EXPECT_EQ(DefaultOf(description, "optimizer.beta1"), "none");
}

TEST_F(DescribeJobTest, WhatIsNoRecipesHasASourceToo) {
  v1::StartJobRequest request = Request();
  request.mutable_spec()->set_strategy(v1::STRATEGY_FINE_TUNE);
  request.mutable_spec()->mutable_augmentation()->set_preset("keras");
  request.mutable_spec()->mutable_augmentation()->set_rotation_degrees(7);
  const v1::JobDescription description = Describe(request);
  EXPECT_EQ(DefaultOf(description, "seed"), "0");
  EXPECT_EQ(DefaultOf(description, "input_px"), "224");
  EXPECT_EQ(DefaultOf(description, "dataset_version"), description.effective().dataset_version());
  EXPECT_EQ(DefaultOf(description, "augmentation.zoom"), "0.2");
  EXPECT_EQ(DefaultOf(description, "augmentation.rotation_degrees"), "none");
  EXPECT_FALSE(description.effective().augmentation().has_zoom()) << "the preset says it";
}

TEST_F(DescribeJobTest, PhasesCountEveryParameter) {
  // torchvision's mobilenet_v3_small without its classifier has 927,008 parameters; two classes on 576 features.
  constexpr int64_t kBackboneParameters = 927'008, kHeadParameters = 576 * 2 + 2;
  v1::StartJobRequest request = Request();
  request.mutable_spec()->set_strategy(v1::STRATEGY_FINE_TUNE);
  const v1::JobDescription description = Describe(request);
  ASSERT_EQ(description.phases_size(), 2);
  const v1::PhaseStart& head = description.phases(0);
  EXPECT_EQ(head.phase(), "head");
  EXPECT_EQ(head.index(), 0);
  EXPECT_EQ(head.epochs(), 10);
  EXPECT_EQ(head.learning_rate(), 1e-2);
  EXPECT_EQ(head.parameters().trainable_head(), kHeadParameters);
  EXPECT_EQ(head.parameters().trainable_backbone(), 0);
  EXPECT_EQ(head.parameters().frozen(), kBackboneParameters);
  EXPECT_EQ(head.trained_stages_size(), 0);
  const v1::PhaseStart& tune = description.phases(1);
  EXPECT_EQ(tune.phase(), "fine-tune");
  EXPECT_EQ(tune.index(), 1);
  EXPECT_EQ(tune.epochs(), 10);
  EXPECT_EQ(tune.learning_rate(), 5e-3);
  EXPECT_EQ(tune.parameters().trainable_head(), kHeadParameters);
  EXPECT_GT(tune.parameters().trainable_backbone(), 0);
  EXPECT_EQ(tune.parameters().trainable_backbone() + tune.parameters().frozen(), kBackboneParameters);
  EXPECT_THAT(tune.trained_stages(), IsSupersetOf({"features.10", "features.11", "features.12"}));
}

TEST_F(DescribeJobTest, GradualUnfreezesMoreInEachPhase) {
  v1::StartJobRequest request = Request();
  request.mutable_spec()->set_strategy(v1::STRATEGY_GRADUAL);
  const v1::JobDescription description = Describe(request);
  ASSERT_EQ(description.phases_size(), 4);
  int epochs = 0;
  for (int i = 1; i < 4; ++i) {
    EXPECT_GT(description.phases(i).parameters().trainable_backbone(),
              description.phases(i - 1).parameters().trainable_backbone());
    EXPECT_LT(description.phases(i).split_point(), description.phases(i - 1).split_point());
    epochs += description.phases(i).epochs();
  }
  EXPECT_EQ(epochs, description.effective().epochs());
}

TEST_F(DescribeJobTest, QueuesNothing) {
  v1::StartJobRequest request = Request();
  request.set_request_id("once");
  Describe(request);
  EXPECT_EQ(service_.List({})->jobs_size(), 0);
  request.mutable_spec()->set_epochs(5);
  EXPECT_TRUE(service_.Start(request).ok()) << "the request_id is not used up";
}

TEST_F(DescribeJobTest, AnswersWhenTheQueueIsFullAndTheRequestIdIsTaken) {
  JobStore::Options options;
  options.max_queued = 1;
  JobStore jobs(db_.get(), &clock_, options, EncodeStateChange);
  JobService service(&jobs, &datasets_, &backbones_);
  v1::StartJobRequest request = Request();
  request.set_request_id("once");
  ASSERT_TRUE(service.Start(request).ok());
  request.mutable_spec()->set_epochs(5);
  EXPECT_TRUE(absl::IsAlreadyExists(service.Start(request).status()));
  const absl::StatusOr<v1::JobDescription> description = service.Describe(request);
  ASSERT_TRUE(description.ok()) << description.status();
  EXPECT_EQ(description->effective().epochs(), 5);
}

TEST_F(DescribeJobTest, RefusesWhatStartRefuses) {
  InstallScript(directory_.path(), "mean_colour");
  const std::vector<std::function<void(v1::JobSpec*)>> mistakes{
      [](v1::JobSpec* spec) { spec->Clear(); },
      [](v1::JobSpec* spec) { spec->set_epochs(-1), spec->set_learning_rate(100); },
      [](v1::JobSpec* spec) { spec->mutable_optimizer()->set_beta1(0.5); },
      [](v1::JobSpec* spec) { spec->set_class_balance(static_cast<v1::ClassBalance>(9)); },
      [](v1::JobSpec* spec) { spec->set_dataset("shapes"); },
      [](v1::JobSpec* spec) { spec->set_dataset_version("v9"); },
      [](v1::JobSpec* spec) { spec->set_backbone("mobilenet_v2"); },
      [](v1::JobSpec* spec) { spec->set_precision(v1::PRECISION_FLOAT16); },
      [](v1::JobSpec* spec) { spec->set_input_px(8); },
      [](v1::JobSpec* spec) { spec->set_backbone("mean_colour"), spec->set_strategy(v1::STRATEGY_FINE_TUNE); },
      [](v1::JobSpec* spec) { spec->set_batch_size(1024), spec->set_input_px(512); }};
  for (const auto& make_mistake : mistakes) {
    v1::StartJobRequest request = Request();
    make_mistake(request.mutable_spec());
    const absl::Status described = service_.Describe(request).status();
    EXPECT_FALSE(described.ok()) << request.DebugString();
    EXPECT_EQ(described, service_.Start(request).status());
  }
}

TEST_F(DescribeJobTest, AutoHasNoPhasesYet) {
  v1::StartJobRequest request = Request();
  request.mutable_spec()->set_strategy(v1::STRATEGY_AUTO);
  const v1::JobDescription description = Describe(request);
  EXPECT_EQ(description.phases_size(), 0);
  EXPECT_EQ(DefaultOf(description, "auto.budget_seconds"), "600");
  EXPECT_EQ(DefaultOf(description, "input_px"), "0") << "each backbone's own";
}

}  // namespace
}  // namespace graft

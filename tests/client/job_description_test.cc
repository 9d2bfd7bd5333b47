#include "client/job_description.h"

#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "client/job_spec_file.h"

namespace graft {
namespace {

using google::protobuf::util::MessageDifferencer;
using testing::HasSubstr;

void AddDefault(v1::JobDescription* description, const std::string& field, const std::string& value,
                const std::string& source) {
  v1::DefaultValue* const added = description->add_defaults();
  added->set_field(field);
  added->set_value(value);
  added->set_source(source);
}

v1::JobDescription Sample() {
  v1::JobDescription description;
  v1::JobSpec* const spec = description.mutable_effective();
  spec->set_dataset("flowers");
  spec->set_dataset_version("sha256:abc");
  spec->set_strategy(v1::STRATEGY_FINE_TUNE);
  spec->set_epochs(10);
  spec->mutable_optimizer()->set_type(v1::OPTIMIZER_TYPE_SGD);
  spec->mutable_optimizer()->set_momentum(0.9);
  spec->mutable_optimizer()->set_nesterov(false);
  AddDefault(&description, "epochs", "10", "Chollet 2016");
  AddDefault(&description, "seed", "0", "graft");
  AddDefault(&description, "optimizer.momentum", "0.9", "torchvision's\nreference");
  return description;
}

TEST(JobDescriptionTest, DefaultsHaveTheirSourceBesideThem) {
  EXPECT_EQ(FormatJobDescription(Sample()),
            "dataset: flowers\n"
            "dataset_version: sha256:abc\n"
            "strategy: fine-tune\n"
            "epochs: 10  # default: Chollet 2016\n"
            "seed: 0  # default: graft\n"
            "optimizer:\n"
            "  type: sgd\n"
            "  momentum: 0.9  # default: torchvision's reference\n"
            "  nesterov: false\n");
}

TEST(JobDescriptionTest, ReadsBackToTheSameSpec) {
  v1::JobDescription description = Sample();
  v1::JobSpec* const spec = description.mutable_effective();
  spec->set_model("null");
  spec->set_backbone("a: \"b\" #c\n\x01 ö");
  spec->set_learning_rate(1.0 / 3);
  spec->set_seed(~uint64_t{0});
  spec->mutable_head();
  spec->set_precision(v1::PRECISION_BFLOAT16);
  spec->mutable_augmentation()->set_views(0);
  const auto back = ParseJobSpec(FormatJobDescription(description), "printed");
  ASSERT_TRUE(back.ok()) << back.status() << "\n" << FormatJobDescription(description);
  EXPECT_TRUE(MessageDifferencer::Equals(*back, *spec)) << back->DebugString();
}

TEST(JobDescriptionTest, AListOfTextsIsAFlowListThatReadsBack) {
  v1::JobDescription description;
  v1::AutoOptions* const options = description.mutable_effective()->mutable_auto_();
  for (const char* text :
       {"resnet18", "b.a_1", "a,b", "[x]", "{y: 1}", "null", "~", "5", "", " ", "#c", "a: b", "\"\n"}) {
    options->add_backbones(text);
  }
  AddDefault(&description, "auto.backbones", "all", "graft");
  const std::string text = FormatJobDescription(description);
  EXPECT_THAT(text, HasSubstr("auto:\n  backbones: [resnet18, b.a_1, \"a,b\", "));
  EXPECT_THAT(text, HasSubstr("]  # default: graft\n"));
  const auto back = ParseJobSpec(text, "printed");
  ASSERT_TRUE(back.ok()) << back.status() << "\n" << text;
  EXPECT_TRUE(MessageDifferencer::Equals(*back, description.effective())) << text;
}

TEST(JobDescriptionTest, AThousandTextsReadBack) {
  v1::JobDescription description;
  v1::AutoOptions* const options = description.mutable_effective()->mutable_auto_();
  for (int i = 0; i < 1000; ++i) options->add_backbones("backbone-" + std::to_string(i));
  options->set_budget_seconds(90);
  const auto back = ParseJobSpec(FormatJobDescription(description), "printed");
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_TRUE(MessageDifferencer::Equals(*back, description.effective()));
}

TEST(JobDescriptionTest, AnEmptyListsDefaultIsACommentAtTheEnd) {
  v1::JobDescription description;
  description.mutable_effective()->mutable_auto_()->set_budget_seconds(600);
  AddDefault(&description, "auto.backbones", "all installed", "graft");
  EXPECT_EQ(FormatJobDescription(description),
            "auto:\n  budget_seconds: 600\n# auto.backbones: all installed  # default: graft\n");
}

TEST(JobDescriptionTest, NothingEffectiveIsAnEmptyMapping) {
  const auto back = ParseJobSpec(FormatJobDescription(v1::JobDescription()), "printed");
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->ByteSizeLong(), 0u);
}

TEST(JobDescriptionTest, WhatHasNoFieldIsACommentAtTheEnd) {
  v1::JobDescription description = Sample();
  AddDefault(&description, "schedule.warmup_epochs", "0", "graft");  // its field is not set
  v1::PhaseStart* const phase = description.add_phases();
  phase->set_phase("head");
  phase->set_epochs(10);
  phase->set_learning_rate(0.01);
  const std::string text = FormatJobDescription(description);
  EXPECT_THAT(text, HasSubstr("\n# schedule.warmup_epochs: 0  # default: graft\n"
                              "# phase 1, head: 10 epochs, learning rate 0.01\n"
                              "#   trains the head only\n"));
  const auto back = ParseJobSpec(text, "printed");
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_TRUE(MessageDifferencer::Equals(*back, description.effective()));
}

}  // namespace
}  // namespace graft

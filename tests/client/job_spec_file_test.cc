#include "client/job_spec_file.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <utility>

#include "client/field_text.h"
#include "tests/client/test_files.h"

namespace graft {
namespace {

using google::protobuf::FieldDescriptor;
using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

// The spec as proto text, or the error's message.
std::string Parse(const std::string& text) {
  const auto spec = ParseJobSpec(text, "spec.yaml");
  EXPECT_TRUE(spec.ok() || absl::IsInvalidArgument(spec.status())) << spec.status();
  return spec.ok() ? spec->ShortDebugString() : std::string(spec.status().message());
}

std::string Set(const std::string& path, const std::string& text) {
  v1::JobSpec spec;
  const absl::Status status = SetField(&spec, path, text);
  EXPECT_TRUE(status.ok() || absl::IsInvalidArgument(status)) << status;
  return status.ok() ? spec.ShortDebugString() : std::string(status.message());
}

TEST(JobSpecFileTest, ReadsYaml) {
  EXPECT_EQ(Parse("# a comment\n"
                  "dataset: flowers\n"
                  "strategy: fine-tune\n"
                  "optimizer: {type: adamw, weight_decay: 0.01}\n"
                  "fine_tune:\n"
                  "  unfreeze_stages: 2\n"
                  "seed: 18446744073709551615\n"
                  "augmentation:\n"
                  "  preset: none\n"
                  "  views: 0\n"),
            "dataset: \"flowers\" strategy: STRATEGY_FINE_TUNE seed: 18446744073709551615 "
            "fine_tune { unfreeze_stages: 2 } optimizer { type: OPTIMIZER_TYPE_ADAMW weight_decay: 0.01 } "
            "augmentation { preset: \"none\" views: 0 }");
}

TEST(JobSpecFileTest, ReadsJson) {
  EXPECT_EQ(Parse("{\"dataset\":\"flowers\",\"optimizer\":{\"type\":\"OPTIMIZER_TYPE_SGD\",\"nesterov\":true},\n"
                  "\t\"epochs\":3,\"learning_rate\":1e-3,\n\t\"seed\":\"9\"}\n"),
            "dataset: \"flowers\" epochs: 3 learning_rate: 0.001 seed: 9 "
            "optimizer { type: OPTIMIZER_TYPE_SGD nesterov: true }");
}

TEST(JobSpecFileTest, TextMayLookLikeANumber) { EXPECT_EQ(Parse("dataset: 102\n"), "dataset: \"102\""); }

TEST(JobSpecFileTest, ReadsAListOfTexts) {
  EXPECT_EQ(Parse("auto: {budget_seconds: 60, backbones: [a, 'b,c', 5]}"),
            "auto { budget_seconds: 60 backbones: \"a\" backbones: \"b,c\" backbones: \"5\" }");
  EXPECT_EQ(Parse("auto:\n  backbones:\n  - a\n  - b\n"), "auto { backbones: \"a\" backbones: \"b\" }");
  EXPECT_EQ(Parse("{\"auto\":{\"backbones\":[\"a\",\"b\"]}}"), "auto { backbones: \"a\" backbones: \"b\" }");
  EXPECT_EQ(Parse("auto: {backbones: []}"), "auto { }");
}

// `count` times "a", with commas between.
std::string ManyTexts(int count) {
  std::string text = "a";
  for (int i = 1; i < count; ++i) text += ",a";
  return text;
}

TEST(JobSpecFileTest, AListHasAtMost1000Texts) {
  const auto spec = ParseJobSpec("auto: {backbones: [" + ManyTexts(1000) + "]}", "spec.yaml");
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->auto_().backbones_size(), 1000);
  EXPECT_EQ(Parse("epochs: 3\nauto: {backbones: [" + ManyTexts(1001) + "]}"),
            "spec.yaml:2: auto.backbones: got 1001 texts, want at most 1000");
}

class EnumFormTest : public testing::TestWithParam<const char*> {};

TEST_P(EnumFormTest, IsOneCycle) {
  EXPECT_EQ(Parse(std::string("schedule: {type: ") + GetParam() + "}"),
            "schedule { type: SCHEDULE_TYPE_ONE_CYCLE }");
}

INSTANTIATE_TEST_SUITE_P(JobSpecFile, EnumFormTest,
                         testing::Values("one-cycle", "one_cycle", "ONE_CYCLE", "SCHEDULE_TYPE_ONE_CYCLE",
                                         "schedule_type_one_cycle"));

struct Refused {
  const char* text;
  const char* message;  // its end
};

class RefusedSpecTest : public testing::TestWithParam<Refused> {};

TEST_P(RefusedSpecTest, NamesLineAndField) {
  EXPECT_THAT(Parse(GetParam().text), AllOf(StartsWith("spec.yaml"), EndsWith(GetParam().message)));
}

INSTANTIATE_TEST_SUITE_P(
    JobSpecFile, RefusedSpecTest,
    testing::Values(
        Refused{"epochs: 1\n\noptimizer:\n  momentun: 0.9\n",
                "spec.yaml:4: optimizer.momentun: got an unknown field, want one of type, momentum, nesterov, beta1, "
                "beta2, smoothing, epsilon, history, weight_decay"},
        Refused{"epochs: many", "spec.yaml:1: epochs: got \"many\", want a whole number, -2147483648 to 2147483647"},
        Refused{"epochs: 3.0", "epochs: got \"3.0\", want a whole number, -2147483648 to 2147483647"},
        Refused{"epochs: 2147483648", "got \"2147483648\", want a whole number, -2147483648 to 2147483647"},
        Refused{"seed: -1", "seed: got \"-1\", want a whole number, 0 to 18446744073709551615"},
        Refused{"learning_rate: fast", "learning_rate: got \"fast\", want a number"},
        Refused{"learning_rate: nan", "learning_rate: got \"nan\", want a number"},
        Refused{"learning_rate: 1e999", "learning_rate: got \"1e999\", want a number"},
        Refused{"learning_rate: \"0.1\"", "learning_rate: got the text \"0.1\", want a number"},
        Refused{"epochs: '3'", "epochs: got the text \"3\", want a whole number, -2147483648 to 2147483647"},
        Refused{"optimizer: {nesterov: yes}", "optimizer.nesterov: got \"yes\", want true or false"},
        Refused{"head: {type: deep}", "head.type: got \"deep\", want one of linear, mlp, linear-svm, cosine"},
        Refused{"epochs: [1, 2]", "epochs: got a list, want a whole number, -2147483648 to 2147483647"},
        Refused{"dataset: {name: x}", "dataset: got a mapping, want a text"},
        Refused{"dataset:\nepochs: 3", "spec.yaml:1: dataset: got nothing, want a text"},
        Refused{"auto: {backbones: a}", "auto.backbones: got \"a\", want a list of texts, as in [a, b]"},
        Refused{"auto: {backbones: 'a,b'}",
                "auto.backbones: got the text \"a,b\", want a list of texts, as in [a, b]"},
        Refused{"auto: {backbones: {a: b}}", "auto.backbones: got a mapping, want a list of texts, as in [a, b]"},
        Refused{"auto:\n  backbones:\n",
                "spec.yaml:2: auto.backbones: got nothing, want a list of texts, as in [a, b]"},
        Refused{"auto:\n  backbones:\n  - a\n  - [b]\n", "spec.yaml:4: auto.backbones[1]: got a list, want a text"},
        Refused{"auto: {backbones: [{a: b}]}", "auto.backbones[0]: got a mapping, want a text"},
        Refused{"auto: {backbones: [a, null]}", "auto.backbones[1]: got nothing, want a text"},
        Refused{"optimizer: sgd", "optimizer: got \"sgd\", want a mapping, as in {type: ...}"},
        Refused{"optimizer:\n", "optimizer: got nothing, want a mapping, as in {type: ...}"},
        Refused{"epochs: 1\nseed: 2\nepochs: 3\n",
                "spec.yaml:3: epochs: got the field twice, first in line 1, want it once"},
        Refused{"{\"epochs\": 1,\n \"epochs\": 1}",
                "spec.yaml:2: epochs: got the field twice, first in line 1, want it once"},
        Refused{"? [a]\n: 1", "spec.yaml:1: got a list as the name of a field, want a text"},
        Refused{"- epochs", "spec.yaml:1: got a list, want a mapping of fields"},
        Refused{"epochs", "spec.yaml:1: got \"epochs\", want a mapping of fields"},
        Refused{"", "spec.yaml: got nothing, want a YAML or JSON document"},
        Refused{"epochs: 1\n---\nepochs: 2\n", "spec.yaml:2: got a second document, want one"},
        Refused{"dataset: &a x\n", "spec.yaml:1: got an anchor, want none"},
        Refused{"dataset: a\nmodel: !!str x\n", "spec.yaml:2: got a tag, want none"}));

TEST(JobSpecFileTest, NotYamlNamesTheLine) {
  EXPECT_THAT(Parse("epochs: 1\nhead: {type: mlp\n"), StartsWith("spec.yaml:"));
  EXPECT_THAT(Parse("epochs: 1\n\"head"), StartsWith("spec.yaml:"));
  EXPECT_THAT(Parse("model: *nobody"), StartsWith("spec.yaml:1: "));
}

// Each line stands for ten of the line before.
TEST(JobSpecFileTest, ABillionLaughsAreRefused) {
  EXPECT_EQ(Parse("a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"),
            "spec.yaml:1: got an anchor, want none");
}

TEST(JobSpecFileTest, NestingIsBounded) {
  EXPECT_THAT(Parse("head: " + std::string(15, '[') + std::string(15, ']')), HasSubstr("head: got a list"));
  EXPECT_EQ(Parse("head: " + std::string(16, '[') + std::string(16, ']')),
            "spec.yaml:1: got values nested deeper than 16, want at most that");
  EXPECT_THAT(Parse(std::string(100000, '[')), StartsWith("spec.yaml:1: "));
  EXPECT_THAT(Parse(std::string(100000, '{')), StartsWith("spec.yaml:1: "));
}

TEST(JobSpecFileTest, AllProblemsAreTold) {
  EXPECT_EQ(Parse("epochs: x\noptimizer:\n  momentum: y\n"),
            "spec.yaml:1: epochs: got \"x\", want a whole number, -2147483648 to 2147483647\n"
            "spec.yaml:3: optimizer.momentum: got \"y\", want a number");
}

TEST(JobSpecFileTest, TwentyProblemsAreListedAndTheRestCounted) {
  std::string text;
  for (int i = 0; i < 23; ++i) text += "k" + std::to_string(i) + ": 1\n";
  const std::string message = Parse(text);
  EXPECT_EQ(std::count(message.begin(), message.end(), '\n'), 20);
  EXPECT_THAT(message, EndsWith("\nspec.yaml: and 3 more"));
}

TEST(JobSpecFileTest, AMessageStaysOneShortLine) {
  EXPECT_THAT(Parse("epochs: \"" + std::string(5000, 'x') + "\\e[2J\""),
              EndsWith("got the text \"" + std::string(60, 'x') +
                       "...\", want a whole number, -2147483648 to 2147483647"));
  EXPECT_THAT(Parse("\"a\\e[2J\": 1"), HasSubstr("a?[2J: got an unknown field"));
}

TEST(JobSpecFileTest, FileIsNamedInItsErrors) {
  const std::string path = MakeFile(TestFolder() / "my.yaml", "epochs: 3\nepoch: 4\n");
  EXPECT_THAT(std::string(ReadJobSpec(path).status().message()), StartsWith(path + ":2: epoch: got an unknown field"));
}

TEST(JobSpecFileTest, ReadsAFile) {
  const auto spec = ReadJobSpec(MakeFile(TestFolder() / "my.yaml", "epochs: 3\n"));
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->epochs(), 3);
}

TEST(JobSpecFileTest, MissingFileIsNotFound) {
  EXPECT_TRUE(absl::IsNotFound(ReadJobSpec((TestFolder() / "none").string()).status()));
}

TEST(JobSpecFileTest, AFolderCannotBeRead) { EXPECT_FALSE(ReadJobSpec(TestFolder().string()).ok()); }

TEST(JobSpecFileTest, FileOfMoreThanAMebibyteIsInvalid) {
  const std::string mebibyte = "epochs: 3\n" + std::string((1 << 20) - 10, '#');
  const auto folder = TestFolder();
  EXPECT_TRUE(ReadJobSpec(MakeFile(folder / "fits", mebibyte)).ok());
  EXPECT_THAT(std::string(ReadJobSpec(MakeFile(folder / "large", mebibyte + "#")).status().message()),
              EndsWith("large: got a larger file, want at most 1048576 bytes"));
}

TEST(SetFieldTest, SetsALeafOfAnyDepth) {
  EXPECT_EQ(Set("epochs", "3"), "epochs: 3");
  EXPECT_EQ(Set("optimizer.momentum", "0.8"), "optimizer { momentum: 0.8 }");
  EXPECT_EQ(Set("strategy", "frozen-head"), "strategy: STRATEGY_FROZEN_HEAD");
  EXPECT_EQ(Set("model", "a=b"), "model: \"a=b\"");
}

TEST(SetFieldTest, RefusesAsAFileDoes) {
  EXPECT_EQ(Set("optimizer.momentum", "x"), "optimizer.momentum: got \"x\", want a number");
  EXPECT_THAT(Set("optimizer.momentun", "0.8"), StartsWith("optimizer.momentun: got an unknown field, want one of "));
  EXPECT_THAT(Set("", "1"), StartsWith(": got an unknown field, want one of dataset, "));
  EXPECT_THAT(Set("optimizer.", "1"), StartsWith("optimizer.: got an unknown field, want one of type, "));
  EXPECT_EQ(Set("optimizer", "sgd"), "optimizer: got \"sgd\", want one of its fields set, as in optimizer.type");
  EXPECT_EQ(Set("epochs.x", "1"), "epochs.x: got a field of epochs, want none");
  EXPECT_EQ(Set("epochs", "2147483648"),
            "epochs: got \"2147483648\", want a whole number, -2147483648 to 2147483647");
}

TEST(SetFieldTest, PartsAListByCommas) {
  EXPECT_EQ(Set("auto.backbones", "a"), "auto { backbones: \"a\" }");
  EXPECT_EQ(Set("auto.backbones", "b, a"), "auto { backbones: \"b\" backbones: \"a\" }");
}

TEST(SetFieldTest, AListReplacesTheOneBefore) {
  v1::JobSpec spec;
  spec.mutable_auto_()->add_backbones("old");
  ASSERT_TRUE(SetField(&spec, "auto.backbones", "a,b").ok());
  EXPECT_EQ(spec.ShortDebugString(), "auto { backbones: \"a\" backbones: \"b\" }");
  ASSERT_TRUE(SetField(&spec, "auto.backbones", "").ok());
  EXPECT_EQ(spec.auto_().backbones_size(), 0);
}

TEST(SetFieldTest, RefusesAWrongList) {
  for (const std::string text : {",", "a,", ",a", "a, ,b"}) {
    EXPECT_EQ(Set("auto.backbones", text),
              "auto.backbones: got \"" + text + "\", want texts parted by commas, as in a,b");
  }
  EXPECT_EQ(Set("auto.backbones", ManyTexts(1001)), "auto.backbones: got 1001 texts, want at most 1000");
  EXPECT_EQ(Set("auto.backbones.x", "a"), "auto.backbones.x: got a field of backbones, want none");
}

TEST(SetFieldTest, ChangesNothingOnAnError) {
  v1::JobSpec spec;
  EXPECT_FALSE(SetField(&spec, "optimizer.momentum", "x").ok());
  EXPECT_FALSE(spec.has_optimizer());
}

// SetFieldText and FieldText know only some types of fields: a new one in job.proto must be among them.
void CheckEveryFieldReadsBack(const google::protobuf::Descriptor* type, const std::string& path) {
  for (int i = 0; i < type->field_count(); ++i) {
    const FieldDescriptor* const field = type->field(i);
    const std::string field_path = path + field->name();
    if (field->is_repeated()) {
      ASSERT_EQ(field->cpp_type(), FieldDescriptor::CPPTYPE_STRING) << field_path;
      continue;
    }
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      CheckEveryFieldReadsBack(field->message_type(), field_path + ".");
      continue;
    }
    std::string text = "1";
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_BOOL) text = "true";
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_ENUM) text = EnumWords(field->enum_type()).back();
    v1::JobSpec spec;
    const absl::Status status = SetField(&spec, field_path, text);
    ASSERT_TRUE(status.ok()) << status;
    const google::protobuf::Message* message = &spec;
    if (!path.empty()) {
      const std::string parent = path.substr(0, path.size() - 1);
      message = &spec.GetReflection()->GetMessage(spec, spec.GetDescriptor()->FindFieldByName(parent));
    }
    EXPECT_EQ(FieldText(*message, field), text) << field_path;
  }
}

TEST(FieldTextTest, EveryFieldOfAJobSpecReadsBack) { CheckEveryFieldReadsBack(v1::JobSpec::descriptor(), ""); }

TEST(FieldTextTest, DoublesReadBackToTheLastBit) {
  const FieldDescriptor* const field = v1::JobSpec::descriptor()->FindFieldByName("learning_rate");
  for (const double value : {1.0 / 2.6, 1e-8, 0.1 + 0.2, 5e-324, -2.2250738585072014e-308, 30.0}) {
    v1::JobSpec spec;
    spec.set_learning_rate(value);
    const std::string text = FieldText(spec, field);
    v1::JobSpec back;
    ASSERT_TRUE(SetFieldText(text, field, &back).ok()) << text;
    EXPECT_EQ(back.learning_rate(), value) << text;
  }
}

}  // namespace
}  // namespace graft

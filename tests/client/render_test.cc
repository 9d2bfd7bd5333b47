#include "client/render.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <sstream>
#include <string>

#include "client/event_view.h"
#include "client/format.h"

namespace graft {
namespace {

using testing::HasSubstr;
using testing::Not;

v1::JobEvent Progress(int64_t done, int64_t total) {
  v1::JobEvent event;
  event.mutable_progress()->set_activity("features");
  event.mutable_progress()->set_done(done);
  event.mutable_progress()->set_total(total);
  event.mutable_progress()->set_images_per_second(50);
  return event;
}

v1::JobEvent Warn(const std::string& message) {
  v1::JobEvent event;
  event.mutable_warning()->set_message(message);
  return event;
}

v1::Evaluation SampleEvaluation() {
  v1::Evaluation evaluation;
  evaluation.set_split(v1::SPLIT_TEST);
  evaluation.set_image_count(1200);
  evaluation.set_accuracy(0.942);
  evaluation.set_accuracy_low(0.921);
  evaluation.set_accuracy_high(0.958);
  auto* c = evaluation.add_classes();
  c->set_name("rose");
  c->set_precision(0.5);
  c->set_support(7);
  return evaluation;
}

TEST(FormatTest, Numbers) {
  EXPECT_EQ(FormatCount(0), "0");
  EXPECT_EQ(FormatCount(999), "999");
  EXPECT_EQ(FormatCount(1234567), "1,234,567");
  EXPECT_EQ(FormatCount(-1234), "-1,234");
  EXPECT_EQ(FormatBytes(512), "512 B");
  EXPECT_EQ(FormatBytes(1536), "1.5 KiB");
  EXPECT_EQ(FormatBytes(int64_t{5} << 40), "5.0 TiB");
  EXPECT_EQ(FormatPercent(0.9312), "93.1 %");
}

TEST(FormatTest, Seconds) {
  EXPECT_EQ(FormatSeconds(4.6), "5 s");
  EXPECT_EQ(FormatSeconds(65), "1m05s");
  EXPECT_EQ(FormatSeconds(7380), "2h03m");
  EXPECT_EQ(FormatSeconds(-1), "?");
}

TEST(FormatTest, TimestampThatIsNotSetIsEmpty) {
  google::protobuf::Timestamp time;
  EXPECT_EQ(FormatTime(time), "");
  time.set_seconds(1714564800);
  EXPECT_EQ(FormatTime(time), "2024-05-01 12:00:00 UTC");
}

TEST(FormatTest, EnumsReadLikeTheCommandsOptions) {
  EXPECT_EQ(FormatState(v1::JOB_STATE_SUCCEEDED), "succeeded");
  EXPECT_EQ(FormatStrategy(v1::STRATEGY_FINE_TUNE), "fine-tune");
  EXPECT_EQ(FormatInterpolation(v1::INTERPOLATION_BICUBIC), "bicubic");
}

TEST(FormatTest, ControlCharactersDoNotReachTheTerminal) { EXPECT_EQ(Printable("a\033[2Jb\nc"), "a?[2Jb c"); }

TEST(TableTest, AlignedHasHeaderAndColumns) {
  Table table({{"NAME", false}, {"N", true}});
  table.AddRow({"Gänse", "5"});
  table.AddRow({"a", "1000"});
  EXPECT_EQ(table.Render(true),
            "NAME      N\n"
            "Gänse     5\n"
            "a      1000\n");
}

TEST(TableTest, PlainIsTabsWithoutHeader) {
  Table table({{"NAME", false}, {"N", true}});
  table.AddRow({"a", "5"});
  EXPECT_EQ(table.Render(false), "a\t5\n");
}

TEST(ProgressBarTest, ShowsShareAndSuffix) {
  EXPECT_EQ((ProgressBar{"upload", 1, 4, "of 4"}.Render(80)),
            "upload [#######-----------------------]  25 %  of 4");
}

TEST(ProgressBarTest, FitsANarrowTerminal) {
  const std::string bar = ProgressBar{"upload", 1, 4, "of 4"}.Render(35);
  EXPECT_LE(DisplayWidth(bar), 35u);
  EXPECT_THAT(bar, HasSubstr("25 %"));
}

TEST(ProgressBarTest, MoreThanAllIsFull) {
  EXPECT_THAT((ProgressBar{"x", 9, 4, ""}.Render(80)), HasSubstr("100 %"));
}

TEST(ProgressBarTest, UnknownTotalHasNoBar) { EXPECT_EQ((ProgressBar{"x", 1500, 0, "y"}.Render(80)), "x 1,500  y"); }

TEST(FormatEventTest, PhaseNamesStagesAndParameters) {
  v1::JobEvent event;
  auto* phase = event.mutable_phase();
  phase->set_phase("fine-tune");
  phase->set_index(1);
  phase->set_epochs(10);
  phase->set_learning_rate(0.001);
  phase->add_trained_stages("features.11");
  phase->add_trained_stages("features.12");
  phase->mutable_parameters()->set_trainable_backbone(1234);
  phase->mutable_parameters()->set_trainable_head(567);
  phase->mutable_parameters()->set_frozen(8900);
  EXPECT_EQ(FormatEvent(event, true),
            "phase 2, fine-tune: 10 epochs, learning rate 0.001\n"
            "  trains features.11, features.12\n"
            "  parameters: 1,234 of the backbone and 567 of the head trained, 8,900 frozen\n");
}

TEST(FormatEventTest, EpochIsOneLine) {
  v1::JobEvent event;
  auto* epoch = event.mutable_epoch();
  epoch->set_phase("head");
  epoch->set_epoch(3);
  epoch->set_phase_epochs(30);
  epoch->set_train_loss(0.43);
  epoch->set_train_accuracy(0.875);
  epoch->set_val_loss(0.52);
  epoch->set_val_accuracy(0.831);
  epoch->set_learning_rate(0.01);
  epoch->set_images_per_second(231.04);
  epoch->set_eta_seconds(65);
  EXPECT_EQ(FormatEvent(event, false),
            "head epoch 3/30  train loss 0.4300 acc 87.5 %  val loss 0.5200 acc 83.1 %  lr 0.01  231.0 images/s  "
            "ETA 1m05s\n");
}

TEST(FormatEventTest, EvaluationHasIntervalAndClasses) {
  const std::string text = FormatEvaluation(SampleEvaluation(), false);
  EXPECT_THAT(text, HasSubstr("accuracy 94.2 % (95 % interval 92.1 % to 95.8 %) on 1,200 images of the test split"));
  EXPECT_THAT(text, HasSubstr("rose\t0.500\t0.000\t0.000\t7\n"));
}

TEST(FormatEventTest, CheckpointsAreForPlainOutputOnly) {
  v1::JobEvent event;
  event.mutable_checkpoint()->set_phase("head");
  event.mutable_checkpoint()->set_epoch(2);
  event.mutable_checkpoint()->set_bytes(2048);
  EXPECT_EQ(FormatEvent(event, true), "");
  EXPECT_EQ(FormatEvent(event, false), "checkpoint after head epoch 2, 2.0 KiB\n");
}

TEST(FormatEventTest, StateNamesAttemptAndReason) {
  v1::JobEvent event;
  event.mutable_state()->set_state(v1::JOB_STATE_RUNNING);
  event.mutable_state()->set_attempt(2);
  event.mutable_state()->set_reason("worker lost its lease");
  EXPECT_EQ(FormatEvent(event, true), "running (attempt 2): worker lost its lease\n");
}

TEST(FormatEventTest, EventOfANewerServerSaysNothing) { EXPECT_EQ(FormatEvent(v1::JobEvent(), false), ""); }

TEST(EventViewTest, PlainProgressIsALineForEachTenth) {
  std::ostringstream out;
  EventView view(out, {false, 80});
  for (int i = 0; i <= 100; ++i) view.Show(Progress(i, 100));
  const std::string text = out.str();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 11);  // 0 %, 10 %, ... 100 %
  EXPECT_THAT(text, Not(HasSubstr("\033")));
}

TEST(EventViewTest, TerminalBarGivesWayToTheNextLine) {
  std::ostringstream out;
  EventView view(out, {true, 80});
  view.Show(Progress(50, 100));
  view.Show(Warn("hot"));
  EXPECT_THAT(out.str(), testing::StartsWith("\r\033[Kfeatures ["));
  EXPECT_THAT(out.str(), testing::EndsWith("\r\033[Kwarning: hot\n"));
}

}  // namespace
}  // namespace graft

#include "client/render.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <sstream>
#include <string>

#include "client/evaluation_text.h"
#include "client/event_view.h"
#include "client/format.h"

namespace graft {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

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
  EXPECT_EQ(FormatPercent(0.9312, 0.004), "93.1 ± 0.4 %");
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

TEST(FormatEventTest, AFoundLearningRateIsOneLine) {
  v1::JobEvent event;
  v1::LearningRateFound& found = *event.mutable_learning_rate();
  found.set_phase("fine-tune");
  EXPECT_EQ(FormatEvent(event, false), "learning rate finder, fine-tune: no suggestion: the loss hardly fell\n");
  found.set_minimum(0.1301);
  EXPECT_EQ(FormatEvent(event, true),
            "learning rate finder, fine-tune: no suggestion: the loss hardly fell, the loss is smallest at 0.13\n");
  found.set_suggestion(0.004219);
  EXPECT_EQ(FormatEvent(event, true),
            "learning rate finder, fine-tune: 0.00422 is suggested, not used, the loss is smallest at 0.13\n");
  found.set_applied(true);
  EXPECT_EQ(FormatEvent(event, true),
            "learning rate finder, fine-tune: 0.00422 is used, the loss is smallest at 0.13\n");
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

TEST(FormatEventTest, EpochWithEarlyStoppingHasHeldOutMetricsAtItsEnd) {
  v1::JobEvent event;
  event.mutable_epoch()->set_phase("head");
  event.mutable_epoch()->set_held_out_loss(0.61);
  event.mutable_epoch()->set_held_out_accuracy(0.8);
  EXPECT_THAT(FormatEvent(event, false), EndsWith("ETA 0 s  held-out loss 0.6100 acc 80.0 %\n"));
  event.mutable_epoch()->set_best(true);
  EXPECT_THAT(FormatEvent(event, false), EndsWith("ETA 0 s  held-out loss 0.6100 acc 80.0 %  best so far\n"));
  event.mutable_epoch()->set_held_out_macro_f1(0.75);
  EXPECT_THAT(FormatEvent(event, false), EndsWith("held-out loss 0.6100 acc 80.0 % macro F1 0.750  best so far\n"));
}

// Whoever reads plain output by lines and tabs reads the same as before.
TEST(FormatEventTest, EvaluationOfAnOlderServerIsAsItWas) {
  EXPECT_EQ(FormatEvaluation(SampleEvaluation(), false),
            "accuracy 94.2 % (95 % interval 92.1 % to 95.8 %) on 1,200 images of the test split, loss 0.0000, "
            "calibration error 0.0000\n"
            "rose\t0.500\t0.000\t0.000\t7\n");
}

TEST(FormatEventTest, EvaluationHasCalibration) {
  v1::Evaluation evaluation = SampleEvaluation();
  evaluation.set_expected_calibration_error(0.02);
  evaluation.set_temperature(1.35);
  evaluation.set_uncalibrated_error(0.05);
  evaluation.set_brier_score(0.13);
  evaluation.set_uncalibrated_brier_score(0.15);
  const std::string text = FormatEvaluation(evaluation, false);
  EXPECT_THAT(text, HasSubstr("calibration: error 0.0200 at temperature 1.350, 0.0500 without\n"));
  EXPECT_THAT(text, HasSubstr("Brier score 0.1300, 0.1500 uncalibrated\n"));
}

TEST(FormatTest, ScoreOfAMultiLabelModelIsItsMap) {
  v1::Evaluation evaluation = SampleEvaluation();
  EXPECT_EQ(FormatScore(evaluation), "94.2 %");
  evaluation.mutable_multi_label()->set_mean_average_precision(0.812);
  EXPECT_EQ(FormatScore(evaluation), "mAP 81.2 %");
}

TEST(FormatEventTest, MultiLabelEvaluationHasItsOwnNumbers) {
  v1::Evaluation evaluation = SampleEvaluation();
  evaluation.mutable_classes(0)->set_average_precision(0.875);
  evaluation.mutable_multi_label()->set_mean_average_precision(0.812);
  evaluation.mutable_multi_label()->set_micro_f1(0.8);
  evaluation.mutable_multi_label()->set_macro_f1(0.75);
  evaluation.mutable_multi_label()->set_hamming_loss(0.05);
  EXPECT_THAT(FormatEvaluation(evaluation, true),
              StartsWith("mAP 81.2 %, F1 0.800 micro, 0.750 macro, Hamming loss 0.0500\n"
                         "all classes right 94.2 % (95 % interval 92.1 % to 95.8 %) on 1,200 images of the test split, "
                         "loss 0.0000, calibration error 0.0000\n"
                         "CLASS  PRECISION  RECALL     F1  IMAGES     AP\n"
                         "rose       0.500   0.000  0.000       7  0.875\n"));
}

TEST(FormatEventTest, SuspectsOfAMultiLabelEvaluationAreOneDecisionEach) {
  v1::Evaluation evaluation = SampleEvaluation();
  v1::SuspectPicture* const missed = evaluation.add_mistakes();
  missed->set_file_name("a.jpg");
  missed->set_label("rose");
  missed->set_confidence(0.97);
  v1::SuspectPicture* const added = evaluation.add_mistakes();
  added->set_file_name("b.jpg");
  added->set_predicted("rose");
  added->set_confidence(0.91);
  EXPECT_THAT(FormatEvaluation(evaluation, false),
              HasSubstr("most confident mistakes:\n"
                        "  a.jpg: labelled rose, the network says no with 97.0 %\n"
                        "  b.jpg: not labelled rose, the network says yes with 91.0 %\n"));
}

TEST(FormatEventTest, EvaluationTellsTheLastEpochsAccuracyWhenItIsAnother) {
  v1::Evaluation evaluation = SampleEvaluation();
  evaluation.set_last_accuracy(evaluation.accuracy());
  EXPECT_THAT(FormatEvaluation(evaluation, false), Not(HasSubstr("last epoch")));
  evaluation.set_last_accuracy(0.93);
  EXPECT_THAT(FormatEvaluation(evaluation, false),
              HasSubstr("accuracy of the last epoch's weights: 93.0 %\n"));
}

TEST(FormatEventTest, EvaluationHasThresholdsWhereAClassHasOne) {
  v1::Evaluation evaluation = SampleEvaluation();
  evaluation.add_classes()->set_name("tulip");
  evaluation.mutable_classes(0)->set_threshold(0.8);
  evaluation.mutable_classes(0)->set_threshold_precision(0.96);
  evaluation.mutable_classes(0)->set_threshold_recall(0.4);
  EXPECT_THAT(FormatEvaluation(evaluation, false),
              HasSubstr("thresholds, from which on a class reaches the precision asked for on validation:\n"
                        "  rose: 0.8000 (precision 0.960, recall 0.400)\n"
                        "  tulip: none\n"));
}

TEST(FormatEventTest, EvaluationHasCrossValidation) {
  v1::Evaluation evaluation = SampleEvaluation();
  evaluation.mutable_cross_validation()->set_folds(5);
  evaluation.mutable_cross_validation()->set_accuracy_mean(0.912);
  evaluation.mutable_cross_validation()->set_accuracy_standard_deviation(0.013);
  EXPECT_THAT(FormatEvaluation(evaluation, false), HasSubstr("cross-validation, 5 folds: accuracy 91.2 ± 1.3 %\n"));
  evaluation.mutable_cross_validation()->set_images(8192);
  EXPECT_THAT(FormatEvaluation(evaluation, false),
              HasSubstr("cross-validation on 8,192 images, 5 folds: accuracy 91.2 ± 1.3 %\n"));
}

TEST(FormatEventTest, EvaluationHasTheLearningCurveWithItsForecast) {
  v1::Evaluation evaluation = SampleEvaluation();
  v1::LearningCurve* const curve = evaluation.mutable_learning_curve();
  v1::LearningCurve::Point* const point = curve->add_points();
  point->set_images(1200);
  point->set_error(0.15);
  point->set_standard_deviation(0.01);
  EXPECT_THAT(FormatEvaluation(evaluation, false),
              HasSubstr("learning curve:\n"
                        "  1,200 images: error 15.0 ± 1.0 %\n"
                        "  no forecast: the points follow no curve\n"));
  curve->set_fits(true);
  curve->set_error_at_twice(0.1);
  curve->set_error_at_twice_low(0.09);
  curve->set_error_at_twice_high(0.12);
  EXPECT_THAT(FormatEvaluation(evaluation, false),
              EndsWith("  forecast for twice the images: error 10.0 % (9.0 % to 12.0 %)\n"));
}

TEST(FormatEventTest, EvaluationNamesFiveSuspectPicturesOfEachKind) {
  v1::Evaluation evaluation = SampleEvaluation();
  for (int i = 0; i < 7; ++i) {
    v1::SuspectPicture* const picture = evaluation.add_mistakes();
    picture->set_file_name("rose/" + std::to_string(i) + ".jpg");
    picture->set_label("rose");
    picture->set_predicted("tulip");
    picture->set_confidence(0.982);
  }
  *evaluation.add_label_issues() = evaluation.mistakes(0);
  evaluation.mutable_label_issues(0)->set_file_name("a\033[2J");
  const std::string text = FormatEvaluation(evaluation, false);
  EXPECT_THAT(text, HasSubstr("most confident mistakes:\n"
                              "  rose/0.jpg: labelled rose, predicted tulip with 98.2 %\n"));
  EXPECT_THAT(text, HasSubstr("  rose/4.jpg: labelled rose, predicted tulip with 98.2 %\n"
                              "  and 2 more\n"
                              "labels that are probably errors:\n"
                              "  a?[2J: labelled rose, predicted tulip with 98.2 %\n"));
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
  event.mutable_checkpoint()->set_images(1600);
  EXPECT_EQ(FormatEvent(event, false), "checkpoint after head epoch 2, 2.0 KiB, with 1,600 images of the next\n");
}

TEST(FormatEventTest, StateNamesAttemptAndReason) {
  v1::JobEvent event;
  event.mutable_state()->set_state(v1::JOB_STATE_RUNNING);
  event.mutable_state()->set_attempt(2);
  event.mutable_state()->set_reason("worker lost its lease");
  EXPECT_EQ(FormatEvent(event, true), "running (attempt 2): worker lost its lease\n");
}

v1::AutoReport SampleAutoReport() {
  v1::AutoReport report;
  v1::AutoReport::RankedBackbone* const backbone = report.add_backbones();
  backbone->set_name("resnet18");
  backbone->set_accuracy(0.912);
  backbone->set_standard_deviation(0.013);
  backbone->set_log_loss(0.31236);
  backbone->set_log_me(-0.5);
  backbone->set_seconds(12.3);
  report.add_backbones()->set_name("b\033[2J");
  v1::AutoReport::Training* const tried = report.add_trainings();
  tried->set_backbone("resnet18");
  tried->set_what("a linear head");
  tried->set_accuracy(0.92);
  tried->set_standard_error(0.011);
  tried->set_seconds(65);
  tried->set_chosen(true);
  v1::AutoReport::Training* const skipped = report.add_trainings();
  skipped->set_backbone("resnet18");
  skipped->set_what("fine-tune the last 3 stages");
  v1::AutoReport::Training* const stopped = report.add_trainings();
  stopped->set_backbone("resnet18");
  stopped->set_what("fine-tune all");
  stopped->set_seconds(720);
  report.add_reasons("The head was good enough.");
  report.add_reasons("two\nlines");
  return report;
}

TEST(FormatEventTest, AutoReportIsTwoTablesAndTheReasons) {
  v1::JobEvent event;
  *event.mutable_auto_report() = SampleAutoReport();
  EXPECT_EQ(FormatEvent(event, true),
            "backbones by a linear probe, best first:\n"
            "BACKBONE      ACCURACY  LOG-LOSS    LOGME  TIME\n"
            "resnet18  91.2 ± 1.3 %    0.3124  -0.5000  12 s\n"
            "b?[2J      0.0 ± 0.0 %    0.0000   0.0000   0 s\n"
            "trainings, on pictures held out:\n"
            "BACKBONE  TRAINING                         ACCURACY    TIME\n"
            "resnet18  a linear head                92.0 ± 1.1 %   1m05s  chosen\n"
            "resnet18  fine-tune the last 3 stages     not tried\n"
            "resnet18  fine-tune all                   no result  12m00s\n"
            "The head was good enough.\n"
            "two lines\n");
}

TEST(FormatEventTest, PlainAutoReportHasTabs) {
  v1::JobEvent event;
  *event.mutable_auto_report() = SampleAutoReport();
  EXPECT_EQ(FormatEvent(event, false),
            "backbones by a linear probe, best first:\n"
            "resnet18\t91.2 ± 1.3 %\t0.3124\t-0.5000\t12 s\n"
            "b?[2J\t0.0 ± 0.0 %\t0.0000\t0.0000\t0 s\n"
            "trainings, on pictures held out:\n"
            "resnet18\ta linear head\t92.0 ± 1.1 %\t1m05s\tchosen\n"
            "resnet18\tfine-tune the last 3 stages\tnot tried\t\t\n"
            "resnet18\tfine-tune all\tno result\t12m00s\t\n"
            "The head was good enough.\n"
            "two lines\n");
}

TEST(FormatEventTest, AutoReportLeavesOutTheTablesThatAreEmpty) {
  v1::AutoReport report;
  report.add_reasons("There was one backbone only.");
  EXPECT_EQ(FormatAutoReport(report, true), "There was one backbone only.\n");
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

#include "server/jobs/encode.h"

#include <optional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "google/protobuf/descriptor.h"
#include "gtest/gtest.h"

namespace graft {
namespace {

using testing::ElementsAre;

TEST(EncodeTest, TimestampsBefore1970CountNanosForward) {
  const google::protobuf::Timestamp stamp = ToTimestamp(absl::UnixEpoch() - absl::Milliseconds(250));
  EXPECT_EQ(stamp.seconds(), -1);
  EXPECT_EQ(stamp.nanos(), 750'000'000);
}

TEST(EncodeTest, PreprocessingKeepsEveryField) {
  PreprocessSpec spec;
  spec.resize_px = 300;
  spec.crop_px = 260;
  spec.mean = {0.25f, 0.5f, 0.75f};
  spec.std = {1, 2, 3};
  spec.interpolation = Interpolation::kBicubic;
  const v1::Preprocessing proto = ToProto(spec);
  EXPECT_EQ(proto.resize_px(), 300);
  EXPECT_EQ(proto.crop_px(), 260);
  EXPECT_THAT(proto.mean(), ElementsAre(0.25f, 0.5f, 0.75f));
  EXPECT_THAT(proto.std(), ElementsAre(1, 2, 3));
  EXPECT_EQ(proto.interpolation(), v1::INTERPOLATION_BICUBIC);
  EXPECT_EQ(ToProto(PreprocessSpec()).interpolation(), v1::INTERPOLATION_BILINEAR);
}

// Every number another one.
Assessment FullAssessment() {
  Assessment a;
  a.evaluation.on_test = true;
  a.evaluation.image_count = 4;
  a.evaluation.accuracy = 0.75;
  a.evaluation.accuracy_interval = {0.3, 0.95};
  a.evaluation.loss = 0.5;
  a.evaluation.classes = {{"cat", 0.1, 0.2, 0.3, 3}, {"dog", 0.4, 0.55, 0.6, 1}};
  a.evaluation.confusion = {2, 1, 0, 1};
  a.evaluation.expected_calibration_error = 0.99;  // the calibration's counts
  a.calibration.temperature = 1.5;
  a.calibration.ece_before = 0.25;
  a.calibration.ece_after = 0.125;
  a.calibration.brier_before = 0.7;
  a.calibration.brier_after = 0.65;
  a.thresholds.resize(2);
  a.thresholds[1].reachable = true;
  a.thresholds[1].threshold = 0.8;
  a.thresholds[1].precision = 0.96;
  a.thresholds[1].recall = 0.45;
  a.mistakes = {{"m0.jpg", 0, 1, 0.97}, {"m1.jpg", 1, 0, 0.91}};
  a.label_issues = {{"l0.jpg", 1, 0, 0.88}};
  a.cross_validated = CrossValidated{5, 0.71, 0.02, {7, 2, 3, 8}, 20};
  a.learning_curve.emplace();
  a.learning_curve->points = {{10, 0.31, 0.05}, {20, 0.21, 0.04}};
  a.learning_curve->forecast.fits = true;
  a.learning_curve->forecast.error_at_twice = 0.15;
  a.learning_curve->forecast.low = 0.11;
  a.learning_curve->forecast.high = 0.19;
  a.last_accuracy = 0.625;
  a.evaluation.multi_label = MultiLabelMetrics{0.81, 0.72, 0.63, 0.05};
  a.evaluation.classes[1].average_precision = 0.77;
  return a;
}

TEST(EncodeTest, EvaluationKeepsEveryField) {
  const v1::Evaluation proto = ToProto(FullAssessment());
  EXPECT_EQ(proto.split(), v1::SPLIT_TEST);
  EXPECT_EQ(proto.image_count(), 4);
  EXPECT_EQ(proto.accuracy(), 0.75);
  EXPECT_EQ(proto.accuracy_low(), 0.3);
  EXPECT_EQ(proto.accuracy_high(), 0.95);
  EXPECT_EQ(proto.loss(), 0.5);
  ASSERT_EQ(proto.classes_size(), 2);
  EXPECT_EQ(proto.classes(1).name(), "dog");
  EXPECT_EQ(proto.classes(1).precision(), 0.4);
  EXPECT_EQ(proto.classes(1).recall(), 0.55);
  EXPECT_EQ(proto.classes(1).f1(), 0.6);
  EXPECT_EQ(proto.classes(1).support(), 1);
  EXPECT_EQ(proto.classes(1).average_precision(), 0.77);
  EXPECT_THAT(proto.confusion(), ElementsAre(2, 1, 0, 1));
  EXPECT_EQ(proto.last_accuracy(), 0.625);
}

TEST(EncodeTest, EvaluationLeavesNoFieldUnset) {
  const v1::Evaluation proto = ToProto(FullAssessment());
  std::vector<const google::protobuf::FieldDescriptor*> set;
  proto.GetReflection()->ListFields(proto, &set);
  EXPECT_EQ(static_cast<int>(set.size()), v1::Evaluation::descriptor()->field_count());
}

TEST(EncodeTest, CalibrationIsOfTheProbabilitiesThatAreServed) {
  const v1::Evaluation proto = ToProto(FullAssessment());
  EXPECT_EQ(proto.temperature(), 1.5);
  EXPECT_EQ(proto.expected_calibration_error(), 0.125);
  EXPECT_EQ(proto.uncalibrated_error(), 0.25);
  EXPECT_EQ(proto.brier_score(), 0.65);
  EXPECT_EQ(proto.uncalibrated_brier_score(), 0.7);
}

TEST(EncodeTest, ThresholdIsAbsentWhereNoneReachesThePrecision) {
  const v1::Evaluation proto = ToProto(FullAssessment());
  EXPECT_FALSE(proto.classes(0).has_threshold());
  ASSERT_TRUE(proto.classes(1).has_threshold());
  EXPECT_EQ(proto.classes(1).threshold(), 0.8);
  EXPECT_EQ(proto.classes(1).threshold_precision(), 0.96);
  EXPECT_EQ(proto.classes(1).threshold_recall(), 0.45);
}

TEST(EncodeTest, SuspectsNameTheirFileAndClasses) {
  const v1::Evaluation proto = ToProto(FullAssessment());
  ASSERT_EQ(proto.mistakes_size(), 2);
  EXPECT_EQ(proto.mistakes(0).file_name(), "m0.jpg");
  EXPECT_EQ(proto.mistakes(0).label(), "cat");
  EXPECT_EQ(proto.mistakes(0).predicted(), "dog");
  EXPECT_EQ(proto.mistakes(0).confidence(), 0.97);
  EXPECT_EQ(proto.mistakes(1).file_name(), "m1.jpg");
  ASSERT_EQ(proto.label_issues_size(), 1);
  EXPECT_EQ(proto.label_issues(0).file_name(), "l0.jpg");
  EXPECT_EQ(proto.label_issues(0).label(), "dog");
  EXPECT_EQ(proto.label_issues(0).predicted(), "cat");
}

TEST(EncodeTest, MultiLabelMetricsAreThereOfAMultiLabelDataset) {
  Assessment assessment = FullAssessment();
  const v1::MultiLabelMetrics proto = ToProto(assessment).multi_label();
  EXPECT_EQ(proto.mean_average_precision(), 0.81);
  EXPECT_EQ(proto.micro_f1(), 0.72);
  EXPECT_EQ(proto.macro_f1(), 0.63);
  EXPECT_EQ(proto.hamming_loss(), 0.05);
  assessment.evaluation.multi_label.reset();
  EXPECT_FALSE(ToProto(assessment).has_multi_label());
}

TEST(EncodeTest, SuspectsOfAMultiLabelDatasetLackOneSide) {
  Assessment assessment = FullAssessment();
  assessment.mistakes = {{"m0.jpg", 0, -1, 0.97}, {"m1.jpg", -1, 1, 0.91}};
  const v1::Evaluation proto = ToProto(assessment);
  EXPECT_EQ(proto.mistakes(0).label(), "cat");
  EXPECT_EQ(proto.mistakes(0).predicted(), "");
  EXPECT_EQ(proto.mistakes(1).label(), "");
  EXPECT_EQ(proto.mistakes(1).predicted(), "dog");
}

TEST(EncodeTest, CrossValidationAndLearningCurveAreThereWhenMeasured) {
  const v1::Evaluation proto = ToProto(FullAssessment());
  EXPECT_EQ(proto.cross_validation().folds(), 5);
  EXPECT_EQ(proto.cross_validation().accuracy_mean(), 0.71);
  EXPECT_EQ(proto.cross_validation().accuracy_standard_deviation(), 0.02);
  EXPECT_THAT(proto.cross_validation().confusion(), ElementsAre(7, 2, 3, 8));
  EXPECT_EQ(proto.cross_validation().images(), 20);
  const v1::LearningCurve& curve = proto.learning_curve();
  ASSERT_EQ(curve.points_size(), 2);
  EXPECT_EQ(curve.points(1).images(), 20);
  EXPECT_EQ(curve.points(1).error(), 0.21);
  EXPECT_EQ(curve.points(1).standard_deviation(), 0.04);
  EXPECT_TRUE(curve.fits());
  EXPECT_EQ(curve.error_at_twice(), 0.15);
  EXPECT_EQ(curve.error_at_twice_low(), 0.11);
  EXPECT_EQ(curve.error_at_twice_high(), 0.19);
  const v1::Evaluation plain = ToProto(Assessment());
  EXPECT_FALSE(plain.has_cross_validation());
  EXPECT_FALSE(plain.has_learning_curve());
}

TEST(EncodeTest, ListsComeWithoutWhatGrowsWithTheClasses) {
  v1::Evaluation proto = ToProto(FullAssessment());
  DropDetails(&proto);
  EXPECT_EQ(proto.accuracy(), 0.75);
  EXPECT_EQ(proto.temperature(), 1.5);
  EXPECT_EQ(proto.last_accuracy(), 0.625);
  std::vector<const google::protobuf::FieldDescriptor*> set;
  proto.GetReflection()->ListFields(proto, &set);
  for (const auto* field : set) {
    if (field->name() == "multi_label") continue;  // four numbers, one of which lists show
    EXPECT_FALSE(field->is_repeated() || field->message_type() != nullptr) << field->name();
  }
}

TEST(EncodeTest, EpochKeepsEveryField) {
  EpochMetrics epoch;
  epoch.phase = "fine-tune";
  epoch.epoch = 2;
  epoch.phase_epochs = 9;
  epoch.train_loss = 0.1;
  epoch.train_accuracy = 0.2;
  epoch.val_loss = 0.3;
  epoch.val_accuracy = 0.4;
  epoch.learning_rate = 0.5;
  epoch.images_per_second = 6;
  epoch.seconds = 7;
  epoch.eta_seconds = 8;
  epoch.held_out_loss = 0.9;
  epoch.held_out_accuracy = 0.95;
  epoch.held_out_macro_f1 = 0.85;
  epoch.best = true;
  const v1::EpochMetrics proto = ToProto(epoch);
  EXPECT_EQ(proto.phase(), "fine-tune");
  EXPECT_EQ(proto.epoch(), 2);
  EXPECT_EQ(proto.phase_epochs(), 9);
  EXPECT_EQ(proto.train_loss(), 0.1);
  EXPECT_EQ(proto.train_accuracy(), 0.2);
  EXPECT_EQ(proto.val_loss(), 0.3);
  EXPECT_EQ(proto.val_accuracy(), 0.4);
  EXPECT_EQ(proto.learning_rate(), 0.5);
  EXPECT_EQ(proto.images_per_second(), 6);
  EXPECT_EQ(proto.seconds(), 7);
  EXPECT_EQ(proto.eta_seconds(), 8);
  EXPECT_EQ(proto.held_out_loss(), 0.9);
  EXPECT_EQ(proto.held_out_accuracy(), 0.95);
  EXPECT_EQ(proto.held_out_macro_f1(), 0.85);
  EXPECT_TRUE(proto.best());
  EXPECT_FALSE(ToProto(EpochMetrics()).has_held_out_loss());
  EXPECT_FALSE(ToProto(EpochMetrics()).has_held_out_accuracy());
  EXPECT_FALSE(ToProto(EpochMetrics()).has_held_out_macro_f1());
}

TEST(EncodeTest, ReportOfAChoiceKeepsEveryField) {
  AutoReport report;
  report.backbones = {{"small", 0.9, 0.01, 0.3, -1.5, 12}};
  report.trainings = {{"small", "frozen head", 0.91, 0.02, 3, true},
                      {"small", "fine-tune", std::nullopt, 0, 40, false}};
  report.reasons = {"Because.", "And so."};
  const v1::AutoReport proto = ToProto(report);
  ASSERT_EQ(proto.backbones_size(), 1);
  EXPECT_EQ(proto.backbones(0).name(), "small");
  EXPECT_EQ(proto.backbones(0).accuracy(), 0.9);
  EXPECT_EQ(proto.backbones(0).standard_deviation(), 0.01);
  EXPECT_EQ(proto.backbones(0).log_loss(), 0.3);
  EXPECT_EQ(proto.backbones(0).log_me(), -1.5);
  EXPECT_EQ(proto.backbones(0).seconds(), 12);
  ASSERT_EQ(proto.trainings_size(), 2);
  EXPECT_EQ(proto.trainings(0).backbone(), "small");
  EXPECT_EQ(proto.trainings(0).what(), "frozen head");
  EXPECT_EQ(proto.trainings(0).accuracy(), 0.91);
  EXPECT_EQ(proto.trainings(0).standard_error(), 0.02);
  EXPECT_EQ(proto.trainings(0).seconds(), 3);
  EXPECT_TRUE(proto.trainings(0).chosen());
  EXPECT_FALSE(proto.trainings(1).has_accuracy()) << "not tried";
  EXPECT_FALSE(proto.trainings(1).chosen());
  EXPECT_THAT(proto.reasons(), ElementsAre("Because.", "And so."));
}

TEST(EncodeTest, PhaseStartSaysWhatIsTrained) {
  Phase phase;
  phase.name = "fine-tune";
  phase.epochs = 7;
  phase.split_point = 9;
  phase.head_learning_rate = 1e-3;
  PhaseStarted started;
  started.phase = &phase;
  started.index = 1;
  started.trained_stages = {"features.9", "features.10"};
  started.parameters = {10, 20, 30};

  const v1::PhaseStart proto = ToProto(started);

  EXPECT_EQ(proto.phase(), "fine-tune");
  EXPECT_EQ(proto.index(), 1);
  EXPECT_EQ(proto.epochs(), 7);
  EXPECT_EQ(proto.split_point(), 9);
  EXPECT_EQ(proto.learning_rate(), 1e-3);
  EXPECT_THAT(proto.trained_stages(), ElementsAre("features.9", "features.10"));
  EXPECT_EQ(proto.parameters().trainable_backbone(), 10);
  EXPECT_EQ(proto.parameters().trainable_head(), 20);
  EXPECT_EQ(proto.parameters().frozen(), 30);
}

TEST(EncodeTest, AFoundLearningRateHasItsPointsAndWhatThereIs) {
  LearningRateFound found;
  found.phase = "head";
  found.points = {{1e-3, 0.75}, {1e-2, 0.5}};
  v1::LearningRateFound proto = ToProto(found);
  EXPECT_EQ(proto.phase(), "head");
  ASSERT_EQ(proto.points_size(), 2);
  EXPECT_EQ(proto.points(1).learning_rate(), 1e-2);
  EXPECT_EQ(proto.points(1).loss(), 0.5);
  EXPECT_FALSE(proto.has_suggestion() || proto.has_minimum() || proto.applied());
  found.suggestion = 5e-3;
  found.minimum = 1e-2;
  found.applied = true;
  proto = ToProto(found);
  EXPECT_EQ(proto.suggestion(), 5e-3);
  EXPECT_EQ(proto.minimum(), 1e-2);
  EXPECT_TRUE(proto.applied());
}

TEST(EncodeTest, EventsGetSeqAndTimeFromTheirRecord) {
  EventRecord record;
  record.seq = 17;
  record.time = absl::UnixEpoch() + absl::Seconds(5);
  record.event_pb = EncodeStateChange(JobState::kFailed, 3, "why");

  const absl::StatusOr<v1::JobEvent> event = DecodeEvent(record);

  ASSERT_TRUE(event.ok()) << event.status();
  EXPECT_EQ(event->seq(), 17);
  EXPECT_EQ(event->time().seconds(), 5);
  EXPECT_EQ(event->state().state(), v1::JOB_STATE_FAILED);
  EXPECT_EQ(event->state().attempt(), 3);
  EXPECT_EQ(event->state().reason(), "why");
}

TEST(EncodeTest, DamagedEventIsDataLoss) {
  EventRecord record;
  record.event_pb = "\xff";
  EXPECT_TRUE(absl::IsDataLoss(DecodeEvent(record).status()));
}

TEST(EncodeTest, JobCarriesWhatTheRecordHas) {
  v1::JobSpec spec;
  spec.set_dataset("flowers");
  EpochMetrics epoch;
  epoch.epoch = 2;
  JobRecord record;
  record.id = "job-1";
  record.spec_pb = spec.SerializeAsString();
  record.state = JobState::kRunning;
  record.create_time = absl::UnixEpoch() + absl::Seconds(1);
  record.start_time = absl::UnixEpoch() + absl::Seconds(2);
  record.attempt = 4;
  record.last_epoch_pb = ToProto(epoch).SerializeAsString();
  record.last_seq = 9;

  const absl::StatusOr<v1::Job> job = ToProto(record);

  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->spec().dataset(), "flowers");
  EXPECT_EQ(job->state(), v1::JOB_STATE_RUNNING);
  EXPECT_EQ(job->start_time().seconds(), 2);
  EXPECT_FALSE(job->has_end_time());
  EXPECT_EQ(job->attempt(), 4);
  EXPECT_EQ(job->last_epoch().epoch(), 2);
  EXPECT_FALSE(job->has_evaluation());
  EXPECT_EQ(job->last_seq(), 9);
}

TEST(EncodeTest, DamagedJobIsDataLossAndNamesTheJob) {
  JobRecord record;
  record.id = "job-1";
  record.evaluation_pb = "\xff";
  const absl::Status status = ToProto(record).status();
  EXPECT_TRUE(absl::IsDataLoss(status));
  EXPECT_EQ(status.message(), "job job-1: its stored evaluation is damaged");
}

}  // namespace
}  // namespace graft

#include "server/jobs/encode.h"

#include <string>

#include "gmock/gmock.h"
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

TEST(EncodeTest, EvaluationKeepsEveryField) {
  Evaluation evaluation;
  evaluation.on_test = true;
  evaluation.image_count = 4;
  evaluation.accuracy = 0.75;
  evaluation.accuracy_interval = {0.3, 0.95};
  evaluation.loss = 0.5;
  evaluation.classes = {{"cat", 0.1, 0.2, 0.3, 3}, {"dog", 0.4, 0.5, 0.6, 1}};
  evaluation.confusion = {2, 1, 0, 1};
  evaluation.expected_calibration_error = 0.125;

  const v1::Evaluation proto = ToProto(evaluation);

  EXPECT_EQ(proto.split(), v1::SPLIT_TEST);
  EXPECT_EQ(proto.image_count(), 4);
  EXPECT_EQ(proto.accuracy(), 0.75);
  EXPECT_EQ(proto.accuracy_low(), 0.3);
  EXPECT_EQ(proto.accuracy_high(), 0.95);
  EXPECT_EQ(proto.loss(), 0.5);
  ASSERT_EQ(proto.classes_size(), 2);
  EXPECT_EQ(proto.classes(1).name(), "dog");
  EXPECT_EQ(proto.classes(1).precision(), 0.4);
  EXPECT_EQ(proto.classes(1).recall(), 0.5);
  EXPECT_EQ(proto.classes(1).f1(), 0.6);
  EXPECT_EQ(proto.classes(1).support(), 1);
  EXPECT_THAT(proto.confusion(), ElementsAre(2, 1, 0, 1));
  EXPECT_EQ(proto.expected_calibration_error(), 0.125);
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

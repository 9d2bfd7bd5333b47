#include "server/jobs/encode.h"

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "worker/base/status.h"

namespace graft {
namespace {

// JobState mirrors the API's numbers, so that rows need no table.
static_assert(static_cast<int>(JobState::kQueued) == v1::JOB_STATE_QUEUED);
static_assert(static_cast<int>(JobState::kRunning) == v1::JOB_STATE_RUNNING);
static_assert(static_cast<int>(JobState::kSucceeded) == v1::JOB_STATE_SUCCEEDED);
static_assert(static_cast<int>(JobState::kFailed) == v1::JOB_STATE_FAILED);
static_assert(static_cast<int>(JobState::kCancelled) == v1::JOB_STATE_CANCELLED);

template <typename Message>
absl::Status Parse(const std::string& job_id, const char* what, const std::string& bytes, Message* message) {
  if (message->ParseFromString(bytes)) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("job ", job_id, ": its stored ", what, " is damaged"));
}

}  // namespace

google::protobuf::Timestamp ToTimestamp(absl::Time time) {
  const int64_t ns = absl::ToUnixNanos(time);
  int64_t seconds = ns / 1'000'000'000;
  int64_t rest = ns % 1'000'000'000;
  if (rest < 0) {  // before 1970; Timestamp's nanos count forward
    seconds -= 1;
    rest += 1'000'000'000;
  }
  google::protobuf::Timestamp stamp;
  stamp.set_seconds(seconds);
  stamp.set_nanos(static_cast<int32_t>(rest));
  return stamp;
}

v1::Preprocessing ToProto(const PreprocessSpec& spec) {
  const bool bicubic = spec.interpolation == Interpolation::kBicubic;
  v1::Preprocessing proto;
  proto.set_resize_px(spec.resize_px);
  proto.set_crop_px(spec.crop_px);
  proto.mutable_mean()->Add(spec.mean.begin(), spec.mean.end());
  proto.mutable_std()->Add(spec.std.begin(), spec.std.end());
  proto.set_interpolation(bicubic ? v1::INTERPOLATION_BICUBIC : v1::INTERPOLATION_BILINEAR);
  return proto;
}

v1::EpochMetrics ToProto(const EpochMetrics& metrics) {
  v1::EpochMetrics proto;
  proto.set_phase(metrics.phase);
  proto.set_epoch(metrics.epoch);
  proto.set_phase_epochs(metrics.phase_epochs);
  proto.set_train_loss(metrics.train_loss);
  proto.set_train_accuracy(metrics.train_accuracy);
  proto.set_val_loss(metrics.val_loss);
  proto.set_val_accuracy(metrics.val_accuracy);
  proto.set_learning_rate(metrics.learning_rate);
  proto.set_images_per_second(metrics.images_per_second);
  proto.set_seconds(metrics.seconds);
  proto.set_eta_seconds(metrics.eta_seconds);
  if (metrics.held_out_loss) proto.set_held_out_loss(*metrics.held_out_loss);
  if (metrics.held_out_accuracy) proto.set_held_out_accuracy(*metrics.held_out_accuracy);
  if (metrics.held_out_macro_f1) proto.set_held_out_macro_f1(*metrics.held_out_macro_f1);
  proto.set_best(metrics.best);
  return proto;
}

namespace {

void AddSuspects(const std::vector<Suspect>& suspects, const std::vector<ClassMetrics>& classes,
                 google::protobuf::RepeatedPtrField<v1::SuspectPicture>* out) {
  for (const Suspect& suspect : suspects) {
    v1::SuspectPicture* picture = out->Add();
    picture->set_file_name(suspect.name);
    // -1: one decision of a multi-label picture, where no class stands for "not this one".
    if (suspect.label >= 0) picture->set_label(classes[suspect.label].name);
    if (suspect.predicted >= 0) picture->set_predicted(classes[suspect.predicted].name);
    picture->set_confidence(suspect.confidence);
  }
}

v1::CrossValidation ToProto(const CrossValidated& result) {
  v1::CrossValidation proto;
  proto.set_folds(result.folds);
  proto.set_accuracy_mean(result.mean);
  proto.set_accuracy_standard_deviation(result.standard_deviation);
  proto.mutable_confusion()->Add(result.confusion.begin(), result.confusion.end());
  proto.set_images(result.images);
  return proto;
}

v1::MultiLabelMetrics ToProto(const MultiLabelMetrics& metrics) {
  v1::MultiLabelMetrics proto;
  proto.set_mean_average_precision(metrics.mean_average_precision);
  proto.set_micro_f1(metrics.micro_f1);
  proto.set_macro_f1(metrics.macro_f1);
  proto.set_hamming_loss(metrics.hamming_loss);
  return proto;
}

v1::LearningCurve ToProto(const LearningCurve& curve) {
  v1::LearningCurve proto;
  for (const CurvePoint& point : curve.points) {
    v1::LearningCurve::Point* out = proto.add_points();
    out->set_images(point.images);
    out->set_error(point.error);
    out->set_standard_deviation(point.standard_deviation);
  }
  proto.set_fits(curve.forecast.fits);
  proto.set_error_at_twice(curve.forecast.error_at_twice);
  proto.set_error_at_twice_low(curve.forecast.low);
  proto.set_error_at_twice_high(curve.forecast.high);
  return proto;
}

v1::ClassMetrics ToProto(const ClassMetrics& metrics, const ClassThreshold& threshold) {
  v1::ClassMetrics proto;
  proto.set_name(metrics.name);
  proto.set_precision(metrics.precision);
  proto.set_recall(metrics.recall);
  proto.set_f1(metrics.f1);
  proto.set_support(metrics.support);
  proto.set_average_precision(metrics.average_precision);
  if (threshold.reachable) {
    proto.set_threshold(threshold.threshold);
    proto.set_threshold_precision(threshold.precision);
    proto.set_threshold_recall(threshold.recall);
  }
  return proto;
}

}  // namespace

v1::Evaluation ToProto(const Assessment& assessment) {
  const Evaluation& evaluation = assessment.evaluation;
  const Calibration& calibration = assessment.calibration;
  v1::Evaluation proto;
  proto.set_split(evaluation.on_test ? v1::SPLIT_TEST : v1::SPLIT_VALIDATION);
  proto.set_image_count(evaluation.image_count);
  proto.set_accuracy(evaluation.accuracy);
  proto.set_accuracy_low(evaluation.accuracy_interval.low);
  proto.set_accuracy_high(evaluation.accuracy_interval.high);
  proto.set_loss(evaluation.loss);
  for (size_t c = 0; c < evaluation.classes.size(); ++c) {
    const bool has_threshold = c < assessment.thresholds.size();
    *proto.add_classes() = ToProto(evaluation.classes[c], has_threshold ? assessment.thresholds[c] : ClassThreshold());
  }
  proto.mutable_confusion()->Add(evaluation.confusion.begin(), evaluation.confusion.end());
  proto.set_expected_calibration_error(calibration.ece_after);
  proto.set_temperature(calibration.temperature);
  proto.set_uncalibrated_error(calibration.ece_before);
  proto.set_brier_score(calibration.brier_after);
  proto.set_uncalibrated_brier_score(calibration.brier_before);
  AddSuspects(assessment.mistakes, evaluation.classes, proto.mutable_mistakes());
  AddSuspects(assessment.label_issues, evaluation.classes, proto.mutable_label_issues());
  if (assessment.cross_validated) *proto.mutable_cross_validation() = ToProto(*assessment.cross_validated);
  if (assessment.learning_curve) *proto.mutable_learning_curve() = ToProto(*assessment.learning_curve);
  proto.set_last_accuracy(assessment.last_accuracy);
  if (evaluation.multi_label) *proto.mutable_multi_label() = ToProto(*evaluation.multi_label);
  return proto;
}

v1::AutoReport ToProto(const AutoReport& report) {
  v1::AutoReport proto;
  for (const RankedBackbone& ranked : report.backbones) {
    v1::AutoReport::RankedBackbone* out = proto.add_backbones();
    out->set_name(ranked.name);
    out->set_accuracy(ranked.accuracy);
    out->set_standard_deviation(ranked.standard_deviation);
    out->set_log_loss(ranked.log_loss);
    out->set_log_me(ranked.log_me);
    out->set_seconds(ranked.seconds);
  }
  for (const TriedTraining& tried : report.trainings) {
    v1::AutoReport::Training* out = proto.add_trainings();
    out->set_backbone(tried.backbone);
    out->set_what(tried.what);
    if (tried.accuracy) out->set_accuracy(*tried.accuracy);
    out->set_standard_error(tried.standard_error);
    out->set_seconds(tried.seconds);
    out->set_chosen(tried.chosen);
  }
  proto.mutable_reasons()->Add(report.reasons.begin(), report.reasons.end());
  return proto;
}

v1::ParameterCounts ToProto(const ParameterCounts& counts) {
  v1::ParameterCounts proto;
  proto.set_trainable_backbone(counts.trainable_backbone);
  proto.set_trainable_head(counts.trainable_head);
  proto.set_frozen(counts.frozen);
  return proto;
}

v1::PhaseStart ToProto(const PhaseStarted& started) {
  GRAFT_CHECK(started.phase != nullptr);
  v1::PhaseStart proto;
  proto.set_phase(started.phase->name);
  proto.set_index(started.index);
  proto.set_epochs(started.phase->epochs);
  proto.set_split_point(started.phase->split_point);
  for (const std::string& stage : started.trained_stages) proto.add_trained_stages(stage);
  *proto.mutable_parameters() = ToProto(started.parameters);
  proto.set_learning_rate(started.phase->head_learning_rate);
  return proto;
}

v1::StepProgress ToProto(const Progress& progress) {
  v1::StepProgress proto;
  proto.set_activity(progress.activity);
  proto.set_done(progress.done);
  proto.set_total(progress.total);
  proto.set_images_per_second(progress.images_per_second);
  return proto;
}

v1::LearningRateFound ToProto(const LearningRateFound& found) {
  v1::LearningRateFound proto;
  proto.set_phase(found.phase);
  for (const RatePoint& point : found.points) {
    v1::LearningRateFound::Point* out = proto.add_points();
    out->set_learning_rate(point.learning_rate);
    out->set_loss(point.loss);
  }
  if (found.suggestion) proto.set_suggestion(*found.suggestion);
  if (found.minimum) proto.set_minimum(*found.minimum);
  proto.set_applied(found.applied);
  return proto;
}

absl::StatusOr<v1::Job> ToProto(const JobRecord& record) {
  v1::Job job;
  job.set_id(record.id);
  RETURN_IF_ERROR(Parse(record.id, "spec", record.spec_pb, job.mutable_spec()));
  RETURN_IF_ERROR(Parse(record.id, "effective spec", record.effective_pb, job.mutable_effective()));
  job.set_state(static_cast<v1::JobState>(record.state));
  *job.mutable_create_time() = ToTimestamp(record.create_time);
  if (record.start_time) *job.mutable_start_time() = ToTimestamp(*record.start_time);
  if (record.end_time) *job.mutable_end_time() = ToTimestamp(*record.end_time);
  job.set_attempt(record.attempt);
  job.set_error(record.error);
  if (!record.last_epoch_pb.empty()) {
    RETURN_IF_ERROR(Parse(record.id, "last epoch", record.last_epoch_pb, job.mutable_last_epoch()));
  }
  if (!record.evaluation_pb.empty()) {
    RETURN_IF_ERROR(Parse(record.id, "evaluation", record.evaluation_pb, job.mutable_evaluation()));
  }
  if (!record.parameters_pb.empty()) {
    RETURN_IF_ERROR(Parse(record.id, "parameter counts", record.parameters_pb, job.mutable_parameters()));
  }
  if (!record.auto_pb.empty()) {
    RETURN_IF_ERROR(Parse(record.id, "auto report", record.auto_pb, job.mutable_auto_report()));
  }
  job.set_model_version(record.model_version);
  job.set_last_seq(record.last_seq);
  job.set_cancel_requested(record.cancel_requested);
  return job;
}

void DropDetails(v1::Evaluation* evaluation) {
  evaluation->clear_classes();
  evaluation->clear_confusion();
  evaluation->clear_mistakes();
  evaluation->clear_label_issues();
  evaluation->clear_cross_validation();
  evaluation->clear_learning_curve();
}

std::string EncodeEvent(const v1::EpochMetrics& epoch) {
  v1::JobEvent event;
  *event.mutable_epoch() = epoch;
  return event.SerializeAsString();
}

std::string EncodeEvent(const v1::Evaluation& evaluation) {
  v1::JobEvent event;
  *event.mutable_evaluation() = evaluation;
  return event.SerializeAsString();
}

std::string EncodeEvent(const v1::AutoReport& report) {
  v1::JobEvent event;
  *event.mutable_auto_report() = report;
  return event.SerializeAsString();
}

std::string EncodeEvent(const v1::PhaseStart& phase) {
  v1::JobEvent event;
  *event.mutable_phase() = phase;
  return event.SerializeAsString();
}

std::string EncodeEvent(const v1::StepProgress& progress) {
  v1::JobEvent event;
  *event.mutable_progress() = progress;
  return event.SerializeAsString();
}

std::string EncodeEvent(const v1::LearningRateFound& found) {
  v1::JobEvent event;
  *event.mutable_learning_rate() = found;
  return event.SerializeAsString();
}

std::string EncodeEvent(const v1::CheckpointSaved& checkpoint) {
  v1::JobEvent event;
  *event.mutable_checkpoint() = checkpoint;
  return event.SerializeAsString();
}

std::string EncodeWarning(const std::string& message) {
  v1::JobEvent event;
  event.mutable_warning()->set_message(message);
  return event.SerializeAsString();
}

std::string EncodeStateChange(JobState state, int attempt, const std::string& reason) {
  v1::JobEvent event;
  event.mutable_state()->set_state(static_cast<v1::JobState>(state));
  event.mutable_state()->set_attempt(attempt);
  event.mutable_state()->set_reason(reason);
  return event.SerializeAsString();
}

absl::StatusOr<v1::JobEvent> DecodeEvent(const EventRecord& record) {
  v1::JobEvent event;
  if (!event.ParseFromString(record.event_pb)) {
    return absl::DataLossError(absl::StrCat("event ", record.seq, " of the job is damaged"));
  }
  event.set_seq(record.seq);
  *event.mutable_time() = ToTimestamp(record.time);
  return event;
}

}  // namespace graft

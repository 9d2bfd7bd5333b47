#include "server/jobs/job_observer.h"

#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/jobs/encode.h"
#include "server/log.h"
#include "worker/base/status.h"

namespace graft {

JobObserver::JobObserver(std::string job_id, std::string owner, JobStore* jobs, const StateFiles* states,
                         Metrics* metrics, std::string tensorboard_directory, CancelToken cancel)
    : job_id_(std::move(job_id)), owner_(std::move(owner)), jobs_(jobs), states_(states), metrics_(metrics),
      tensorboard_directory_(std::move(tensorboard_directory)), cancel_(std::move(cancel)) {}

JobObserver::~JobObserver() { metrics_->RemoveJob(job_id_); }

absl::Status JobObserver::OnPhase(const PhaseStarted& phase) {
  epochs_before_phase_ = phase.epochs_before;
  const v1::PhaseStart started = ToProto(phase);
  JobUpdate update;
  update.parameters_pb = started.parameters().SerializeAsString();
  update.event_pbs.push_back(EncodeEvent(started));
  return Write(update);
}

absl::Status JobObserver::OnProgress(const Progress& progress) {
  JobUpdate update;
  update.event_pbs.push_back(EncodeEvent(ToProto(progress)));
  return Write(update);
}

absl::Status JobObserver::OnLearningRate(const LearningRateFound& found) {
  JobUpdate update;
  update.event_pbs.push_back(EncodeEvent(ToProto(found)));
  RETURN_IF_ERROR(Write(update));
  const std::string curve = absl::StrCat("learning_rate_finder/", found.phase);
  for (size_t i = 0; i < found.points.size(); ++i) Draw(static_cast<int64_t>(i), {{curve, found.points[i].loss}});
  return absl::OkStatus();
}

absl::Status JobObserver::OnEpoch(const EpochMetrics& metrics) {
  const v1::EpochMetrics epoch = ToProto(metrics);
  JobUpdate update;
  update.last_epoch_pb = epoch.SerializeAsString();
  update.event_pbs.push_back(EncodeEvent(epoch));
  if (absl::Status status = Write(update); !status.ok()) return status;
  Metrics::Epoch values;
  values.train_loss = metrics.train_loss;
  values.train_accuracy = metrics.train_accuracy;
  values.val_loss = metrics.val_loss;
  values.val_accuracy = metrics.val_accuracy;
  values.epoch = metrics.epoch;
  metrics_->SetJobEpoch(job_id_, values);
  DrawEpoch(metrics);
  return absl::OkStatus();
}

void JobObserver::DrawEpoch(const EpochMetrics& metrics) {
  std::vector<std::pair<std::string, double>> curves{{"loss/train", metrics.train_loss},
                                                     {"loss/validation", metrics.val_loss},
                                                     {"accuracy/train", metrics.train_accuracy},
                                                     {"accuracy/validation", metrics.val_accuracy},
                                                     {"learning_rate", metrics.learning_rate},
                                                     {"images_per_second", metrics.images_per_second}};
  if (metrics.held_out_loss) curves.emplace_back("loss/held_out", *metrics.held_out_loss);
  if (metrics.held_out_accuracy) curves.emplace_back("accuracy/held_out", *metrics.held_out_accuracy);
  if (metrics.held_out_macro_f1) curves.emplace_back("macro_f1/held_out", *metrics.held_out_macro_f1);
  Draw(epochs_before_phase_ + metrics.epoch, curves);
}

void JobObserver::WriteEvaluation(const Assessment& assessment) {
  std::vector<std::pair<std::string, double>> values{
      {"evaluation/accuracy", assessment.evaluation.accuracy},
      {"evaluation/loss", assessment.evaluation.loss},
      {"evaluation/expected_calibration_error", assessment.calibration.ece_after},
      {"evaluation/temperature", assessment.calibration.temperature}};
  if (const auto& multi_label = assessment.evaluation.multi_label) {
    values.emplace_back("evaluation/mean_average_precision", multi_label->mean_average_precision);
    values.emplace_back("evaluation/micro_f1", multi_label->micro_f1);
    values.emplace_back("evaluation/macro_f1", multi_label->macro_f1);
    values.emplace_back("evaluation/hamming_loss", multi_label->hamming_loss);
  }
  Draw(0, values);
}

void JobObserver::WriteText(const std::string& tag, const std::string& markdown) {
  ToTensorBoard([&](TensorBoardWriter* writer, absl::Time now) { return writer->AddText(tag, 0, now, markdown); });
}

void JobObserver::Draw(int64_t step, const std::vector<std::pair<std::string, double>>& values) {
  ToTensorBoard([&](TensorBoardWriter* writer, absl::Time now) { return writer->AddScalars(step, now, values); });
}

void JobObserver::ToTensorBoard(const std::function<absl::Status(TensorBoardWriter*, absl::Time)>& add) {
  if (tensorboard_failed_) return;
  const auto write = [&]() -> absl::Status {
    const absl::Time now = absl::Now();
    if (tensorboard_ == nullptr) {
      ASSIGN_OR_RETURN(tensorboard_, TensorBoardWriter::Open(tensorboard_directory_, now));
    }
    return add(tensorboard_.get(), now);
  };
  const absl::Status written = write();
  if (written.ok()) return;
  tensorboard_failed_ = true;
  LogWarning("no TensorBoard curves", {{"job", job_id_}, {"error", written.ToString()}});
}

absl::Status JobObserver::OnState(const StatePoint& point, const std::string& state) {
  if (const absl::Status saved = states_->Write(job_id_, state); !saved.ok()) {
    LogWarning("training state not saved", {{"job", job_id_}, {"error", saved.ToString()}});
    return OnWarning(absl::StrCat("the state after epoch ", point.epoch, " of phase ", point.phase,
                                  " could not be saved: an interruption would go back further"));
  }
  v1::CheckpointSaved checkpoint;
  checkpoint.set_phase(point.phase);
  checkpoint.set_epoch(point.epoch);
  checkpoint.set_images(point.images);
  checkpoint.set_bytes(static_cast<int64_t>(state.size()));
  JobUpdate update;
  update.event_pbs.push_back(EncodeEvent(checkpoint));
  return Write(update);
}

absl::Status JobObserver::OnWarning(const std::string& message) {
  JobUpdate update;
  update.event_pbs.push_back(EncodeWarning(message));
  return Write(update);
}

absl::Status JobObserver::Write(const JobUpdate& update) {
  absl::Status status = jobs_->Update(job_id_, owner_, update);
  if (absl::IsFailedPrecondition(status)) cancel_.Stop(StopReason::kLeaseLost);
  return status;
}

}  // namespace graft

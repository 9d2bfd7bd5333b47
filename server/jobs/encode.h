#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "google/protobuf/timestamp.pb.h"
#include "graft/v1/job.pb.h"
#include "graft/v1/model.pb.h"
#include "server/store/records.h"
#include "worker/image/preprocess.h"
#include "worker/train/assessment.h"
#include "worker/train/auto_train.h"
#include "worker/train/trainer.h"

// What the worker and the store say of jobs, as messages of the API and as the bytes that the store keeps.

namespace graft {

google::protobuf::Timestamp ToTimestamp(absl::Time time);

v1::Preprocessing ToProto(const PreprocessSpec& spec);
v1::EpochMetrics ToProto(const EpochMetrics& metrics);
v1::Evaluation ToProto(const Assessment& assessment);
v1::AutoReport ToProto(const AutoReport& report);
v1::ParameterCounts ToProto(const ParameterCounts& counts);
v1::PhaseStart ToProto(const PhaseStarted& started);
v1::StepProgress ToProto(const Progress& progress);
v1::LearningRateFound ToProto(const LearningRateFound& found);
//   DataLoss  stored bytes that are no message
absl::StatusOr<v1::Job> ToProto(const JobRecord& record);

// Leaves what a list shows: the per-class numbers and the confusion matrix grow with the classes, the latter squared.
void DropDetails(v1::Evaluation* evaluation);

// Event payloads: a JobEvent without seq and time, which the store gives.
std::string EncodeEvent(const v1::EpochMetrics& epoch);
std::string EncodeEvent(const v1::Evaluation& evaluation);
std::string EncodeEvent(const v1::PhaseStart& phase);
std::string EncodeEvent(const v1::AutoReport& report);
std::string EncodeEvent(const v1::StepProgress& progress);
std::string EncodeEvent(const v1::LearningRateFound& found);
std::string EncodeEvent(const v1::CheckpointSaved& checkpoint);
std::string EncodeWarning(const std::string& message);
// What JobStore takes as EncodeState.
std::string EncodeStateChange(JobState state, int attempt, const std::string& reason);
//   DataLoss  the stored bytes are no event
absl::StatusOr<v1::JobEvent> DecodeEvent(const EventRecord& record);

}  // namespace graft

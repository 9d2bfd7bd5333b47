#include "worker/train/train_result.h"

#include <torch/torch.h>

#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "worker/backbone/torch_status.h"
#include "worker/base/status.h"
#include "worker/data/activations.h"
#include "worker/model/checkpoint.h"
#include "worker/model/suffix.h"
#include "worker/train/assessment.h"
#include "worker/train/predict_logits.h"

namespace graft {
namespace {

using Weights = std::map<std::string, at::Tensor>;

class Result {
 public:
  Result(const TrainOptions& options, const Dataset& data, TrainData* pictures, WorkerPool* pool,
         const CancelToken& cancel)
      : options_(options), data_(data), pictures_(pictures), pool_(pool), cancel_(cancel),
        split_point_(options.phases.back().split_point) {}

  absl::StatusOr<TrainResult> Make(const TrainedWeights& trained) {
    const auto test = pictures_->Served(data_.test, split_point_);
    TrainResult result;
    result.split_point = split_point_;
    ASSIGN_OR_RETURN(result.assessment, AssessWeights(trained.weights, trained.validation_logits, test.get()));
    RETURN_IF_ERROR(Probe(&result.assessment));
    ASSIGN_OR_RETURN(result.checkpoint, MakeCheckpoint(trained, trained.weights, result.assessment));
    if (trained.last_weights.empty()) return result;
    ASSIGN_OR_RETURN(result.last_assessment,
                     AssessWeights(trained.last_weights, trained.last_validation_logits, test.get()));
    result.assessment.last_accuracy = result.last_assessment.evaluation.accuracy;
    ASSIGN_OR_RETURN(result.last_checkpoint, MakeCheckpoint(trained, trained.last_weights, result.last_assessment));
    return result;
  }

 private:
  int num_classes() const { return static_cast<int>(data_.class_names.size()); }

  absl::StatusOr<Assessment> AssessWeights(const Weights& weights, const std::vector<float>& validation_logits,
                                           Activations* test) {
    LabelledLogits test_split{&data_.test, {}};
    const LabelledLogits validation{&data_.validation, validation_logits};
    ASSIGN_OR_RETURN(test_split.logits, TestLogits(weights, test));
    return Assess(data_.class_names, validation, test_split, options_.precision_target);
  }

  absl::StatusOr<std::vector<float>> TestLogits(const Weights& weights, Activations* test) {
    return PredictLogits({options_.backbone, split_point_, options_.head, num_classes()}, weights, test, pool_, cancel_);
  }

  // What needs the frozen backbone's features, whatever was trained.
  absl::Status Probe(Assessment* assessment) {
    if (options_.folds == 0 && options_.learning_curve == 0) return absl::OkStatus();
    const auto train = pictures_->TrainFeatures();
    const auto validation = pictures_->Served(data_.validation, options_.backbone->num_stages());
    const ProbeData probe{train.get(), validation.get(), num_classes(), options_.seed, pool_, cancel_};
    if (options_.folds > 0) {
      std::vector<Suspect> issues;
      ASSIGN_OR_RETURN(assessment->cross_validated, CrossValidate(probe, options_.folds, &issues));
      assessment->label_issues.insert(assessment->label_issues.end(), issues.begin(), issues.end());
    }
    if (options_.learning_curve > 0) {
      ASSIGN_OR_RETURN(assessment->learning_curve, MeasureLearningCurve(probe, options_.learning_curve));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> MakeCheckpoint(const TrainedWeights& trained, const Weights& weights,
                                             const Assessment& assessment) {
    std::string bytes;
    RETURN_IF_ERROR(TryTorch("write the checkpoint", [&]() -> absl::Status {
      torch::NoGradGuard no_grad;
      Checkpoint c;
      c.backbone = options_.backbone->name();
      c.backbone_digest = options_.backbone->digest();
      c.split_point = split_point_;
      c.head = options_.head;
      c.class_names = data_.class_names;
      c.multi_label = data_.multi_label;
      c.preprocessing = options_.preprocessing;
      c.temperature = assessment.calibration.temperature;
      c.training_config = options_.training_config;
      c.found_rates = trained.found_rates;
      c.weights = weights;
      Suffix suffix(*options_.backbone, split_point_, options_.head, num_classes(), 0);
      RETURN_IF_ERROR(LoadWhole(weights, &suffix));
      c.golden_logits =
          suffix.Forward(options_.backbone->Forward(GoldenInputs(c.preprocessing), 0, split_point_)).cpu();
      bytes = SerializeCheckpoint(c);
      return absl::OkStatus();
    }));
    return bytes;
  }

  const TrainOptions& options_;
  const Dataset& data_;
  TrainData* const pictures_;
  WorkerPool* const pool_;
  const CancelToken cancel_;
  const int split_point_;
};

}  // namespace

absl::StatusOr<TrainResult> MakeTrainResult(const TrainOptions& options, const Dataset& data,
                                            const TrainedWeights& trained, TrainData* pictures, WorkerPool* pool,
                                            const CancelToken& cancel) {
  return Result(options, data, pictures, pool, cancel).Make(trained);
}

}  // namespace graft

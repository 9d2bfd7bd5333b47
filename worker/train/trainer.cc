#include "worker/train/trainer.h"

#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "worker/backbone/torch_status.h"
#include "worker/base/sha256.h"
#include "worker/base/status.h"
#include "worker/data/activations.h"
#include "worker/data/sampler.h"
#include "worker/model/checkpoint.h"
#include "worker/model/suffix.h"
#include "worker/train/phase_run.h"
#include "worker/train/train_state.h"

namespace graft {
namespace {

class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

 private:
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// Passes progress on, at most twice a second and always the last.
class ProgressReport {
 public:
  ProgressReport(TrainObserver* observer, std::string activity, int64_t total)
      : observer_(observer), activity_(std::move(activity)), total_(total) {}
  absl::Status operator()(int64_t done) {
    const double seconds = watch_.seconds();
    if (done < total_ && seconds < next_) return absl::OkStatus();
    next_ = seconds + 0.5;
    return observer_->OnProgress({activity_, done, total_, static_cast<double>(done) / std::max(seconds, 1e-9)});
  }

 private:
  TrainObserver* const observer_;
  const std::string activity_;
  const int64_t total_;
  const Stopwatch watch_;
  double next_ = 0.5;
};

absl::Status CheckPhases(const std::vector<Phase>& phases, const Backbone& backbone) {
  if (phases.empty()) return absl::InvalidArgumentError("phases: got none, want at least one");
  for (size_t i = 0; i < phases.size(); ++i) {
    const Phase& p = phases[i];
    const std::string where = absl::StrCat("phases[", i, "].");
    if (p.split_point < 0 || p.split_point > backbone.num_stages()) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, "split_point: got ", p.split_point, ", want 0 to ", backbone.num_stages()));
    }
    if (i > 0 && p.split_point > phases[i - 1].split_point) {
      // Its frozen prefix is the pretrained one: what an earlier phase trained there would be lost without a word.
      return absl::InvalidArgumentError(absl::StrCat(where, "split_point: got ", p.split_point, ", want at most ",
                                                     phases[i - 1].split_point, ", that of the phase before"));
    }
    if (p.epochs < 1 || p.batch_size < 1)
      return absl::InvalidArgumentError(absl::StrCat(where, "epochs and batch_size: want >= 1"));
    const int64_t unfrozen = backbone.parameter_count(p.split_point, backbone.num_stages());
    const bool fine_tunes = p.split_point < backbone.num_stages();
    if (fine_tunes && !backbone.architecture().trainable) {
      return absl::InvalidArgumentError(absl::StrCat(where, "split_point: got ", p.split_point, ", want ",
                                                     backbone.num_stages(), ": ", backbone.name(), " stays frozen"));
    }
    if (fine_tunes && unfrozen == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, "split_point: got ", p.split_point,
                       ", which unfreezes stages without parameters: nothing of the backbone would be trained"));
    }
    if (fine_tunes && !(p.backbone_learning_rate > 0)) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, "backbone_learning_rate: got ", p.backbone_learning_rate, ", want > 0"));
    }
    if (!(p.head_learning_rate > 0)) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, "head_learning_rate: got ", p.head_learning_rate, ", want > 0"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckPreprocessing(const PreprocessSpec& preprocessing, const Backbone& backbone) {
  RETURN_IF_ERROR(preprocessing.Validate());
  return backbone.architecture().input.Check("preprocessing.crop_px", preprocessing.crop_px);
}

absl::Status CheckData(const Dataset& data) {
  if (data.class_names.size() < 2) return absl::InvalidArgumentError("classes: got fewer than two");
  if (data.train.empty()) return absl::InvalidArgumentError("train: got no pictures");
  if (data.validation.empty()) return absl::InvalidArgumentError("validation: got no pictures");
  for (const auto* split : {&data.train, &data.validation, &data.test}) {
    for (const Example& example : *split) {
      if (example.label < 0 || example.label >= static_cast<int>(data.class_names.size())) {
        return absl::InvalidArgumentError(absl::StrCat("label: got ", example.label, " for picture ", example.id));
      }
    }
  }
  return absl::OkStatus();
}

// Everything that the trained weights depend on.
std::string Fingerprint(const TrainOptions& options, const Dataset& data, int pool_size) {
  Sha256 sha;
  sha.Update(absl::StrCat(options.backbone->digest(), " ", options.seed, " ", pool_size, " ",
                          options.activation_cache_bytes, " ", KeyOf(options.preprocessing), "\n",
                          absl::StrJoin(data.class_names, "\t"), "\n"));
  for (const Phase& p : options.phases) {
    sha.Update(absl::StrCat(p.split_point, " ", p.epochs, " ", p.batch_size, " ", p.head_learning_rate, " ",
                            p.backbone_learning_rate, " ", p.momentum, " ", p.weight_decay, " ",
                            static_cast<int>(p.schedule), " ", static_cast<int>(p.batch_norm), "\n"));
  }
  for (const auto* split : {&data.train, &data.validation}) {
    for (const Example& example : *split) sha.Update(absl::StrCat(example.id, " ", example.label, "\n"));
    sha.Update("\n");
  }
  return sha.Finish();
}

// The last step of an epoch can overflow after its loss was still finite.
absl::Status CheckFinite(const std::vector<float>& probabilities) {
  if (std::all_of(probabilities.begin(), probabilities.end(), [](float p) { return std::isfinite(p); })) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError("learning_rate: the weights overflowed; want a lower one");
}

// One training, from its options to its result.
class Training {
 public:
  Training(const TrainOptions& options, const Dataset& data, WorkerPool* pool, TrainObserver* observer,
           const CancelToken& cancel)
      : options_(options), data_(data), pool_(pool), observer_(observer), cancel_(cancel) {}

  absl::StatusOr<TrainResult> Run() {
    RETURN_IF_ERROR(CheckPhases(options_.phases, *options_.backbone));
    RETURN_IF_ERROR(CheckPreprocessing(options_.preprocessing, *options_.backbone));
    RETURN_IF_ERROR(CheckData(data_));
    fingerprint_ = Fingerprint(options_, data_, pool_->size());
    if (!options_.resume_state.empty()) RETURN_IF_ERROR(ParseResume());
    base_split_ = options_.phases[0].split_point;
    for (const Phase& phase : options_.phases) base_split_ = std::min(base_split_, phase.split_point);
    ASSIGN_OR_RETURN(base_, MakeActivations(base_split_, nullptr));
    for (size_t i = state_.phase; i < options_.phases.size(); ++i) RETURN_IF_ERROR(RunPhase(static_cast<int>(i)));
    return MakeResult();
  }

 private:
  // The activations of the two splits that training needs, at one split point.
  struct Splits {
    std::unique_ptr<Activations> train, validation;
  };

  absl::Status ParseResume() {
    absl::StatusOr<TrainState> state = ParseTrainState(options_.resume_state);
    if (!state.ok()) return absl::FailedPreconditionError(absl::StrCat("resume_state: ", state.status().message()));
    if (state->fingerprint != fingerprint_) {
      return absl::FailedPreconditionError(
          "resume_state: it is of another job, dataset, backbone or number of threads");
    }
    if (state->phase < 0 || state->phase >= static_cast<int>(options_.phases.size()) || state->epoch < 0) {
      return absl::FailedPreconditionError("resume_state: phase out of range");
    }
    state_ = *std::move(state);
    return absl::OkStatus();
  }

  absl::StatusOr<Splits> MakeActivations(int split_point, const Splits* base) {
    Splits splits;
    const auto make = [&](const std::vector<Example>& examples, double share, const Activations* from) {
      Activations::Options o;
      o.backbone = options_.backbone;
      o.preprocessing = options_.preprocessing;
      o.split_point = split_point;
      o.image_limits = options_.image_limits;
      o.budget_bytes = static_cast<int64_t>(static_cast<double>(options_.activation_cache_bytes) * share);
      return std::make_unique<Activations>(o, &examples, data_.read, from);
    };
    const double train_share =
        static_cast<double>(data_.train.size()) / static_cast<double>(data_.train.size() + data_.validation.size());
    splits.train = make(data_.train, train_share, base != nullptr ? base->train.get() : nullptr);
    splits.validation = make(data_.validation, 1 - train_share, base != nullptr ? base->validation.get() : nullptr);
    ProgressReport report(observer_, "features", splits.train->size() + splits.validation->size());
    RETURN_IF_ERROR(splits.train->Fill(pool_, cancel_, [&](int64_t done) { return report(done); }));
    const int64_t train_size = splits.train->size();
    RETURN_IF_ERROR(splits.validation->Fill(pool_, cancel_, [&](int64_t done) { return report(train_size + done); }));
    if (base == nullptr && splits.train->cached() < splits.train->size()) {
      RETURN_IF_ERROR(observer_->OnWarning(absl::StrCat(
          "activation cache: ", splits.train->cached(), " of ", splits.train->size(),
          " training pictures fit its budget; the others are computed again each epoch")));
    }
    return splits;
  }

  absl::StatusOr<std::unique_ptr<Suffix>> MakeSuffix(const Phase& phase) {
    absl::StatusOr<std::unique_ptr<Suffix>> suffix;
    RETURN_IF_ERROR(TryTorch("build the trained stages", [&]() -> absl::Status {
      suffix = std::make_unique<Suffix>(*options_.backbone, phase.split_point, data_.class_names.size(), options_.seed);
      return (*suffix)->LoadState(state_.weights).status();
    }));
    return suffix;
  }

  absl::Status AnnouncePhase(int index) {
    const Phase& phase = options_.phases[index];
    const Backbone& backbone = *options_.backbone;
    PhaseStarted started;
    started.phase = &phase;
    started.index = index;
    for (int i = phase.split_point; i < backbone.num_stages(); ++i) {
      if (backbone.parameter_count(i, i + 1) > 0) started.trained_stages.push_back(backbone.stage_names()[i]);
    }
    started.parameters.trainable_backbone = backbone.parameter_count(phase.split_point, backbone.num_stages());
    started.parameters.trainable_head = (backbone.feature_width() + 1) * static_cast<int64_t>(data_.class_names.size());
    started.parameters.frozen = backbone.parameter_count(0, phase.split_point);
    return observer_->OnPhase(started);
  }

  absl::Status RunPhase(int index) {
    const Phase& phase = options_.phases[index];
    RETURN_IF_ERROR(AnnouncePhase(index));
    Splits derived;
    const bool use_base = phase.split_point == base_split_;
    if (!use_base) {
      ASSIGN_OR_RETURN(derived, MakeActivations(phase.split_point, &base_));
    }
    const Splits& activations = use_base ? base_ : derived;
    ASSIGN_OR_RETURN(std::unique_ptr<Suffix> suffix, MakeSuffix(phase));
    run_ = std::make_unique<PhaseRun>(phase, std::move(suffix), pool_);
    for (Sgd::Parameter& p : run_->optimizer().parameters()) {
      const auto it = state_.momentum.find(p.name);
      if (it != state_.momentum.end()) p.momentum = at::empty_like(p.value).copy_(it->second).detach();
    }
    Stopwatch watch;
    const int first = state_.epoch;
    for (int epoch = first; epoch < phase.epochs; ++epoch) {
      RETURN_IF_ERROR(
          RunEpoch(phase, index, epoch, activations, [&] { return watch.seconds() / (epoch - first + 1); }));
    }
    if (first >= phase.epochs) {  // resumed after the last epoch
      ASSIGN_OR_RETURN(validation_probabilities_, run_->Predict(*activations.validation, cancel_));
    }
    state_.phase = index + 1;  // the next phase starts afresh: only the weights go on
    state_.epoch = 0;
    state_.weights = run_->suffix().State();
    state_.momentum.clear();
    return absl::OkStatus();
  }

  absl::Status RunEpoch(const Phase& phase, int index, int epoch, const Splits& activations,
                        const std::function<double()>& mean_epoch_seconds) {
    Stopwatch watch;
    const std::vector<int64_t> order = ShuffledIndices(activations.train->size(), options_.seed, index, epoch);
    ProgressReport report(observer_, "train", activations.train->size());
    ASSIGN_OR_RETURN(const PhaseRun::Totals totals,
                     run_->TrainEpoch(*activations.train, order, epoch, cancel_, [&](int64_t done) {
                       return done < activations.train->size() ? report(done) : absl::OkStatus();
                     }));
    const double train_seconds = watch.seconds();
    ASSIGN_OR_RETURN(validation_probabilities_, run_->Predict(*activations.validation, cancel_));
    RETURN_IF_ERROR(CheckFinite(validation_probabilities_));
    const Evaluation validation = Evaluate(data_.class_names, LabelsOf(data_.validation), validation_probabilities_);
    EpochMetrics m;
    m.phase = phase.name;
    m.epoch = epoch + 1;
    m.phase_epochs = phase.epochs;
    m.train_loss = totals.loss / static_cast<double>(totals.images);
    m.train_accuracy = static_cast<double>(totals.correct) / static_cast<double>(totals.images);
    m.val_loss = validation.loss;
    m.val_accuracy = validation.accuracy;
    m.learning_rate = phase.head_learning_rate * totals.last_rate_factor;
    m.images_per_second = static_cast<double>(totals.images) / std::max(train_seconds, 1e-9);
    m.seconds = watch.seconds();
    m.eta_seconds = mean_epoch_seconds() * RemainingEpochs(index, epoch + 1);
    RETURN_IF_ERROR(observer_->OnEpoch(m));
    return SaveState(index, epoch + 1, m);
  }

  int RemainingEpochs(int phase, int done) const {
    int remaining = options_.phases[phase].epochs - done;
    for (size_t i = phase + 1; i < options_.phases.size(); ++i) remaining += options_.phases[i].epochs;
    return remaining;
  }

  absl::Status SaveState(int phase, int epoch, const EpochMetrics& metrics) {
    TrainState state;
    state.fingerprint = fingerprint_;
    state.phase = phase;
    state.epoch = epoch;
    state.weights = run_->suffix().State();
    for (const Sgd::Parameter& p : run_->optimizer().parameters()) {
      if (p.momentum.defined()) state.momentum.emplace(p.name, p.momentum);
    }
    return observer_->OnState(metrics, SerializeTrainState(state));
  }

  static std::vector<int> LabelsOf(const std::vector<Example>& examples) {
    std::vector<int> labels;
    for (const Example& example : examples) labels.push_back(example.label);
    return labels;
  }

  absl::StatusOr<Evaluation> FinalEvaluation() {
    if (data_.test.empty()) return Evaluate(data_.class_names, LabelsOf(data_.validation), validation_probabilities_);
    Activations::Options o;
    o.backbone = options_.backbone;
    o.preprocessing = options_.preprocessing;
    o.split_point = options_.phases.back().split_point;
    o.image_limits = options_.image_limits;
    o.budget_bytes = 0;  // each test picture is looked at once
    const Activations test(o, &data_.test, data_.read);
    ASSIGN_OR_RETURN(const std::vector<float> probabilities, run_->Predict(test, cancel_));
    Evaluation evaluation = Evaluate(data_.class_names, LabelsOf(data_.test), probabilities);
    evaluation.on_test = true;
    return evaluation;
  }

  absl::StatusOr<TrainResult> MakeResult() {
    TrainResult result;
    ASSIGN_OR_RETURN(result.evaluation, FinalEvaluation());
    result.split_point = options_.phases.back().split_point;
    RETURN_IF_ERROR(TryTorch("write the checkpoint", [&] {
      torch::NoGradGuard no_grad;
      Checkpoint c;
      c.backbone = options_.backbone->name();
      c.backbone_digest = options_.backbone->digest();
      c.split_point = result.split_point;
      c.class_names = data_.class_names;
      c.preprocessing = options_.preprocessing;
      c.training_config = options_.training_config;
      c.weights = run_->suffix().State();
      c.golden_logits = run_->suffix().Forward(
          options_.backbone->Forward(GoldenInputs(c.preprocessing), 0, result.split_point)).cpu();
      result.checkpoint = SerializeCheckpoint(c);
      return absl::OkStatus();
    }));
    return result;
  }

  const TrainOptions& options_;
  const Dataset& data_;
  WorkerPool* const pool_;
  TrainObserver* const observer_;
  const CancelToken cancel_;
  std::string fingerprint_;
  TrainState state_;
  int base_split_ = 0;  // lowest of all phases: what lies before it is computed once for all of them
  Splits base_;
  std::unique_ptr<PhaseRun> run_;
  std::vector<float> validation_probabilities_;
};

}  // namespace

absl::StatusOr<TrainResult> Train(const TrainOptions& options, const Dataset& data, WorkerPool* pool,
                                  TrainObserver* observer, const CancelToken& cancel) {
  absl::StatusOr<TrainResult> result = absl::InternalError("not run");
  RETURN_IF_ERROR(TryTorch("train", [&] {
    result = Training(options, data, pool, observer, cancel).Run();
    return result.status();
  }));
  return result;
}

}  // namespace graft

#include "worker/train/trainer.h"

#include <torch/torch.h>

#include <algorithm>
#include <functional>

#include "absl/strings/str_cat.h"
#include "worker/backbone/torch_status.h"
#include "worker/base/status.h"
#include "worker/data/activations.h"
#include "worker/data/labelling.h"
#include "worker/data/sampler.h"
#include "worker/model/suffix.h"
#include "worker/train/feature_statistics.h"
#include "worker/train/fingerprint.h"
#include "worker/train/learning_rate_finder.h"
#include "worker/train/phase_run.h"
#include "worker/train/predict_logits.h"
#include "worker/train/progress_report.h"
#include "worker/train/train_check.h"
#include "worker/train/train_data.h"
#include "worker/train/train_result.h"
#include "worker/train/train_state.h"

namespace graft {
namespace {

// One training, from its options to its result.
class Training {
 public:
  Training(const TrainOptions& options, const Dataset& data, WorkerPool* pool, TrainObserver* observer,
           const CancelToken& cancel)
      : options_(options), data_(data), pool_(pool), observer_(observer), cancel_(cancel) {}

  absl::StatusOr<TrainResult> Run() {
    RETURN_IF_ERROR(CheckTraining(options_, data_));
    ASSIGN_OR_RETURN(precision_, ResolvePrecision(options_.precision, options_.backbone->device()));
    fingerprint_ = Fingerprint(options_, data_, pool_->size(), precision_);
    if (!options_.resume_state.empty()) RETURN_IF_ERROR(ParseResume());
    MakeTrainData();
    if (options_.early_stopping.patience > 0 && pictures_->held_out().empty()) {
      return absl::InvalidArgumentError(
          "early_stopping: got no class with more than one training picture, want some to hold out");
    }
    for (size_t i = state_.phase; i < options_.phases.size(); ++i) RETURN_IF_ERROR(RunPhase(static_cast<int>(i)));
    return MakeResult();
  }

 private:
  absl::Status ParseResume() {
    absl::StatusOr<TrainState> state = ParseTrainState(options_.resume_state);
    if (!state.ok()) return absl::FailedPreconditionError(absl::StrCat("resume_state: ", state.status().message()));
    if (state->fingerprint != fingerprint_) {
      return absl::FailedPreconditionError(
          "resume_state: it is of another job, dataset, backbone, precision or number of threads");
    }
    const bool in_range = state->phase < static_cast<int>(options_.phases.size()) &&
                          state->epoch <= options_.phases[state->phase].epochs;
    if (!in_range) return absl::FailedPreconditionError("resume_state: phase or epoch out of range");
    // Every state of a phase with a range test was written after it.
    const RateFinderOptions& finder = options_.phases[state->phase].rate_finder;
    if (state->rate_tested != (finder.steps > 0) || (state->found_rate > 0 && !finder.apply)) {
      return absl::FailedPreconditionError("resume_state: got the learning rate of another phase");
    }
    state_ = *std::move(state);
    return absl::OkStatus();
  }

  void MakeTrainData() {
    TrainData::Options o;
    o.backbone = options_.backbone;
    o.preprocessing = options_.preprocessing;
    o.phases = options_.phases;
    o.precision = precision_;
    o.seed = options_.seed;
    o.holdout = options_.early_stopping.patience > 0 ? options_.early_stopping.holdout : 0;
    o.image_limits = options_.image_limits;
    o.budget_bytes = options_.activation_cache_bytes;
    o.store = options_.activation_store;
    o.pool = pool_;
    pictures_ = std::make_unique<TrainData>(o, data_);
    train_labels_ = Labelling::Of(pictures_->train());
  }

  bool IsUnderWay() const { return state_.epoch > 0 || state_.totals.images > 0 || state_.rate_tested; }

  int NumClasses() const { return static_cast<int>(data_.class_names.size()); }

  // The part of the model that a phase trains, as it starts or goes on.
  absl::StatusOr<std::unique_ptr<Suffix>> MakeSuffix(int index) {
    std::unique_ptr<Suffix> suffix;
    RETURN_IF_ERROR(TryTorch("build the trained stages", [&]() -> absl::Status {
      suffix = std::make_unique<Suffix>(*options_.backbone, options_.phases[index].split_point, options_.head,
                                        NumClasses(), options_.seed);
      return LoadWeights(suffix.get());
    }));
    return suffix;
  }

  absl::Status Announce(int index) {
    PhaseStarted started =
        Describe(options_.phases[index], index, *options_.backbone, options_.head, NumClasses());
    for (int i = 0; i < index; ++i) started.epochs_before += options_.phases[i].epochs;
    return observer_->OnPhase(started);
  }

  PhaseRun::Options RunOptions(int index) const {
    PhaseRun::Options o;
    o.phase = options_.phases[index];
    if (state_.found_rate > 0) o.phase = WithLearningRate(o.phase, state_.found_rate);
    o.index = index;
    o.seed = options_.seed;
    o.head = options_.head;
    o.precision = precision_;
    o.multi_label = data_.multi_label;
    if (options_.class_balance == ClassBalance::kWeights) {
      o.class_weights = data_.multi_label ? PositiveWeights(train_labels_, NumClasses())
                                          : BalancedWeights(train_labels_.one_each(), NumClasses());
    }
    return o;
  }

  // With the state that a resumed phase goes on from.
  absl::Status MakeRun(int index, std::unique_ptr<Suffix> suffix) {
    return TryTorch("prepare the training", [&]() -> absl::Status {
      run_ = std::make_unique<PhaseRun>(RunOptions(index), options_.backbone, std::move(suffix), pool_);
      if (!state_.optimizer.empty()) {
        const absl::Status loaded = run_->optimizer().LoadState(state_.optimizer);
        if (!loaded.ok()) return absl::FailedPreconditionError(absl::StrCat("resume_state: ", loaded.message()));
      }
      run_->average().Restore(state_.averages, state_.average_steps);
      if (precision_ == Precision::kFloat16) run_->scaler().Restore(state_.loss_scale, state_.sound_steps);
      return absl::OkStatus();
    });
  }

  absl::Status LoadWeights(Suffix* suffix) const {
    const absl::StatusOr<int> absent = suffix->LoadState(state_.weights);
    if (!absent.ok()) return absl::FailedPreconditionError(absl::StrCat("resume_state: ", absent.status().message()));
    // A phase that begins takes the stages it unfreezes from the backbone.
    if (!IsUnderWay() || *absent == 0) return absl::OkStatus();
    return absl::FailedPreconditionError(absl::StrCat("resume_state: ", *absent, " weights are missing"));
  }

  absl::Status RunPhase(int index) {
    const Phase& phase = options_.phases[index];
    run_.reset();
    ASSIGN_OR_RETURN(std::unique_ptr<Suffix> suffix, MakeSuffix(index));
    RETURN_IF_ERROR(Announce(index));
    ProgressReport report(observer_, "features");
    ASSIGN_OR_RETURN(const TrainData::Phased pictures, pictures_->Enter(index, cancel_, std::ref(report)));
    RETURN_IF_ERROR(MeasureFeatures(index, pictures.train, suffix.get()));
    const bool tests_rate = phase.rate_finder.steps > 0 && !IsUnderWay();
    if (tests_rate) RETURN_IF_ERROR(FindRate(index, *suffix, pictures.train));
    RETURN_IF_ERROR(MakeRun(index, std::move(suffix)));
    // Nobody shall hear of it twice.
    if (tests_rate && options_.state_seconds > 0) RETURN_IF_ERROR(SaveState(phase));
    Stopwatch watch;
    const int first = state_.epoch;
    while (state_.epoch < phase.epochs && !IsStale()) {
      const absl::Status ran =
          RunEpoch(index, pictures, [&] { return watch.seconds() / (state_.epoch - first + 1); });
      // A drain costs the next process nothing.
      if (absl::IsCancelled(ran) && cancel_.reason() == StopReason::kDrain) RETURN_IF_ERROR(SaveState(phase));
      RETURN_IF_ERROR(ran);
    }
    return FinishPhase(index, pictures.validation);
  }

  absl::Status FinishPhase(int index, Activations* validation) {
    const bool stops = options_.early_stopping.patience > 0;
    // The next phase starts afresh: only the weights go on.
    TrainState next;
    next.weights = stops ? state_.best_weights : run_->Weights();
    next.phase = index + 1;
    next.found_rates = state_.found_rates;
    const bool went_back = stops && state_.best_epoch != state_.epoch;
    state_ = std::move(next);
    if (index + 1 < static_cast<int>(options_.phases.size())) return absl::OkStatus();
    ASSIGN_OR_RETURN(validation_logits_, Logits(index, state_.weights, validation));
    if (!went_back) return absl::OkStatus();
    last_weights_ = run_->Weights();
    ASSIGN_OR_RETURN(last_logits_, Logits(index, last_weights_, validation));
    return absl::OkStatus();
  }

  // The first phase gives a head that standardizes what it needs, from the frozen backbone's features.
  absl::Status MeasureFeatures(int index, Activations* train, Suffix* suffix) {
    const bool is_first = index == 0 && state_.weights.empty();
    const bool has_features = options_.phases[index].split_point == options_.backbone->num_stages();
    if (!options_.head.standardize || !is_first || !has_features) return absl::OkStatus();
    ASSIGN_OR_RETURN(const FeatureStatistics statistics, MeasureStatistics(train, pool_, cancel_));
    return TryTorch("standardize the features", [&] {
      suffix->head().SetStatistics(statistics.mean, statistics.deviation);
      return absl::OkStatus();
    });
  }

  // On copies of all that the phase trains and draws from: it then begins as if there had been no test.
  absl::Status FindRate(int index, const Suffix& suffix, Activations* train) {
    PhaseRun::Options o = RunOptions(index);
    o.phase.ema_decay = 0;  // nobody asks for the averages
    std::unique_ptr<PhaseRun> copy;
    RETURN_IF_ERROR(TryTorch("copy the trained stages", [&]() -> absl::Status {
      auto twin = std::make_unique<Suffix>(*options_.backbone, o.phase.split_point, o.head, NumClasses(), 0);
      RETURN_IF_ERROR(twin->LoadState(suffix.State()).status());
      copy = std::make_unique<PhaseRun>(o, options_.backbone, std::move(twin), pool_);
      return absl::OkStatus();
    }));
    ProgressReport report(observer_, "learning rate finder");
    ASSIGN_OR_RETURN(LearningRateFound found,
                     FindLearningRate({copy.get(), train, [&](int epoch) { return OrderOf(index, epoch); }}, cancel_,
                                      std::ref(report)));
    found.applied = o.phase.rate_finder.apply && found.suggestion.has_value();
    if (found.applied) state_.found_rate = state_.found_rates[o.phase.name] = *found.suggestion;
    state_.rate_tested = true;
    return observer_->OnLearningRate(found);
  }

  bool IsStale() const {
    return options_.early_stopping.patience > 0 && state_.stale_epochs >= options_.early_stopping.patience;
  }

  absl::StatusOr<std::vector<float>> Logits(int phase, const TrainState::Tensors& weights, Activations* activations) {
    return PredictLogits({options_.backbone, options_.phases[phase].split_point, options_.head,
                          NumClasses()},
                         weights, activations, pool_, cancel_);
  }

  absl::StatusOr<LossAndAccuracy> Measure(int phase, Activations* activations) {
    ASSIGN_OR_RETURN(const std::vector<float> logits, Logits(phase, run_->Weights(), activations));
    return MeasureLogits(NumClasses(), Labelling::Of(activations->examples()), logits);
  }

  std::vector<int64_t> OrderOf(int phase, int epoch) const {
    if (options_.class_balance == ClassBalance::kSampling) {
      return BalancedIndices(train_labels_.one_each(), NumClasses(), options_.seed, phase, epoch);
    }
    return ShuffledIndices(static_cast<int64_t>(train_labels_.size()), options_.seed, phase, epoch);
  }

  absl::Status RunEpoch(int index, const TrainData::Phased& pictures, const std::function<double()>& mean_seconds) {
    const Phase& phase = run_->phase();
    Stopwatch watch;
    const std::vector<int64_t> order = OrderOf(index, state_.epoch);
    const auto count = static_cast<int64_t>(order.size());
    ProgressReport report(observer_, "train");
    const double before = state_.epoch_seconds;
    const absl::Status trained =
        run_->TrainEpoch(pictures.train, order, state_.epoch, cancel_, &state_.totals, [&]() -> absl::Status {
          if (state_.totals.images >= count) return absl::OkStatus();
          state_.epoch_seconds = before + watch.seconds();
          if (IsStateOld()) RETURN_IF_ERROR(SaveState(phase));
          return report(state_.totals.images, count);
        });
    RETURN_IF_ERROR(trained);
    const double train_seconds = before + watch.seconds();
    EpochMetrics m;
    m.phase = phase.name;
    m.epoch = state_.epoch + 1;
    m.phase_epochs = phase.epochs;
    const EpochTotals& totals = state_.totals;
    m.train_loss = run_->MeanLoss(totals);
    m.train_accuracy = static_cast<double>(totals.correct) / static_cast<double>(totals.images);
    ASSIGN_OR_RETURN(const LossAndAccuracy validation, Measure(index, pictures.validation));
    m.val_loss = validation.loss;
    m.val_accuracy = validation.accuracy;
    if (pictures.held_out != nullptr) {
      ASSIGN_OR_RETURN(const std::vector<float> logits, Logits(index, run_->Weights(), pictures.held_out));
      KeepBest(logits, Labelling::Of(pictures.held_out->examples()), &m);
    }
    m.learning_rate = phase.head_learning_rate * totals.last_rate_factor;
    m.images_per_second = static_cast<double>(totals.images) / std::max(train_seconds, 1e-9);
    m.seconds = before + watch.seconds();
    m.eta_seconds = mean_seconds() * RemainingEpochs(index, m.epoch);
    ++state_.epoch;
    state_.totals = EpochTotals();
    state_.epoch_seconds = 0;
    RETURN_IF_ERROR(observer_->OnEpoch(m));
    if (since_state_.seconds() < options_.state_seconds / 10 && state_.epoch < phase.epochs && !IsStale()) {
      return absl::OkStatus();
    }
    return SaveState(phase);
  }

  void KeepBest(const std::vector<float>& held_out_logits, const Labelling& labels, EpochMetrics* m) {
    const EarlyStopping& stop = options_.early_stopping;
    const LossAndAccuracy held_out = MeasureLogits(NumClasses(), labels, held_out_logits);
    m->held_out_loss = held_out.loss;
    m->held_out_accuracy = held_out.accuracy;
    // Larger is better.
    double metric = stop.metric == StopMetric::kLoss ? -held_out.loss : held_out.accuracy;
    if (stop.metric == StopMetric::kMacroF1) {
      metric = MacroF1(EvaluateLogits(data_.class_names, labels, held_out_logits));
      m->held_out_macro_f1 = metric;
    }
    m->best = state_.best_weights.empty() || metric > state_.best_metric + stop.min_delta;
    ++state_.stale_epochs;
    if (!m->best) return;
    state_.best_metric = metric;
    state_.best_epoch = m->epoch;
    state_.stale_epochs = 0;
    state_.best_weights.clear();
    for (const auto& [name, value] : run_->Weights()) state_.best_weights[name] = value.clone();
  }

  int RemainingEpochs(int phase, int done) const {
    int remaining = options_.phases[phase].epochs - done;
    for (size_t i = phase + 1; i < options_.phases.size(); ++i) remaining += options_.phases[i].epochs;
    return remaining;
  }

  bool IsStateOld() const {
    return options_.state_seconds > 0 && since_state_.seconds() >= options_.state_seconds;
  }

  absl::Status SaveState(const Phase& phase) {
    state_.fingerprint = fingerprint_;
    state_.weights = run_->suffix().State();
    state_.optimizer = run_->optimizer().State();
    state_.averages = run_->average().averages();
    state_.average_steps = run_->average().steps();
    state_.loss_scale = run_->scaler().scale();
    state_.sound_steps = run_->scaler().sound_steps();
    const absl::Status told =
        observer_->OnState({phase.name, state_.epoch, state_.totals.images}, SerializeTrainState(state_));
    since_state_ = Stopwatch();
    return told;
  }

  absl::StatusOr<TrainResult> MakeResult() {
    TrainedWeights trained;
    trained.weights = state_.weights;
    trained.found_rates = state_.found_rates;
    trained.validation_logits = std::move(validation_logits_);
    trained.last_weights = last_weights_;
    trained.last_validation_logits = std::move(last_logits_);
    return MakeTrainResult(options_, data_, trained, pictures_.get(), pool_, cancel_);
  }

  const TrainOptions& options_;
  const Dataset& data_;
  WorkerPool* const pool_;
  TrainObserver* const observer_;
  const CancelToken cancel_;
  Precision precision_ = Precision::kFloat32;
  std::string fingerprint_;
  TrainState state_;
  Stopwatch since_state_;
  std::unique_ptr<TrainData> pictures_;
  Labelling train_labels_;
  std::unique_ptr<PhaseRun> run_;
  std::vector<float> validation_logits_;  // of state_.weights
  TrainState::Tensors last_weights_;      // of the last epoch, with early stopping
  std::vector<float> last_logits_;
};

}  // namespace

PhaseStarted Describe(const Phase& phase, int index, const Backbone& backbone, const HeadOptions& head,
                      int64_t num_classes) {
  PhaseStarted started;
  started.phase = &phase;
  started.index = index;
  for (int i = phase.split_point; i < backbone.num_stages(); ++i) {
    if (backbone.parameter_count(i, i + 1) > 0) started.trained_stages.push_back(backbone.stage_names()[i]);
  }
  started.parameters.trainable_backbone = backbone.parameter_count(phase.split_point, backbone.num_stages());
  started.parameters.trainable_head = ParameterCount(head, backbone.feature_width(), num_classes);
  started.parameters.frozen = backbone.parameter_count(0, phase.split_point);
  return started;
}

void SetFrom(const Recipe& recipe, TrainOptions* options) {
  options->head = recipe.head;
  options->early_stopping = recipe.early_stopping;
  options->class_balance = recipe.class_balance;
  options->precision = recipe.precision;
  options->precision_target = recipe.precision_target;
  options->folds = recipe.folds;
  options->learning_curve = recipe.learning_curve;
  options->state_seconds = recipe.checkpoint_seconds;
}

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

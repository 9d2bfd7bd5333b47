#include "worker/train/auto_train.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "worker/backbone/torch_status.h"
#include "worker/base/status.h"
#include "worker/train/backbone_ranking.h"
#include "worker/train/folds.h"
#include "worker/train/progress_report.h"
#include "worker/train/train_data.h"

namespace graft {
namespace {

constexpr double kHoldout = 0.2;
constexpr double kRankingShare = 0.4;        // of the budget, for all backbones' features
constexpr double kFewImagesAClass = 50;      // below, the rule of thumb says: frozen
constexpr double kGoodProbe = 0.9;           // above, too
// Of AdamW on all stages; chosen on held-out training pictures (docs/benchmarks.md).
constexpr double kWholeLearningRate = 5e-4;
constexpr double kFinalOverTrial = 1.5;      // seconds of the final training over those of its trial, with a margin

// Only progress gets through: what is tried is not the job's training. Keeps the job's observer's first error, which
// must not be taken for a backbone's or a training's own.
class TrialObserver : public TrainObserver {
 public:
  explicit TrialObserver(TrainObserver* job) : job_(job) {}
  absl::Status OnPhase(const PhaseStarted&) override { return absl::OkStatus(); }
  absl::Status OnProgress(const Progress& progress) override {
    Progress trial = progress;
    trial.activity = absl::StrCat("auto: ", progress.activity);
    error_.Update(job_->OnProgress(trial));
    return error_;
  }
  absl::Status OnLearningRate(const LearningRateFound&) override { return absl::OkStatus(); }
  absl::Status OnEpoch(const EpochMetrics& metrics) override {
    epoch_seconds_.push_back(metrics.seconds);
    return absl::OkStatus();
  }
  absl::Status OnState(const StatePoint&, const std::string&) override { return absl::OkStatus(); }
  absl::Status OnWarning(const std::string&) override { return absl::OkStatus(); }
  const absl::Status& error() const { return error_; }
  const std::vector<double>& epoch_seconds() const { return epoch_seconds_; }  // of all trials, in order

 private:
  TrainObserver* const job_;
  absl::Status error_;
  std::vector<double> epoch_seconds_;
};

std::string Describe(const Recipe& r) {
  const std::string optimizer = OptimizerName(r.optimizer.kind);
  if (r.strategy == Strategy::kFrozenHead) {
    return absl::StrCat("frozen backbone, ", HeadTypeName(r.head.type), " head, ", optimizer);
  }
  const std::string stages = r.unfreeze_from.empty() ? absl::StrCat("the last ", r.unfreeze_stages, " stages")
                                                     : absl::StrCat("from ", r.unfreeze_from, " on");
  const std::string rate = r.rate_finder.apply ? "the rate that its finder suggests" : absl::StrCat(r.learning_rate);
  return absl::StrCat("fine-tune ", stages, ", ", optimizer, " at ", rate, ", augmentation ", r.augmentation);
}

// One training to try.
struct Candidate {
  std::string what;
  Recipe recipe;   // with defaults
  bool tunes = false;
};

std::string Percent(double share) { return absl::StrFormat("%.1f %%", 100 * share); }

class Chooser {
 public:
  Chooser(const AutoOptions& options, const Dataset& data, WorkerPool* pool, TrainObserver* observer,
          const CancelToken& cancel)
      : options_(options), data_(data), pool_(pool), observer_(observer), cancel_(cancel) {}

  absl::StatusOr<AutoChoice> Run() {
    RETURN_IF_ERROR(CheckForLabels(options_.recipe, data_.multi_label));
    SplitTrainingPictures();
    if (inner_.validation.empty()) {
      return absl::InvalidArgumentError("dataset: got one training picture a class, want more to compare trainings on");
    }
    RETURN_IF_ERROR(Rank());
    ASSIGN_OR_RETURN(choice_.backbone, options_.load(report().backbones.front().name));
    RETURN_IF_ERROR(TryTrainings());
    return std::move(choice_);
  }

 private:
  AutoReport& report() { return choice_.report; }
  void Say(std::string sentence) { report().reasons.push_back(std::move(sentence)); }
  // What a picture must be to count as right.
  const char* Right() const { return data_.multi_label ? "right in every class" : "right"; }
  double SecondsLeft() const { return options_.budget_seconds - watch_.seconds(); }

  absl::Status Rank() {
    const double seconds = kRankingShare * options_.budget_seconds;
    ASSIGN_OR_RETURN(const BackboneRanking ranking,
                     RankBackbones(options_, data_, seconds, pool_, &observer_, cancel_));
    report().backbones = ranking.backbones;
    for (const std::string& sentence : ranking.left_out) Say(sentence);
    const RankedBackbone& best = report().backbones.front();
    Say(absl::StrCat("Of ", report().backbones.size(), " backbones ", best.name,
                     " suits these pictures best: a linear probe on its frozen features is ", Right(), " for ",
                     Percent(best.accuracy), " (standard deviation of ", kRankingFolds, " folds ",
                     Percent(best.standard_deviation), ", log-loss ", absl::StrFormat("%.3f", best.log_loss),
                     ", LogME ", absl::StrFormat("%.3f", best.log_me), ")."));
    return absl::OkStatus();
  }

  void SplitTrainingPictures() {
    HoldOut(data_.train, kHoldout, options_.train.seed, &inner_.train, &inner_.validation);
    inner_.class_names = data_.class_names;
    inner_.read = data_.read;
    inner_.multi_label = data_.multi_label;
  }

  // A recipe in which `set` fills in what the user left open.
  absl::StatusOr<Candidate> MakeCandidate(Strategy strategy, const std::function<void(Recipe*)>& set) const {
    Recipe recipe = options_.recipe;
    recipe.strategy = strategy;
    set(&recipe);
    Candidate candidate;
    candidate.tunes = strategy != Strategy::kFrozenHead;
    ASSIGN_OR_RETURN(candidate.recipe, WithDefaults(recipe));
    candidate.what = Describe(candidate.recipe);
    return candidate;
  }

  // Sets an option that the user left open.
  template <typename T>
  static void Choose(Recipe* recipe, const char* path, T* field, T value) {
    if (recipe->chosen.insert(path).second) *field = std::move(value);
  }

  std::vector<Candidate> Candidates() {
    std::vector<Candidate> all;
    const auto add = [&](Strategy strategy, const std::function<void(Recipe*)>& set) {
      absl::StatusOr<Candidate> candidate = MakeCandidate(strategy, set);
      if (!candidate.ok()) {
        error_ = candidate.status();  // an option of the user's that this strategy has not
        return;
      }
      const bool is_new =
          std::none_of(all.begin(), all.end(), [&](const Candidate& c) { return c.what == candidate->what; });
      if (is_new) all.push_back(*std::move(candidate));
    };
    add(Strategy::kFrozenHead, [](Recipe*) {});
    add(Strategy::kFrozenHead, [](Recipe* r) {
      Choose(r, "optimizer.type", &r->optimizer.kind, OptimizerKind::kLbfgs);
      Choose(r, "optimizer.weight_decay", &r->weight_decay, 1e-2);
    });
    add(Strategy::kFrozenHead, [](Recipe* r) { Choose(r, "head.type", &r->head.type, HeadType::kMlp); });
    if (!choice_.backbone->architecture().trainable) return all;
    add(Strategy::kFineTune, [](Recipe*) {});
    add(Strategy::kFineTune, [this](Recipe* r) {
      Choose(r, "fine_tune.unfreeze_from", &r->unfreeze_from, choice_.backbone->stage_names().front());
      Choose(r, "optimizer.type", &r->optimizer.kind, OptimizerKind::kAdamW);
      if (r->optimizer.kind == OptimizerKind::kAdamW) {
        // The rate is still one that the user left open.
        const bool open = r->rate_finder.steps > 0 && r->chosen.count("learning_rate") == 0;
        if (open) Choose(r, "learning_rate_finder.apply", &r->rate_finder.apply, true);
        Choose(r, "learning_rate", &r->learning_rate, kWholeLearningRate);
      }
    });
    return all;
  }

  TrainOptions OptionsFor(const Recipe& recipe) const {
    TrainOptions o = options_.train;
    SetFrom(recipe, &o);
    o.backbone = choice_.backbone;
    o.folds = o.learning_curve = 0;
    o.resume_state.clear();
    return o;
  }

  absl::Status Try(const Candidate& candidate, TriedTraining* tried) {
    Stopwatch watch;
    TrainOptions o = OptionsFor(candidate.recipe);
    ASSIGN_OR_RETURN(o.preprocessing, choice_.backbone->PreprocessingFor(options_.input_px));
    ASSIGN_OR_RETURN(o.phases, MakePhases(candidate.recipe, *choice_.backbone));
    ASSIGN_OR_RETURN(const TrainResult result, Train(o, inner_, pool_, &observer_, cancel_));
    const Evaluation& held_out = result.assessment.evaluation;
    tried->accuracy = held_out.accuracy;
    tried->standard_error = std::sqrt(held_out.accuracy * (1 - held_out.accuracy) /
                                      std::max<double>(1, static_cast<double>(held_out.image_count)));
    tried->seconds = watch.seconds();
    return absl::OkStatus();
  }

  // Seconds that a fine-tune will take, from few pictures: an epoch on each view that is kept, and one on a view that
  // is used again, which costs less.
  absl::StatusOr<double> EstimateSeconds(const Candidate& candidate) {
    Dataset few = inner_;
    const double share = std::min(1.0, 64.0 / static_cast<double>(inner_.train.size()));
    const auto cut = [&](std::vector<Example>* examples) {
      std::vector<Example> kept;
      for (const int64_t i : StratifiedSubset(Labelling::Of(*examples), share, options_.train.seed)) {
        kept.push_back((*examples)[i]);
      }
      *examples = std::move(kept);
    };
    cut(&few.train);
    cut(&few.validation);
    Recipe brief = candidate.recipe;
    brief.epochs = std::min(brief.epochs, brief.augmented_views + 1);
    brief.head_epochs = 1;
    brief.rate_finder = RateFinderOptions();  // its steps are as long as an epoch's
    brief.early_stopping = EarlyStopping();   // every epoch is to be timed; so few pictures leave none to hold out
    TrainOptions o = OptionsFor(brief);
    o.activation_store = nullptr;  // these pictures' rows would make the next measurement too good
    ASSIGN_OR_RETURN(o.preprocessing, choice_.backbone->PreprocessingFor(options_.input_px));
    ASSIGN_OR_RETURN(o.phases, MakePhases(brief, *choice_.backbone));
    const std::vector<double>& timed = observer_.epoch_seconds();
    const size_t timed_before = timed.size();
    RETURN_IF_ERROR(Train(o, few, pool_, &observer_, cancel_).status());
    GRAFT_CHECK(timed.size() == timed_before + static_cast<size_t>(brief.head_epochs + brief.epochs));
    const Recipe& r = candidate.recipe;
    const double* const measured = timed.data() + timed.size() - brief.epochs;
    double epochs_seconds = 0;
    for (int epoch = 0; epoch < r.epochs; ++epoch) {
      epochs_seconds += measured[ComputesItsView(epoch, r.augmented_views) ? 0 : brief.epochs - 1];
    }
    const double images = static_cast<double>(inner_.train.size()) / static_cast<double>(few.train.size());
    const double finder_images = static_cast<double>(r.rate_finder.steps) * r.batch_size * r.accumulate_batches;
    return images * epochs_seconds + finder_images / static_cast<double>(few.train.size()) * measured[0];
  }

  bool RuleSaysFrozen() const {
    size_t labels = 0;
    for (const Example& example : data_.train) labels += example.label >= 0 ? 1 : example.labels.size();
    const double a_class = static_cast<double>(labels) / static_cast<double>(data_.class_names.size());
    return a_class < kFewImagesAClass || choice_.report.backbones.front().accuracy > kGoodProbe;
  }

  absl::Status TryTrainings() {
    const std::vector<Candidate> candidates = Candidates();
    if (candidates.empty()) return error_;
    const bool frozen_prior = RuleSaysFrozen();
    Say(absl::StrCat(data_.train.size(), " training pictures of ", data_.class_names.size(), " classes: the rule of "
                     "thumb says ", frozen_prior ? "to keep the backbone frozen" : "that fine-tuning should pay", "."));
    int best = -1;
    for (size_t i = 0; i < candidates.size(); ++i) {
      TriedTraining tried;
      tried.backbone = choice_.backbone->name();
      tried.what = candidates[i].what;
      RETURN_IF_ERROR(TryOne(candidates[i], &tried));
      report().trainings.push_back(tried);
      if (!tried.accuracy) continue;
      const bool better = best < 0 || Beats(tried, candidates[i].tunes, report().trainings[best],
                                            candidates[best].tunes, frozen_prior);
      if (better) best = static_cast<int>(i);
    }
    if (best < 0) return ChooseUntried(candidates);
    report().trainings[best].chosen = true;
    choice_.recipe = candidates[best].recipe;
    const TriedTraining& chosen = report().trainings[best];
    Say(absl::StrCat("Chosen: ", chosen.what, ", ", Right(), " for ", Percent(*chosen.accuracy), " of ",
                     inner_.validation.size(), " held-out training pictures (standard error ",
                     Percent(chosen.standard_error), "). It is now trained on all training pictures."));
    return absl::OkStatus();
  }

  // When there was no time to try any: what would take the least.
  absl::Status ChooseUntried(const std::vector<Candidate>& candidates) {
    int quickest = -1;
    std::vector<TriedTraining>& trainings = report().trainings;
    for (size_t i = 0; i < trainings.size(); ++i) {
      if (trainings[i].seconds == 0) continue;  // tried in vain
      if (quickest < 0 || trainings[i].seconds < trainings[quickest].seconds) quickest = static_cast<int>(i);
    }
    if (quickest < 0) return absl::InvalidArgumentError(absl::StrCat("auto: ", report().reasons.back()));
    trainings[quickest].chosen = true;
    choice_.recipe = candidates[quickest].recipe;
    Say(absl::StrCat("Chosen: ", trainings[quickest].what, ", the quickest: there was no time to try any."));
    return absl::OkStatus();
  }

  absl::Status TryOne(const Candidate& candidate, TriedTraining* tried) {
    const bool has_tried = !report().trainings.empty();
    if (candidate.tunes && SecondsLeft() <= 0 && has_tried) {
      Say(absl::StrCat("Not tried: ", candidate.what, ": no time is left."));
      return absl::OkStatus();
    }
    if (candidate.tunes) {
      const absl::StatusOr<double> estimate = EstimateSeconds(candidate);
      if (absl::IsInvalidArgument(estimate.status())) return SayInVain(candidate, estimate.status());
      RETURN_IF_ERROR(estimate.status());
      tried->seconds = *estimate;
      if (tried->seconds * (1 + kFinalOverTrial) > SecondsLeft()) {
        Say(absl::StrCat("Not tried: ", candidate.what, ", about ", std::lround(tried->seconds), " s, and ",
                         std::lround(tried->seconds * kFinalOverTrial), " s more if it were chosen; ",
                         std::lround(SecondsLeft()), " s are left."));
        return absl::OkStatus();
      }
    }
    const absl::Status status = Try(candidate, tried);
    if (!absl::IsInvalidArgument(status)) return status;
    tried->seconds = 0;  // an estimate of what cannot be trained
    return SayInVain(candidate, status);
  }

  // What cannot be trained (a loss that became infinite, say) is no reason to end.
  absl::Status SayInVain(const Candidate& candidate, const absl::Status& why) {
    RETURN_IF_ERROR(observer_.error());
    Say(absl::StrCat("Tried in vain: ", candidate.what, ": ", why.message(), "."));
    return absl::OkStatus();
  }

  // What the rule of thumb speaks against must be better by a standard error; among equals the earlier, simpler
  // candidate stays.
  static bool Beats(const TriedTraining& a, bool a_tunes, const TriedTraining& b, bool b_tunes, bool frozen_prior) {
    const double gain = *a.accuracy - *b.accuracy;
    if (a_tunes == b_tunes) return gain > 0;
    const bool a_has_prior = a_tunes != frozen_prior;
    return a_has_prior ? gain > 0 : gain > std::max(a.standard_error, b.standard_error);
  }

  const AutoOptions& options_;
  const Dataset& data_;
  WorkerPool* const pool_;
  TrialObserver observer_;
  const CancelToken cancel_;
  const Stopwatch watch_;
  AutoChoice choice_;
  Dataset inner_;  // train: four fifths of the training split; validation: the fifth that is held out
  absl::Status error_;
};

}  // namespace

absl::StatusOr<AutoChoice> ChooseTraining(const AutoOptions& options, const Dataset& data, WorkerPool* pool,
                                          TrainObserver* observer, const CancelToken& cancel) {
  absl::StatusOr<AutoChoice> choice = absl::InternalError("not run");
  RETURN_IF_ERROR(TryTorch("choose a training", [&] {
    choice = Chooser(options, data, pool, observer, cancel).Run();
    return choice.status();
  }));
  return choice;
}

}  // namespace graft

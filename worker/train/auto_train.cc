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
  absl::Status OnPhase(const PhaseStarted& phase) override {
    phase_ = phase.index;
    accuracies_.clear();
    return absl::OkStatus();
  }
  absl::Status OnProgress(const Progress& progress) override {
    Progress trial = progress;
    trial.activity = absl::StrCat("auto: ", progress.activity);
    error_.Update(job_->OnProgress(trial));
    return error_;
  }
  absl::Status OnLearningRate(const LearningRateFound&) override { return absl::OkStatus(); }
  absl::Status OnEpoch(const EpochMetrics& metrics) override {
    accuracies_.push_back(metrics.val_accuracy);
    return absl::OkStatus();
  }
  absl::Status OnState(const StatePoint&, const std::string&) override { return absl::OkStatus(); }
  absl::Status OnWarning(const std::string&) override { return absl::OkStatus(); }
  const absl::Status& error() const { return error_; }
  // On what is held out, of the finished epochs of a phase if it is the one that began last.
  std::vector<double> accuracies(int phase) const { return phase == phase_ ? accuracies_ : std::vector<double>(); }

 private:
  TrainObserver* const job_;
  absl::Status error_;
  int phase_ = -1;
  std::vector<double> accuracies_;
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
  Recipe recipe;         // with defaults
  bool tunes = false;
  absl::Status in_vain;  // why it cannot be trained
};

std::string Percent(double share) { return absl::StrFormat("%.1f %%", 100 * share); }

class Chooser {
 public:
  Chooser(const AutoOptions& options, const Dataset& data, WorkerPool* pool, TrainObserver* observer,
          const CancelToken& cancel)
      : options_(options), data_(data), pool_(pool), observer_(observer), cancel_(cancel),
        began_(options.clock->Now()) {}

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
  absl::Time At(double seconds) const { return began_ + absl::Seconds(seconds); }
  double SecondsSince(absl::Time time) const { return absl::ToDoubleSeconds(options_.clock->Now() - time); }

  absl::Status Rank() {
    const absl::Time deadline = At(kRankingShare * options_.budget_seconds);
    ASSIGN_OR_RETURN(const BackboneRanking ranking,
                     RankBackbones(options_, data_, deadline, pool_, &observer_, cancel_));
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

  void SetAccuracy(double accuracy, TriedTraining* tried) const {
    tried->accuracy = accuracy;
    tried->standard_error = std::sqrt(accuracy * (1 - accuracy) / static_cast<double>(inner_.validation.size()));
  }

  absl::Status Try(const CancelToken& cancel, Candidate* candidate, TriedTraining* tried) {
    const absl::Time began = options_.clock->Now();
    TrainOptions o = OptionsFor(candidate->recipe);
    ASSIGN_OR_RETURN(o.preprocessing, choice_.backbone->PreprocessingFor(options_.input_px));
    ASSIGN_OR_RETURN(o.phases, MakePhases(candidate->recipe, *choice_.backbone));
    const absl::StatusOr<TrainResult> result = Train(o, inner_, pool_, &observer_, cancel);
    tried->seconds = SecondsSince(began);
    if (absl::IsDeadlineExceeded(result.status())) {
      Shorten(observer_.accuracies(static_cast<int>(o.phases.size()) - 1), candidate, tried);
      return absl::OkStatus();
    }
    RETURN_IF_ERROR(result.status());
    SetAccuracy(result->assessment.evaluation.accuracy, tried);
    return absl::OkStatus();
  }

  // A training whose time was over after these epochs. The learning rate had not gone down as far as it will in the
  // shorter one, which should do better.
  void Shorten(const std::vector<double>& accuracies, Candidate* candidate, TriedTraining* tried) {
    Recipe& recipe = candidate->recipe;
    const auto done = static_cast<int>(accuracies.size());
    std::string said = absl::StrCat(candidate->what, ": its share of the time was over after ",
                                    std::lround(tried->seconds), " s and ", done, " of ", recipe.epochs, " epochs");
    const int wanted = std::exchange(recipe.epochs, done);
    const bool open = recipe.chosen.count("epochs") == 0 || done == wanted;
    if (done == 0 || !open || !MakePhases(recipe, *choice_.backbone).ok()) {
      recipe.epochs = wanted;
      Say(absl::StrCat("Stopped ", said, "."));
      return;
    }
    SetAccuracy(accuracies.back(), tried);
    if (done == wanted) return;
    Say(absl::StrCat("Shortened ", said, ", with ", Percent(accuracies.back()), " ", Right(), "."));
    absl::StrAppend(&candidate->what, ", ", done, " of ", wanted, " epochs");
    tried->what = candidate->what;
  }

  bool RuleSaysFrozen() const {
    size_t labels = 0;
    for (const Example& example : data_.train) labels += example.label >= 0 ? 1 : example.labels.size();
    const double a_class = static_cast<double>(labels) / static_cast<double>(data_.class_names.size());
    return a_class < kFewImagesAClass || choice_.report.backbones.front().accuracy > kGoodProbe;
  }

  absl::Status TryTrainings() {
    std::vector<Candidate> candidates = Candidates();
    if (candidates.empty()) return error_;
    const bool frozen_prior = RuleSaysFrozen();
    Say(absl::StrCat(data_.train.size(), " training pictures of ", data_.class_names.size(), " classes: the rule of "
                     "thumb says ", frozen_prior ? "to keep the backbone frozen" : "that fine-tuning should pay", "."));
    int best = -1;
    for (size_t i = 0; i < candidates.size(); ++i) {
      TriedTraining tried;
      tried.backbone = choice_.backbone->name();
      tried.what = candidates[i].what;
      RETURN_IF_ERROR(TryOne(static_cast<int>(candidates.size() - i), &candidates[i], &tried));
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
    SayWhatWasNearlyChosen(chosen);
    const char* const but = choice_.recipe.early_stopping.patience > 0 ? ", but for what early stopping holds out" : "";
    Say(absl::StrCat("Chosen: ", chosen.what, ", ", Right(), " for ", Percent(*chosen.accuracy), " of ",
                     inner_.validation.size(), " held-out training pictures (standard error ",
                     Percent(chosen.standard_error), "). It is now trained on all training pictures", but, "."));
    return absl::OkStatus();
  }

  void SayWhatWasNearlyChosen(const TriedTraining& chosen) {
    for (const TriedTraining& other : report().trainings) {
      if (!other.accuracy || *other.accuracy <= *chosen.accuracy) continue;
      Say(absl::StrCat("Not chosen: ", other.what, ", ", Right(), " for ", Percent(*other.accuracy), ": more by less "
                       "than a standard error, and the rule of thumb speaks against it."));
    }
  }

  // When there was no time for one epoch of any.
  absl::Status ChooseUntried(const std::vector<Candidate>& candidates) {
    for (size_t i = 0; i < candidates.size(); ++i) {
      if (!candidates[i].in_vain.ok()) continue;
      report().trainings[i].chosen = true;
      choice_.recipe = candidates[i].recipe;
      Say(absl::StrCat("Chosen: ", candidates[i].what, ", the first: there was no time to compare any."));
      return absl::OkStatus();
    }
    return absl::Status(candidates.back().in_vain.code(), absl::StrCat("auto: ", report().reasons.back()));
  }

  // Tries the first of the `untried` candidates. Each may take as much as leaves the others as much, and the final
  // training its own. A frozen head that comes first takes what it takes: there is something to choose then.
  absl::Status TryOne(int untried, Candidate* candidate, TriedTraining* tried) {
    CancelToken cancel = cancel_;
    if (candidate->tunes || !report().trainings.empty()) {
      const double left = options_.budget_seconds - SecondsSince(began_);
      if (left <= 0) {
        Say(absl::StrCat("Not tried: ", candidate->what, ": no time is left."));
        return absl::OkStatus();
      }
      cancel = cancel.Until(options_.clock, options_.clock->Now() + absl::Seconds(left / (kFinalOverTrial + untried)));
    }
    candidate->in_vain = Try(cancel, candidate, tried);
    RETURN_IF_ERROR(observer_.error());
    if (candidate->in_vain.ok()) return absl::OkStatus();
    // What cannot be trained (a loss that became infinite, too little memory) is no reason to end.
    const absl::Status& why = candidate->in_vain;
    if (!absl::IsInvalidArgument(why) && !absl::IsResourceExhausted(why)) return why;
    Say(absl::StrCat("Tried in vain: ", candidate->what, ": ", why.message(), "."));
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
  const absl::Time began_;
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

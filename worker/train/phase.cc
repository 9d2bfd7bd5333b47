#include "worker/train/phase.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "worker/base/status.h"

namespace graft {
namespace {

// Of the head's own phase: the defaults of a frozen head.
constexpr double kHeadLearningRate = 1e-2, kHeadWeightDecay = 1e-2;

// The last phase of each strategy, but for its split point.
Phase LastPhase(const char* name, const Recipe& r) {
  Phase phase;
  phase.name = name;
  phase.epochs = r.epochs;
  phase.batch_size = r.batch_size;
  phase.accumulate_batches = r.accumulate_batches;
  phase.head_learning_rate = r.learning_rate;
  phase.rate_finder = r.rate_finder;
  phase.optimizer = r.optimizer;
  phase.weight_decay = r.weight_decay;
  phase.schedule = r.schedule;
  phase.label_smoothing = r.label_smoothing;
  phase.clip_norm = r.clip_norm;
  phase.ema_decay = r.ema_decay;
  phase.mix = r.mix;
  phase.augment = r.augment;
  phase.augmented_views = r.augmented_views;
  return phase;
}

std::vector<Phase> FrozenHead(const Recipe& recipe, const Backbone& backbone) {
  Phase head = LastPhase("head", recipe);
  head.split_point = backbone.num_stages();
  return {head};
}

// Before the backbone is touched; plain pictures and plain SGD at a fixed rate, whatever comes after.
Phase HeadsOwnPhase(const Recipe& recipe, const Backbone& backbone) {
  Phase head;
  head.name = "head";
  head.split_point = backbone.num_stages();
  head.epochs = recipe.head_epochs;
  head.batch_size = recipe.batch_size;
  head.head_learning_rate = kHeadLearningRate;
  head.weight_decay = kHeadWeightDecay;
  head.schedule.kind = ScheduleKind::kCosine;
  return head;
}

Phase TunePhase(const char* name, const Recipe& recipe, int split_point) {
  Phase tune = LastPhase(name, recipe);
  tune.split_point = split_point;
  tune.backbone_learning_rate = recipe.learning_rate;
  tune.stage_decay = recipe.stage_decay;
  tune.l2_sp = recipe.l2_sp;
  return tune;
}

// Stages with parameters: pooling does not count as unfrozen.
std::vector<int> TrainableStages(const Backbone& backbone) {
  std::vector<int> trainable;
  for (int i = 0; i < backbone.num_stages(); ++i) {
    if (backbone.parameter_count(i, i + 1) > 0) trainable.push_back(i);
  }
  return trainable;
}

// The trainable stages that a recipe unfreezes, ascending.
absl::StatusOr<std::vector<int>> UnfrozenStages(const Recipe& recipe, const Backbone& backbone) {
  const std::vector<int> trainable = TrainableStages(backbone);
  const auto available = static_cast<int>(trainable.size());
  if (recipe.unfreeze_from.empty()) {
    if (recipe.unfreeze_stages < 1 || recipe.unfreeze_stages > available) {
      return absl::InvalidArgumentError(absl::StrCat("fine_tune.unfreeze_stages: got ", recipe.unfreeze_stages,
                                                     ", want 1 to ", available, ", the stages of ", backbone.name()));
    }
    return std::vector<int>(trainable.end() - recipe.unfreeze_stages, trainable.end());
  }
  std::vector<std::string> names;
  for (size_t i = 0; i < trainable.size(); ++i) {
    names.push_back(backbone.stage_names()[trainable[i]]);
    if (names.back() == recipe.unfreeze_from) return std::vector<int>(trainable.begin() + i, trainable.end());
  }
  return absl::InvalidArgumentError(absl::StrCat("fine_tune.unfreeze_from: got \"", recipe.unfreeze_from,
                                                 "\", want one of ", absl::StrJoin(names, ", ")));
}

absl::StatusOr<std::vector<Phase>> FineTune(const Recipe& recipe, const Backbone& backbone) {
  ASSIGN_OR_RETURN(const std::vector<int> unfrozen, UnfrozenStages(recipe, backbone));
  return std::vector<Phase>{HeadsOwnPhase(recipe, backbone), TunePhase("fine-tune", recipe, unfrozen.front())};
}

// Every phase unfreezes one stage more; the epochs are shared out, what is left over goes to the last ones.
absl::StatusOr<std::vector<Phase>> Gradual(const Recipe& recipe, const Backbone& backbone) {
  ASSIGN_OR_RETURN(const std::vector<int> unfrozen, UnfrozenStages(recipe, backbone));
  const auto count = static_cast<int>(unfrozen.size());
  if (recipe.epochs < count) {
    return absl::InvalidArgumentError(absl::StrCat("epochs: got ", recipe.epochs, ", want at least ", count,
                                                   ", one for each stage that is unfrozen"));
  }
  std::vector<Phase> phases{HeadsOwnPhase(recipe, backbone)};
  for (int i = 0; i < count; ++i) {
    phases.push_back(TunePhase("", recipe, unfrozen[count - 1 - i]));
    phases.back().name = absl::StrCat("unfreeze-", i + 1);
    phases.back().epochs = recipe.epochs / count + (i >= count - recipe.epochs % count ? 1 : 0);
  }
  return phases;
}

std::vector<Phase> Scratch(const Recipe& recipe, const Backbone& backbone) {
  Phase scratch = LastPhase("scratch", recipe);
  scratch.split_point = 0;
  scratch.backbone_learning_rate = recipe.learning_rate;
  // Without batch norm there are no statistics to learn, and all threads train.
  const bool has_batch_norm = backbone.architecture().norm_epsilon > 0;
  scratch.batch_norm = has_batch_norm ? BatchNormPolicy::kTrainUnfrozen : BatchNormPolicy::kEval;
  return {scratch};
}

absl::StatusOr<std::vector<Phase>> PhasesOf(const Recipe& recipe, const Backbone& backbone) {
  if (recipe.strategy == Strategy::kFrozenHead) return FrozenHead(recipe, backbone);
  if (!backbone.architecture().trainable) {
    return absl::InvalidArgumentError(
        absl::StrCat("backbone: ", backbone.name(), " can only be used frozen; want strategy frozen-head"));
  }
  if (recipe.strategy == Strategy::kFineTune) return FineTune(recipe, backbone);
  if (recipe.strategy == Strategy::kGradual) return Gradual(recipe, backbone);
  return Scratch(recipe, backbone);
}

}  // namespace

Phase WithLearningRate(Phase phase, double head_learning_rate) {
  phase.backbone_learning_rate = head_learning_rate * (phase.backbone_learning_rate / phase.head_learning_rate);
  phase.head_learning_rate = head_learning_rate;
  return phase;
}

double LearningRateOf(int stage, const std::set<int>& trained, const Phase& phase) {
  const auto later = static_cast<double>(std::distance(trained.upper_bound(stage), trained.end()));
  return phase.backbone_learning_rate * std::pow(phase.stage_decay, later);
}

std::string KeyOf(const Phase& p) {
  const OptimizerOptions& o = p.optimizer;
  const ScheduleOptions& s = p.schedule;
  const std::vector<double> numbers{
      p.head_learning_rate, p.backbone_learning_rate, p.stage_decay, p.weight_decay, p.label_smoothing, p.clip_norm,
      p.l2_sp, p.ema_decay, p.mix.mixup_alpha, p.mix.cutmix_alpha, o.momentum, o.beta1, o.beta2, o.smoothing, o.epsilon,
      s.warmup_epochs, s.step_epochs, s.step_factor, s.peak_fraction, s.start_factor, s.end_factor};
  const std::vector<int> counts{p.split_point, p.epochs, p.batch_size, p.accumulate_batches,
                                static_cast<int>(o.kind), o.nesterov ? 1 : 0, o.history, static_cast<int>(s.kind),
                                p.augmented_views, static_cast<int>(p.batch_norm), p.rate_finder.steps,
                                p.rate_finder.apply ? 1 : 0};
  const auto exact = [](std::string* out, double value) { absl::StrAppendFormat(out, "%.17g", value); };
  return absl::StrCat(absl::StrJoin(counts, " "), " ", absl::StrJoin(numbers, " ", exact), " ", KeyOf(p.augment));
}

absl::StatusOr<std::vector<Phase>> MakePhases(const Recipe& recipe, const Backbone& backbone) {
  ASSIGN_OR_RETURN(std::vector<Phase> phases, PhasesOf(recipe, backbone));
  for (const Phase& phase : phases) {
    const double warmup = phase.schedule.warmup_epochs;
    if (warmup < phase.epochs) continue;
    return absl::InvalidArgumentError(absl::StrCat("schedule.warmup_epochs: got ", warmup, ", want less than ",
                                                   phase.epochs, ", the epochs of phase ", phase.name));
  }
  return phases;
}

}  // namespace graft

#pragma once

#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/backbone/backbone.h"
#include "worker/train/recipe.h"

namespace graft {

// Which batch-norm layers learn running statistics; frozen stages never do (pytorch issue 66073).
enum class BatchNormPolicy {
  kEval,           // none: statistics stay the pretrained ones (Keras transfer-learning guide)
  kTrainUnfrozen,  // those of the unfrozen stages
};

// One stretch of training with fixed settings. A strategy is a list of these and nothing else.
struct Phase {
  std::string name;
  int split_point = 0;               // stages [0, split_point) are frozen
  int epochs = 1;
  int batch_size = 32;               // images
  int accumulate_batches = 1;        // that make one step; L-BFGS takes the whole split for one
  double head_learning_rate = 1e-2;
  double backbone_learning_rate = 0; // of the last unfrozen stage; must be > 0 when there are any
  double stage_decay = 1;            // of the rate, for each stage further from the head
  RateFinderOptions rate_finder;     // none with L-BFGS
  OptimizerOptions optimizer;
  double weight_decay = 0;           // not on norms and biases
  ScheduleOptions schedule;
  double label_smoothing = 0;
  double clip_norm = 0;              // of all gradients together; 0: off (Pascanu et al. 2013, arXiv:1211.5063)
  double l2_sp = 0;                  // of (l2_sp / 2) |w - pretrained w|^2; 0: off (Li et al. 2018, arXiv:1802.01483)
  double ema_decay = 0;              // of the average of the weights; 0: off (Polyak and Juditsky 1992)
  MixOptions mix;
  AugmentSpec augment;
  int augmented_views = 0;           // kept for each picture; 0: every epoch computes new ones
  BatchNormPolicy batch_norm = BatchNormPolicy::kEval;
};

// The phase at another rate of its head; the backbone's keeps its ratio to it.
Phase WithLearningRate(Phase phase, double head_learning_rate);

// Of an unfrozen stage. Each stage with parameters, `trained`, learns at the rate of the next one times the phase's
// stage_decay (Howard and Ruder 2018, arXiv:1801.06146); the last one at the phase's rate.
double LearningRateOf(int stage, const std::set<int>& trained, const Phase& phase);

// Equal for phases that train alike and only for them, whatever they are called; not for people.
std::string KeyOf(const Phase& phase);

// The phases of a recipe with defaults. FINE_TUNE and GRADUAL train the head first: a random head's gradients would
// wreck the backbone (Chollet 2016; Kumar et al. 2022, arXiv:2202.10054). SCRATCH wants an untrained backbone
// (Backbone::Untrained).
//   InvalidArgument  unfreeze_stages is more than the backbone has; unfreeze_from is none of them; the backbone can only
//                    be used frozen and the strategy is another; GRADUAL has fewer epochs than stages to unfreeze; a
//                    warm-up is not shorter than its phase
absl::StatusOr<std::vector<Phase>> MakePhases(const Recipe& recipe, const Backbone& backbone);

}  // namespace graft

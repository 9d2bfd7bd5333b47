#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/backbone/backbone.h"

namespace graft {

enum class Schedule {
  kConstant,
  kCosine
};  // kCosine: to zero over the phase, SGDR without restarts (arXiv:1608.03983)

// Which batch-norm layers learn running statistics; frozen stages never do (pytorch issue 66073).
enum class BatchNormPolicy {
  kEval,           // none: statistics stay the pretrained ones (Keras transfer-learning guide)
  kTrainUnfrozen,  // those of the unfrozen stages
};

// One stretch of training with fixed settings. A strategy is a list of these and nothing else.
struct Phase {
  std::string name;
  int split_point = 0;                  // stages [0, split_point) are frozen and run once per image
  int epochs = 1;
  int batch_size = 32;                  // images
  double head_learning_rate = 1e-2;
  double backbone_learning_rate = 0;    // of the unfrozen stages; must be > 0 when there are any
  double momentum = 0.9;                // SGD
  double weight_decay = 0;              // L2, not on norms and biases
  Schedule schedule = Schedule::kConstant;
  BatchNormPolicy batch_norm = BatchNormPolicy::kEval;
};

enum class Strategy { kFrozenHead, kFineTune, kScratch };

// What a user chooses; zero of a number means its default.
struct StrategyOptions {
  Strategy strategy = Strategy::kFrozenHead;
  int epochs = 0;
  int batch_size = 0;
  double learning_rate = 0;
  int unfreeze_stages = 0;
  int head_epochs = 0;
};

// The same with every default filled in.
//   InvalidArgument  every violation, one a line: "epochs: got -1, want 1 to 10000"
absl::StatusOr<StrategyOptions> WithDefaults(const StrategyOptions& options);

// The phases of a strategy. FINE_TUNE trains the head first: a random head's gradients would wreck the backbone
// (Chollet 2016; Kumar et al. 2022, arXiv:2202.10054). SCRATCH wants an untrained backbone (Backbone::Untrained).
//   InvalidArgument  unfreeze_stages is more than the backbone has; the backbone can only be used frozen and the
//                    strategy is another
absl::StatusOr<std::vector<Phase>> MakePhases(const StrategyOptions& effective, const Backbone& backbone);

}  // namespace graft

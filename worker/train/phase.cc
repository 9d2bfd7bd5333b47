#include "worker/train/phase.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "worker/base/status.h"

namespace graft {
namespace {

// The defaults, written down once.
constexpr int kFrozenHeadEpochs = 30;
constexpr int kFineTuneEpochs = 10;
constexpr int kScratchEpochs = 30;             // a third of torchvision's 90: ImageNet is not the aim
constexpr int kHeadEpochs = 10;
constexpr int kUnfreezeStages = 3;
constexpr int kBatchSize = 32;                 // Keras's and the PyTorch tutorials' default
constexpr double kHeadLearningRate = 1e-2;     // linear probe, SGD with momentum 0.9, mini-batches of 32
constexpr double kFineTuneLearningRate = 1e-3; // PyTorch transfer-learning tutorial
// torchvision references/classification/train.py: 0.1 for 8 x 32 pictures a step; Goyal et al. 2017 (arXiv:1706.02677)
// scale the rate with them.
constexpr double kScratchLearningRate = 1e-2;
constexpr double kScratchWeightDecay = 1e-4;   // the same script
constexpr int kMinScratchBatch = 2;            // one picture has no batch statistics
constexpr int kMaxEpochs = 10'000;
constexpr int kMaxBatchSize = 1'024;
constexpr double kMaxLearningRate = 10;

class Violations {
 public:
  void Range(const char* field, int got, int low, int high) {
    if (got < low || got > high) lines_.push_back(absl::StrCat(field, ": got ", got, ", want ", low, " to ", high));
  }
  void Add(std::string line) { lines_.push_back(std::move(line)); }
  absl::Status status() const {
    return lines_.empty() ? absl::OkStatus() : absl::InvalidArgumentError(absl::StrJoin(lines_, "\n"));
  }

 private:
  std::vector<std::string> lines_;
};

template <typename T>
T OrDefault(T value, T otherwise) {
  return value == T{} ? otherwise : value;
}

struct Defaults {
  int epochs;
  double learning_rate;
  int min_batch_size;
};

Defaults DefaultsOf(Strategy strategy) {
  switch (strategy) {
    case Strategy::kFrozenHead: return {kFrozenHeadEpochs, kHeadLearningRate, 1};
    case Strategy::kFineTune: return {kFineTuneEpochs, kFineTuneLearningRate, 1};
    case Strategy::kScratch: break;
  }
  return {kScratchEpochs, kScratchLearningRate, kMinScratchBatch};
}

// The last phase of each strategy, but for its split point.
Phase LastPhase(const char* name, const StrategyOptions& effective) {
  Phase phase;
  phase.name = name;
  phase.epochs = effective.epochs;
  phase.batch_size = effective.batch_size;
  phase.head_learning_rate = effective.learning_rate;
  phase.schedule = Schedule::kCosine;
  return phase;
}

std::vector<Phase> FrozenHead(const StrategyOptions& effective, const Backbone& backbone) {
  Phase head = LastPhase("head", effective);
  head.split_point = backbone.num_stages();
  return {head};
}

absl::StatusOr<std::vector<Phase>> FineTune(const StrategyOptions& effective, const Backbone& backbone) {
  // Stages without parameters (pooling) do not count as unfrozen.
  std::vector<int> trainable;
  for (int i = 0; i < backbone.num_stages(); ++i) {
    if (backbone.parameter_count(i, i + 1) > 0) trainable.push_back(i);
  }
  const auto available = static_cast<int>(trainable.size());
  if (effective.unfreeze_stages < 1 || effective.unfreeze_stages > available) {
    return absl::InvalidArgumentError(absl::StrCat("unfreeze_stages: got ", effective.unfreeze_stages, ", want 1 to ",
                                                   available, ", the stages of ", backbone.name()));
  }
  Phase head = LastPhase("head", effective);
  head.split_point = backbone.num_stages();
  head.epochs = effective.head_epochs;
  head.head_learning_rate = kHeadLearningRate;
  Phase tune = LastPhase("fine-tune", effective);
  tune.split_point = trainable[available - effective.unfreeze_stages];
  tune.backbone_learning_rate = effective.learning_rate;
  return std::vector<Phase>{head, tune};
}

std::vector<Phase> Scratch(const StrategyOptions& effective) {
  Phase scratch = LastPhase("scratch", effective);
  scratch.split_point = 0;
  scratch.backbone_learning_rate = effective.learning_rate;
  scratch.weight_decay = kScratchWeightDecay;
  scratch.batch_norm = BatchNormPolicy::kTrainUnfrozen;
  return {scratch};
}

}  // namespace

absl::StatusOr<StrategyOptions> WithDefaults(const StrategyOptions& options) {
  const Defaults defaults = DefaultsOf(options.strategy);
  StrategyOptions full = options;
  full.epochs = OrDefault(full.epochs, defaults.epochs);
  full.batch_size = OrDefault(full.batch_size, kBatchSize);
  full.learning_rate = OrDefault(full.learning_rate, defaults.learning_rate);
  Violations violations;
  violations.Range("epochs", full.epochs, 1, kMaxEpochs);
  violations.Range("batch_size", full.batch_size, defaults.min_batch_size, kMaxBatchSize);
  if (!(full.learning_rate > 0 && full.learning_rate <= kMaxLearningRate)) {
    violations.Add(absl::StrCat("learning_rate: got ", full.learning_rate, ", want > 0 and <= ", kMaxLearningRate));
  }
  if (options.strategy == Strategy::kFineTune) {
    full.unfreeze_stages = OrDefault(full.unfreeze_stages, kUnfreezeStages);
    full.head_epochs = OrDefault(full.head_epochs, kHeadEpochs);
    violations.Range("unfreeze_stages", full.unfreeze_stages, 1, 1'000);
    violations.Range("head_epochs", full.head_epochs, 1, kMaxEpochs);
  } else {
    if (full.unfreeze_stages != 0) violations.Add("unfreeze_stages: only with the fine-tune strategy");
    if (full.head_epochs != 0) violations.Add("head_epochs: only with the fine-tune strategy");
  }
  RETURN_IF_ERROR(violations.status());
  return full;
}

absl::StatusOr<std::vector<Phase>> MakePhases(const StrategyOptions& effective, const Backbone& backbone) {
  if (effective.strategy == Strategy::kFrozenHead) return FrozenHead(effective, backbone);
  if (!backbone.architecture().trainable) {
    return absl::InvalidArgumentError(
        absl::StrCat("backbone: ", backbone.name(), " can only be used frozen; want strategy frozen-head"));
  }
  if (effective.strategy == Strategy::kFineTune) return FineTune(effective, backbone);
  return Scratch(effective);
}

}  // namespace graft

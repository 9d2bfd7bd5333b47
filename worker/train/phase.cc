#include "worker/train/phase.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "worker/base/status.h"

namespace graft {
namespace {

// The defaults, written down once.
constexpr int kFrozenHeadEpochs = 30;
constexpr int kFineTuneEpochs = 10;
constexpr int kHeadEpochs = 10;
constexpr int kUnfreezeStages = 3;
constexpr int kBatchSize = 32;                 // Keras's and the PyTorch tutorials' default
constexpr double kHeadLearningRate = 1e-2;     // linear probe, SGD with momentum 0.9, mini-batches of 32
constexpr double kFineTuneLearningRate = 1e-3; // PyTorch transfer-learning tutorial
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

}  // namespace

absl::StatusOr<StrategyOptions> WithDefaults(const StrategyOptions& options) {
  StrategyOptions full = options;
  const bool fine_tune = options.strategy == Strategy::kFineTune;
  full.epochs = OrDefault(full.epochs, fine_tune ? kFineTuneEpochs : kFrozenHeadEpochs);
  full.batch_size = OrDefault(full.batch_size, kBatchSize);
  full.learning_rate = OrDefault(full.learning_rate, fine_tune ? kFineTuneLearningRate : kHeadLearningRate);
  Violations violations;
  violations.Range("epochs", full.epochs, 1, kMaxEpochs);
  violations.Range("batch_size", full.batch_size, 1, kMaxBatchSize);
  if (!(full.learning_rate > 0 && full.learning_rate <= kMaxLearningRate)) {
    violations.Add(absl::StrCat("learning_rate: got ", full.learning_rate, ", want > 0 and <= ", kMaxLearningRate));
  }
  if (fine_tune) {
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
  Phase head;
  head.name = "head";
  head.split_point = backbone.num_stages();
  head.batch_size = effective.batch_size;
  head.schedule = Schedule::kCosine;
  if (effective.strategy == Strategy::kFrozenHead) {
    head.epochs = effective.epochs;
    head.head_learning_rate = effective.learning_rate;
    return std::vector<Phase>{head};
  }
  head.epochs = effective.head_epochs;
  head.head_learning_rate = kHeadLearningRate;

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
  Phase tune;
  tune.name = "fine-tune";
  tune.split_point = trainable[available - effective.unfreeze_stages];
  tune.epochs = effective.epochs;
  tune.batch_size = effective.batch_size;
  tune.head_learning_rate = effective.learning_rate;
  tune.backbone_learning_rate = effective.learning_rate;
  tune.schedule = Schedule::kCosine;
  return std::vector<Phase>{head, tune};
}

}  // namespace graft

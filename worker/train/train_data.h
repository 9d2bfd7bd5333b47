#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/backbone/backbone.h"
#include "worker/base/cancel_token.h"
#include "worker/base/worker_pool.h"
#include "worker/data/activations.h"
#include "worker/data/dataset.h"
#include "worker/train/phase.h"

namespace graft {

// Takes a seeded, stratified share of `examples` out, but no class's last picture.
void HoldOut(const std::vector<Example>& examples, double share, uint64_t seed, std::vector<Example>* kept,
             std::vector<Example>* held_out);

// The pictures of a job and their activations, phase by phase.
//
// Training pictures go through the backbone in the job's precision and, if a phase says so, augmented; all others just
// as they will be served: plain, decoded whole, in float32. What several phases need is computed once, for the earliest
// split point of them; later stages run on that.
//
// Threads: one at a time.
class TrainData {
 public:
  struct Options {
    std::shared_ptr<const Backbone> backbone;
    PreprocessSpec preprocessing;
    std::vector<Phase> phases;
    Precision precision = Precision::kFloat32;  // not kAuto
    uint64_t seed = 0;
    double holdout = 0;  // share of the training split that is held out of training
    ImageLimits image_limits;
    int64_t budget_bytes = int64_t{1} << 30;
    ActivationStore* store = nullptr;
    WorkerPool* pool = nullptr;
  };
  // Told of each picture whose activations are computed before a phase.
  using Progress = std::function<absl::Status(int64_t done, int64_t total)>;

  // `dataset` outlives this.
  TrainData(Options options, const Dataset& dataset);

  struct Phased {
    Activations* train = nullptr;
    Activations* validation = nullptr;
    Activations* held_out = nullptr;  // null without a holdout
  };
  // Of a phase; those of the phase before are gone. Activations of the training pictures that are not augmented are
  // computed, as far as they fit the budget.   Errors as Activations::Fill().
  absl::StatusOr<Phased> Enter(int phase, const CancelToken& cancel, const Progress& progress);

  // Of one more split, as served.
  std::unique_ptr<Activations> Served(const std::vector<Example>& examples, int split_point);
  // Of the whole training split's pictures, plain, in the job's precision, at the last stage.
  std::unique_ptr<Activations> TrainFeatures();

  const std::vector<Example>& train() const { return train_; }
  const std::vector<Example>& held_out() const { return held_out_; }

 private:
  enum class Role { kTrain, kValidation, kHeldOut };
  struct Set {
    std::unique_ptr<Activations> base, derived;  // derived: at the phase's split point, when that is not the base's
  };
  const std::vector<Example>& ExamplesOf(Role role) const;
  Activations::Options OptionsFor(const std::vector<Example>& examples, int split_point, bool served) const;
  bool NeededPlain(Role role, int phase) const;
  int BaseSplit(Role role, int from_phase) const;
  absl::StatusOr<Activations*> EnterPlain(Role role, int phase, const CancelToken& cancel,
                                          const std::function<absl::Status(int64_t)>& progress);

  const Options options_;
  const Dataset& dataset_;
  std::vector<Example> train_, held_out_;
  std::map<Role, Set> plain_;
  std::unique_ptr<Activations> augmented_;  // of the phase
};

}  // namespace graft

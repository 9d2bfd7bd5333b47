#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "worker/base/cancel_token.h"
#include "worker/base/worker_pool.h"
#include "worker/data/dataset.h"
#include "worker/train/auto_train.h"
#include "worker/train/trainer.h"

namespace graft {

constexpr int kRankingFolds = 5;

struct BackboneRanking {
  std::vector<RankedBackbone> backbones;  // best first, at least one
  std::vector<std::string> left_out;      // sentences for people
};

// Ranks AutoOptions::backbones by a cross-validated linear probe on the training pictures' frozen features, in the order
// given; once `deadline` has passed and there is one, the others are left out, also one that is under
// way. So is one that cannot be used.
//   as options.load() for the last backbone, when none can be used; otherwise as Train()
absl::StatusOr<BackboneRanking> RankBackbones(const AutoOptions& options, const Dataset& data, absl::Time deadline,
                                              WorkerPool* pool, TrainObserver* observer, const CancelToken& cancel);

}  // namespace graft

#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
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

// Ranks AutoOptions::backbones by a cross-validated linear probe on the training pictures' frozen features. Those that
// compute least come first; once `seconds` are over and there is one, the others are left out. So is one that cannot be
// used.
//   as options.load() for the last backbone, when none can be used; otherwise as Train()
absl::StatusOr<BackboneRanking> RankBackbones(const AutoOptions& options, const Dataset& data, double seconds,
                                              WorkerPool* pool, TrainObserver* observer, const CancelToken& cancel);

}  // namespace graft

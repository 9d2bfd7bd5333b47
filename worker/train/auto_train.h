#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/backbone/backbone.h"
#include "worker/base/cancel_token.h"
#include "worker/base/clock.h"
#include "worker/base/worker_pool.h"
#include "worker/data/dataset.h"
#include "worker/train/recipe.h"
#include "worker/train/trainer.h"

namespace graft {

// A backbone as AUTO sees it, without training.
struct RankedBackbone {
  std::string name;
  double accuracy = 0, standard_deviation = 0;  // of a linear probe's folds; of exact matches if multi-label
  double log_loss = 0;                          // of the probe, out of fold, nats
  double log_me = 0;                            // worker/train/logme.h
  double seconds = 0;                           // for the features of the training pictures and these numbers
};

// A training that AUTO tried on part of the training split, or did not for want of time.
struct TriedTraining {
  std::string backbone;
  std::string what;                 // "fine-tune the last 3 stages, sgd at 0.005, augmentation light"
  std::optional<double> accuracy;   // on the held-out part; absent: not tried to an end that counts
  double standard_error = 0;
  double seconds = 0;               // that it took; 0: not tried
  bool chosen = false;
};

// Why AUTO chose what it chose.
struct AutoReport {
  std::vector<RankedBackbone> backbones;  // best first
  std::vector<TriedTraining> trainings;   // in the order they were tried
  std::vector<std::string> reasons;       // sentences for people
};

struct AutoChoice {
  std::shared_ptr<const Backbone> backbone;
  Recipe recipe;  // with defaults; its strategy says what to train
  AutoReport report;
};

struct AutoOptions {
  std::vector<std::string> backbones;  // names to choose from, at least one; those that compute least first
  std::function<absl::StatusOr<std::shared_ptr<const Backbone>>(const std::string& name)> load;
  int input_px = 0;                    // 0: each backbone's own
  Recipe recipe;                       // what the user chose holds for every training that is tried
  double budget_seconds = 600;         // for choosing and for the training that is chosen
  TrainOptions train;                  // budgets, limits, store and seed; the rest is set here
  const Clock* clock = Clock::Steady();  // of the budget; outlives the choice
};

// Chooses a backbone and how to train on it. Backbones are ranked by a cross-validated linear probe on their features
// (and LogME, You et al. 2021, arXiv:2102.11005); on the best, trainings are tried on four fifths of the training split
// and compared on the held-out fifth, by accuracy (of a multi-label dataset by exact matches). The validation split is
// not looked at. Each training but the first frozen head has a share of the budget that leaves time to train it on the
// whole split; one that is longer is stopped there, and goes on as one of the epochs that it finished (of its last
// phase; its accuracy is that of the last of them), unless the recipe sets `epochs`.
// `observer` is told of progress and, as warnings, of nothing: the report says it all.
//
// Rule of thumb, as the prior of the comparison: with few pictures a class or a good probe keep the backbone frozen,
// else fine-tune; what it speaks against must be better by a standard error (Yosinski et al. 2014, arXiv:1411.1792;
// Kornblith et al. 2019, arXiv:1805.08974).
//   InvalidArgument  what the recipe asks for fits no training, or not the dataset's kind; no class has two training
//                    pictures
//   others as options.load() for the last backbone, when none can be used, and as Train()
absl::StatusOr<AutoChoice> ChooseTraining(const AutoOptions& options, const Dataset& data, WorkerPool* pool,
                                          TrainObserver* observer, const CancelToken& cancel);

}  // namespace graft

#include "worker/train/backbone_ranking.h"

#include <torch/torch.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "worker/base/status.h"
#include "worker/data/activations.h"
#include "worker/train/folds.h"
#include "worker/train/linear_probe.h"
#include "worker/train/logme.h"
#include "worker/train/progress_report.h"

namespace graft {
namespace {

constexpr int64_t kProbeImages = 4000;  // more do not change a ranking, and LogME's cost grows with their square

// Those that compute least come first, so that a small budget has seen some.
std::vector<std::string> ByCost(const std::vector<std::string>& backbones) {
  std::vector<std::pair<double, std::string>> costs;
  for (const std::string& name : backbones) {
    const Architecture* known = FindArchitecture(name);
    costs.emplace_back(known != nullptr ? known->gflops : 1e9, name);
  }
  std::sort(costs.begin(), costs.end());
  std::vector<std::string> names;
  for (const auto& [cost, name] : costs) names.push_back(name);
  return names;
}

std::vector<Example> Sample(const std::vector<Example>& examples, uint64_t seed) {
  if (static_cast<int64_t>(examples.size()) <= kProbeImages) return examples;
  const double share = static_cast<double>(kProbeImages) / static_cast<double>(examples.size());
  std::vector<Example> sample;
  for (const int64_t i : StratifiedSubset(Labelling::Of(examples), share, seed)) sample.push_back(examples[i]);
  return sample;
}

class Ranker {
 public:
  Ranker(const AutoOptions& options, const Dataset& data, WorkerPool* pool, TrainObserver* observer,
         const CancelToken& cancel)
      : options_(options), data_(data), pool_(pool), observer_(observer), cancel_(cancel),
        examples_(Sample(data.train, options.train.seed)) {}

  absl::StatusOr<RankedBackbone> Rank(const std::string& name) {
    Stopwatch watch;
    ASSIGN_OR_RETURN(const auto backbone, options_.load(name));
    ASSIGN_OR_RETURN(const at::Tensor features, Features(backbone));
    const auto classes = static_cast<int>(data_.class_names.size());
    const Labelling labels = Labelling::Of(examples_);
    const int folds = std::min<int>(kRankingFolds, static_cast<int>(examples_.size()));
    ASSIGN_OR_RETURN(const CrossValidation probe, CrossValidateProbe(features, labels, classes, folds,
                                                                     options_.train.seed, {}, pool_, cancel_));
    RankedBackbone ranked;
    ranked.name = name;
    ranked.accuracy = probe.mean;
    ranked.standard_deviation = probe.standard_deviation;
    ranked.log_loss = probe.log_loss;
    ASSIGN_OR_RETURN(ranked.log_me, LogMe(features, labels, classes));
    ranked.seconds = watch.seconds();
    return ranked;
  }

  // Must not be taken for a backbone's own.
  const absl::Status& observer_error() const { return observer_error_; }

 private:
  absl::StatusOr<at::Tensor> Features(const std::shared_ptr<const Backbone>& backbone) {
    Activations::Options o;
    o.backbone = backbone;
    ASSIGN_OR_RETURN(o.preprocessing, backbone->PreprocessingFor(options_.input_px));
    ASSIGN_OR_RETURN(o.precision, ResolvePrecision(options_.recipe.precision, backbone->device()));
    o.split_point = backbone->num_stages();
    o.reduced_decoding = true;
    o.image_limits = options_.train.image_limits;
    o.store = options_.train.activation_store;
    o.budget_bytes = options_.train.activation_cache_bytes;
    o.seed = options_.train.seed;
    Activations activations(o, &examples_, data_.read);
    ProgressReport report(observer_, absl::StrCat("features of ", backbone->name()));
    RETURN_IF_ERROR(activations.Fill(pool_, cancel_, [&](int64_t done) {
      observer_error_.Update(report(done, activations.size()));
      return observer_error_;
    }));
    std::vector<int64_t> all(examples_.size());
    std::iota(all.begin(), all.end(), 0);
    return activations.Gather(all.data(), activations.size());
  }

  const AutoOptions& options_;
  const Dataset& data_;
  WorkerPool* const pool_;
  TrainObserver* const observer_;
  const CancelToken cancel_;
  const std::vector<Example> examples_;
  absl::Status observer_error_;
};

// The backbone's own fault, not the machine's or the caller's.
bool CannotBeUsed(const absl::Status& status) {
  return absl::IsInvalidArgument(status) || absl::IsNotFound(status) || absl::IsFailedPrecondition(status);
}

}  // namespace

absl::StatusOr<BackboneRanking> RankBackbones(const AutoOptions& options, const Dataset& data, double seconds,
                                              WorkerPool* pool, TrainObserver* observer, const CancelToken& cancel) {
  const Stopwatch watch;
  Ranker ranker(options, data, pool, observer, cancel);
  BackboneRanking ranking;
  const std::vector<std::string> names = ByCost(options.backbones);
  absl::Status last_error = absl::InvalidArgumentError("backbone: none is installed");
  for (size_t i = 0; i < names.size(); ++i) {
    if (!ranking.backbones.empty() && watch.seconds() > seconds) {
      ranking.left_out.push_back(absl::StrCat("Left out for want of time: ", names.size() - i, " of ", names.size(),
                                              " backbones, those that compute most."));
      break;
    }
    const absl::StatusOr<RankedBackbone> ranked = ranker.Rank(names[i]);
    if (ranked.ok()) {
      ranking.backbones.push_back(*ranked);
      continue;
    }
    RETURN_IF_ERROR(ranker.observer_error());
    if (!CannotBeUsed(ranked.status())) return ranked.status();
    ranking.left_out.push_back(absl::StrCat("Left out ", names[i], ": ", ranked.status().message(), "."));
    last_error = ranked.status();
  }
  if (ranking.backbones.empty()) return last_error;
  std::stable_sort(ranking.backbones.begin(), ranking.backbones.end(),
                   [](const RankedBackbone& a, const RankedBackbone& b) { return a.log_loss < b.log_loss; });
  return ranking;
}

}  // namespace graft

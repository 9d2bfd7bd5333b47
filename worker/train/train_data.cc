#include "worker/train/train_data.h"

#include <algorithm>
#include <set>
#include <utility>

#include "worker/base/status.h"
#include "worker/train/folds.h"

namespace graft {
namespace {

std::vector<int> ClassesOf(const Example& example) {
  return example.label >= 0 ? std::vector<int>{example.label} : example.labels;
}

bool Augments(const Phase& phase) { return phase.augment != AugmentSpec(); }

}  // namespace

void HoldOut(const std::vector<Example>& examples, double share, uint64_t seed, std::vector<Example>* kept,
             std::vector<Example>* held_out) {
  std::map<int, int64_t> left;  // pictures of each class that are not held out
  for (const Example& example : examples) {
    for (const int label : ClassesOf(example)) ++left[label];
  }
  const std::vector<int64_t> chosen = StratifiedSubset(Labelling::Of(examples), share, seed);
  const std::set<int64_t> out(chosen.begin(), chosen.end());
  for (size_t i = 0; i < examples.size(); ++i) {
    const std::vector<int> labels = ClassesOf(examples[i]);
    const bool is_last = std::any_of(labels.begin(), labels.end(), [&](int label) { return left[label] == 1; });
    const bool goes = out.count(static_cast<int64_t>(i)) > 0 && !is_last;
    (goes ? held_out : kept)->push_back(examples[i]);
    if (!goes) continue;
    for (const int label : labels) --left[label];
  }
}

TrainData::TrainData(Options options, const Dataset& dataset) : options_(std::move(options)), dataset_(dataset) {
  if (options_.holdout == 0) {
    train_ = dataset.train;
    return;
  }
  HoldOut(dataset.train, options_.holdout, options_.seed, &train_, &held_out_);
}

const std::vector<Example>& TrainData::ExamplesOf(Role role) const {
  if (role == Role::kTrain) return train_;
  return role == Role::kValidation ? dataset_.validation : held_out_;
}

// The budget is shared out by the numbers of pictures.
Activations::Options TrainData::OptionsFor(const std::vector<Example>& examples, int split_point, bool served) const {
  Activations::Options o;
  o.backbone = options_.backbone;
  o.preprocessing = options_.preprocessing;
  o.split_point = split_point;
  o.image_limits = options_.image_limits;
  o.store = options_.store;
  o.seed = options_.seed;
  const auto all = static_cast<double>(dataset_.train.size() + dataset_.validation.size());
  const double share = std::min(1.0, static_cast<double>(examples.size()) / all);
  o.budget_bytes = static_cast<int64_t>(static_cast<double>(options_.budget_bytes) * share);
  if (!served) {
    o.precision = options_.precision;
    o.reduced_decoding = true;
  }
  return o;
}

bool TrainData::NeededPlain(Role role, int phase) const {
  return role != Role::kTrain || !Augments(options_.phases[phase]);
}

// The earliest split point of the phases that are still to come.
int TrainData::BaseSplit(Role role, int from_phase) const {
  int split = options_.backbone->num_stages();
  for (int i = from_phase; i < static_cast<int>(options_.phases.size()); ++i) {
    if (NeededPlain(role, i)) split = std::min(split, options_.phases[i].split_point);
  }
  return split;
}

absl::StatusOr<Activations*> TrainData::EnterPlain(Role role, int phase, const CancelToken& cancel,
                                                   const std::function<absl::Status(int64_t)>& progress) {
  const std::vector<Example>& examples = ExamplesOf(role);
  const bool served = role != Role::kTrain;
  const int split = options_.phases[phase].split_point, base_split = BaseSplit(role, phase);
  Set& set = plain_[role];
  set.derived = nullptr;
  if (set.base == nullptr) {
    set.base = std::make_unique<Activations>(OptionsFor(examples, base_split, served), &examples, dataset_.read);
    RETURN_IF_ERROR(set.base->Fill(options_.pool, cancel, progress));
  }
  if (split == set.base->options().split_point) return set.base.get();
  Activations::Options o = OptionsFor(examples, split, served);
  o.budget_bytes = std::max<int64_t>(0, o.budget_bytes - set.base->kept_bytes());  // both are in memory
  set.derived = std::make_unique<Activations>(o, &examples, dataset_.read, set.base.get());
  RETURN_IF_ERROR(set.derived->Fill(options_.pool, cancel, progress));
  return set.derived.get();
}

absl::StatusOr<TrainData::Phased> TrainData::Enter(int phase, const CancelToken& cancel, const Progress& progress) {
  Phased phased;
  augmented_ = nullptr;
  const bool plain = NeededPlain(Role::kTrain, phase);
  int64_t total = static_cast<int64_t>(dataset_.validation.size() + held_out_.size()), before = 0;
  if (plain) total += static_cast<int64_t>(train_.size());
  const auto report = [&](int64_t done) { return progress(before + done, total); };
  if (plain) {
    ASSIGN_OR_RETURN(phased.train, EnterPlain(Role::kTrain, phase, cancel, report));
    before += static_cast<int64_t>(train_.size());
  } else {
    const Phase& p = options_.phases[phase];
    bool later = false;
    for (size_t i = phase; i < options_.phases.size(); ++i) later |= NeededPlain(Role::kTrain, static_cast<int>(i));
    if (!later) plain_.erase(Role::kTrain);
    Activations::Options o = OptionsFor(train_, p.split_point, /*served=*/false);
    o.augment = p.augment;
    o.kept_views = p.augmented_views;
    if (const auto plain_set = plain_.find(Role::kTrain); plain_set != plain_.end() && plain_set->second.base) {
      o.budget_bytes = std::max<int64_t>(0, o.budget_bytes - plain_set->second.base->kept_bytes());
    }
    augmented_ = std::make_unique<Activations>(o, &train_, dataset_.read);
    phased.train = augmented_.get();
  }
  ASSIGN_OR_RETURN(phased.validation, EnterPlain(Role::kValidation, phase, cancel, report));
  before += static_cast<int64_t>(dataset_.validation.size());
  if (held_out_.empty()) return phased;
  ASSIGN_OR_RETURN(phased.held_out, EnterPlain(Role::kHeldOut, phase, cancel, report));
  return phased;
}

std::unique_ptr<Activations> TrainData::Served(const std::vector<Example>& examples, int split_point) {
  Activations::Options o = OptionsFor(examples, split_point, /*served=*/true);
  o.budget_bytes = 0;  // each picture is looked at once, or twice after early stopping
  return std::make_unique<Activations>(o, &examples, dataset_.read);
}

std::unique_ptr<Activations> TrainData::TrainFeatures() {
  const Activations::Options o = OptionsFor(dataset_.train, options_.backbone->num_stages(), /*served=*/false);
  return std::make_unique<Activations>(o, &dataset_.train, dataset_.read);
}

}  // namespace graft

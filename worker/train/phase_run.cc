#include "worker/train/phase_run.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "worker/backbone/torch_status.h"
#include "worker/base/random.h"
#include "worker/base/status.h"
#include "worker/data/labelling.h"
#include "worker/train/label_tensors.h"

namespace graft {
namespace {

constexpr uint64_t kDropoutStream = 0x64726f70;       // "drop": keys of other users of CounterRandom differ

std::unique_ptr<Optimizer> MakeOptimizer(const Phase& phase, const Suffix& suffix) {
  const std::vector<Suffix::Parameter> all = suffix.Parameters();
  std::set<int> stages;
  for (const Suffix::Parameter& p : all) {
    if (!p.in_head) stages.insert(p.stage);
  }
  std::vector<Optimizer::Parameter> parameters;
  for (const Suffix::Parameter& p : all) {
    const double rate = p.in_head ? phase.head_learning_rate : LearningRateOf(p.stage, stages, phase);
    parameters.push_back({p.name, p.value, rate, p.decays ? phase.weight_decay : 0.0});
  }
  return Optimizer::Create(phase.optimizer, std::move(parameters));
}

bool IsHeadOnly(const Phase& phase, const Backbone& backbone) { return phase.split_point == backbone.num_stages(); }

// A head alone is too little work to share, running statistics have one writer, and a GPU wants the whole batch.
int NumReplicas(const Phase& phase, const Backbone& backbone, const WorkerPool& pool) {
  const bool alone = IsHeadOnly(phase, backbone) || backbone.device().is_cuda() ||
                     phase.batch_norm == BatchNormPolicy::kTrainUnfrozen;
  return alone ? 1 : pool.size();
}

// The pool computes the next rows while one replica trains on these: several need the pool themselves, and a head has
// done with its rows at once.
bool LooksAhead(const Phase& phase, const Backbone& backbone) {
  return !IsHeadOnly(phase, backbone) &&
         (backbone.device().is_cuda() || phase.batch_norm == BatchNormPolicy::kTrainUnfrozen);
}

LossKind KindOfLoss(HeadType head, bool multi_label) {
  if (head == HeadType::kLinearSvm) return LossKind::kSquaredHinge;
  return multi_label ? LossKind::kBinaryCrossEntropy : LossKind::kCrossEntropy;
}

uint64_t DropoutKey(uint64_t seed, int phase, int epoch, int64_t begin) {
  return CounterRandom({kDropoutStream, seed, static_cast<uint64_t>(phase), static_cast<uint64_t>(epoch),
                        static_cast<uint64_t>(begin)})
      .Next();
}

}  // namespace

// Pictures whose activations are in memory together.
struct PhaseRun::Batch {
  const int64_t* indices = nullptr;
  int64_t n = 0;
  Mix mix;
  at::Tensor targets;    // [n, classes]
  at::Tensor head_mask;  // [n, head's last width], or undefined
};

// One update's batches, all random choices made.
struct PhaseRun::Step {
  int64_t view = 0;
  std::vector<Batch> batches;
  bool piecemeal = false; // more rows than a window or a batch: each batch's are computed when it is its turn
  double weight = 0;      // what the summed loss is divided by
  EpochTotals totals;     // of the last ComputeGradients()
  bool overflowed = false;
};

PhaseRun::PhaseRun(Options options, std::shared_ptr<const Backbone> backbone, std::unique_ptr<Suffix> suffix,
                   WorkerPool* pool)
    : options_(std::move(options)), backbone_(std::move(backbone)), pool_(pool), suffix_(std::move(suffix)),
      // On a CPU bfloat16 gains in the forward pass and loses more in the backward one (ADR 17).
      precision_(backbone_->device().is_cuda() ? options_.precision : Precision::kFloat32),
      looks_ahead_(LooksAhead(options_.phase, *backbone_)),
      optimizer_(MakeOptimizer(options_.phase, *suffix_)), average_(options_.phase.ema_decay),
      scaler_(precision_ == Precision::kFloat16) {
  const int replicas = NumReplicas(options_.phase, *backbone_, *pool);
  for (int i = 1; i < replicas; ++i) replicas_.push_back(suffix_->Replicate());
  parameters_ = suffix_->Parameters();
  for (const auto& replica : replicas_) replica_parameters_.push_back(replica->Parameters());
  loss_.kind = KindOfLoss(options_.head.type, options_.multi_label);
  loss_.multi_label = options_.multi_label;
  loss_.label_smoothing = options_.phase.label_smoothing;
  loss_.class_weights = options_.class_weights;
  GRAFT_CHECK(loss_.Validate(static_cast<int>(suffix_->num_classes())).ok());
  if (options_.phase.l2_sp > 0) {
    // A new suffix has the pretrained weights, whatever was trained since.
    const Suffix pretrained(*backbone_, options_.phase.split_point, options_.head, suffix_->num_classes(), 0);
    for (const Suffix::Parameter& p : pretrained.Parameters()) {
      if (!p.in_head) anchors_[p.name] = p.value.detach();
    }
  }
  const bool train_norms = options_.phase.batch_norm == BatchNormPolicy::kTrainUnfrozen;
  suffix_->SetBatchNormTraining(train_norms);
}

PhaseRun::~PhaseRun() = default;

double PhaseRun::MeanLoss(const EpochTotals& totals) const {
  const double loss = totals.loss / std::max(totals.weight, 1e-12);
  return loss_.kind == LossKind::kBinaryCrossEntropy ? loss / static_cast<double>(suffix_->num_classes()) : loss;
}

int64_t PhaseRun::StepEnd(int64_t begin, int64_t count) const {
  const Phase& phase = options_.phase;
  if (phase.optimizer.kind == OptimizerKind::kLbfgs) return count;
  const int64_t end = std::min<int64_t>(begin + int64_t{phase.batch_size} * phase.accumulate_batches, count);
  // One picture has no batch statistics where the network has narrowed to one pixel: it joins the step before it.
  return phase.batch_norm == BatchNormPolicy::kTrainUnfrozen && end + 1 == count ? count : end;
}

// Whole steps, of no more than a window or a batch, whose activations are computed together, by all threads, before they
// are trained on. An epoch's windows begin at the same pictures whether it was interrupted or not.
int64_t PhaseRun::WindowEnd(int64_t images, int64_t begin, int64_t count) const {
  const int64_t step = std::max<int64_t>(1, StepEnd(0, count));
  const int64_t window = std::max<int64_t>(1, images / step) * step;
  const int64_t end = std::min(count, (begin / window + 1) * window);
  return end + 1 == count ? count : end;  // see StepEnd()
}

absl::Status PhaseRun::PrepareWindow(int64_t begin, const CancelToken& cancel, Epoch* epoch) {
  Activations* const activations = epoch->activations;
  const std::vector<int64_t>& order = *epoch->order;
  const auto count = static_cast<int64_t>(order.size());
  ASSIGN_OR_RETURN(int64_t images, activations->WindowImages());
  const bool ahead = looks_ahead_ && 2 * StepEnd(0, count) <= images;
  if (ahead) images /= 2;  // two windows are in memory
  const int64_t end = WindowEnd(images, begin, count);
  if (epoch->next.valid()) {
    RETURN_IF_ERROR(epoch->next.get());
    activations->UseNext();
  } else {
    RETURN_IF_ERROR(activations->Prepare(epoch->view, order.data() + begin, end - begin, pool_, cancel));
  }
  epoch->prepared = end;
  if (!ahead || end == count) return absl::OkStatus();
  std::vector<int64_t> next(order.begin() + end, order.begin() + WindowEnd(images, end, count));
  // A thread for each window; what owns the future joins it.
  epoch->next = std::async(std::launch::async,
                           [activations, view = epoch->view, next = std::move(next), pool = pool_, cancel] {
    return activations->PrepareNext(view, next.data(), static_cast<int64_t>(next.size()), pool, cancel);
  });
  return absl::OkStatus();
}

void PhaseRun::Plan(const Activations& activations, int epoch, int64_t begin, int64_t end, const int64_t* order,
                    Step* step) {
  const Phase& phase = options_.phase;
  const int64_t count = end - begin;
  for (int64_t at = 0; at < count;) {
    int64_t n = std::min<int64_t>(phase.batch_size, count - at);
    if (phase.batch_norm == BatchNormPolicy::kTrainUnfrozen && at + n + 1 == count) ++n;
    Batch batch;
    batch.indices = order + begin + at;
    batch.n = n;
    batch.targets = TargetsOf(Labelling::Of(activations.examples(), batch.indices, n),
                              static_cast<int>(suffix_->num_classes()), at::kFloat);
    const auto key = static_cast<uint64_t>(begin + at);
    const at::IntArrayRef row = activations.row_sizes();
    const bool is_map = row.size() == 4;
    const int64_t height = is_map ? row[2] : 1, width = is_map ? row[3] : 1;
    batch.mix = DrawMix(phase.mix, n, height, width, options_.seed, options_.index, epoch, key);
    if (batch.mix.mixes) {
      const at::Tensor partner = at::tensor(at::ArrayRef<int64_t>(batch.mix.partner), at::kLong);
      batch.targets = MixTargets(batch.targets, batch.targets.index_select(0, partner), batch.mix);
    }
    batch.head_mask = DropoutMask(options_.head.dropout, n, suffix_->head().last_width(),
                                  DropoutKey(options_.seed, options_.index, epoch, begin + at));
    step->weight += LossWeight(batch.targets, loss_);
    step->batches.push_back(std::move(batch));
    at += n;
  }
}

absl::Status PhaseRun::RunShard(Suffix* replica, const Activations& activations, const Step& step, const Batch& batch,
                                int64_t begin, int64_t end, EpochTotals* totals) {
  ASSIGN_OR_RETURN(at::Tensor input, activations.Gather(batch.indices + begin, end - begin, step.view));
  at::Tensor partners;
  if (batch.mix.mixes) {
    std::vector<int64_t> indices;
    for (int64_t i = begin; i < end; ++i) indices.push_back(batch.indices[batch.mix.partner[i]]);
    ASSIGN_OR_RETURN(partners, activations.Gather(indices.data(), end - begin, step.view));
  }
  return TryTorch("train a batch", [&] {
    const AutocastScope autocast(precision_, backbone_->device());
    if (precision_ == Precision::kFloat32) {
      input = input.to(at::kFloat);
      if (partners.defined()) partners = partners.to(at::kFloat);
    }
    if (partners.defined()) input = MixActivations(input, partners, batch.mix);
    const at::Tensor mask = batch.head_mask.defined() ? batch.head_mask.slice(0, begin, end) : batch.head_mask;
    const at::Tensor targets = batch.targets.slice(0, begin, end);
    replica->Backpropagate(input, mask, [&](const at::Tensor& logits) {  // [n, classes]
      at::Tensor gradient;
      const at::Tensor z = logits.detach().to(at::kCPU, at::kFloat).contiguous();
      totals->loss = LossAndGradient(z, targets, loss_, scaler_.scale() / step.weight, &gradient);
      totals->correct = CountExactMatches(z, targets, options_.multi_label);
      return gradient.to(logits.device(), logits.scalar_type());
    });
    totals->images = end - begin;
    return absl::OkStatus();
  });
}

absl::Status PhaseRun::RunBatch(const Activations& activations, const Step& step, const Batch& batch,
                                EpochTotals* sum) {
  const auto shards = std::min<int64_t>(static_cast<int64_t>(replicas_.size()) + 1, batch.n);
  std::vector<EpochTotals> totals(shards);
  const auto run = [&](int, int64_t shard) {
    const int64_t begin = batch.n * shard / shards, end = batch.n * (shard + 1) / shards;
    Suffix* replica = shard == 0 ? suffix_.get() : replicas_[shard - 1].get();
    return RunShard(replica, activations, step, batch, begin, end, &totals[shard]);
  };
  // A step of a head takes less time than waking another thread and waiting for it.
  RETURN_IF_ERROR(shards == 1 ? run(0, 0) : pool_->ParallelFor(shards, run));
  for (const EpochTotals& t : totals) {
    sum->loss += t.loss;
    sum->correct += t.correct;
    sum->images += t.images;
  }
  return absl::OkStatus();
}

// Copies of what is learned without gradients.
std::map<std::string, at::Tensor> PhaseRun::Statistics() const {
  std::map<std::string, at::Tensor> copies = suffix_->State();
  for (const Suffix::Parameter& p : parameters_) copies.erase(p.name);
  for (auto& [name, value] : copies) value = value.clone();
  return copies;
}

void PhaseRun::SumGradients() {
  torch::NoGradGuard no_grad;
  for (auto& sources : replica_parameters_) {
    for (size_t i = 0; i < parameters_.size(); ++i) {
      at::Tensor& source = sources[i].value.mutable_grad();
      if (!source.defined()) continue;
      at::Tensor& target = parameters_[i].value.mutable_grad();
      if (target.defined()) {
        target.add_(source);
      } else {
        target = source.clone();
      }
      source.reset();
    }
  }
}

// Unscales, adds what pulls towards the pretrained weights, clips. Returns the norm before clipping.
double PhaseRun::FinishGradients() {
  torch::NoGradGuard no_grad;
  const Phase& phase = options_.phase;
  double squares = 0;
  const bool needs_norm = phase.clip_norm > 0 || precision_ == Precision::kFloat16;
  for (Suffix::Parameter& p : parameters_) {
    at::Tensor& gradient = p.value.mutable_grad();
    if (!gradient.defined()) continue;
    if (scaler_.scale() != 1) gradient.div_(scaler_.scale());
    const auto anchor = anchors_.find(p.name);
    if (anchor != anchors_.end()) gradient.add_(p.value.detach() - anchor->second, phase.l2_sp);
    if (needs_norm) squares += gradient.pow(2).sum().item<double>();
  }
  const double norm = std::sqrt(squares);
  if (phase.clip_norm > 0 && norm > phase.clip_norm) {
    const double factor = phase.clip_norm / (norm + 1e-6);  // torch.nn.utils.clip_grad_norm_
    for (Suffix::Parameter& p : parameters_) {
      if (p.value.grad().defined()) p.value.mutable_grad().mul_(factor);
    }
  }
  return norm;
}

absl::StatusOr<double> PhaseRun::ComputeGradients(Activations* activations, const CancelToken& cancel, Step* step) {
  step->totals = EpochTotals();
  for (Suffix::Parameter& p : parameters_) p.value.mutable_grad().reset();
  for (const Batch& batch : step->batches) {
    RETURN_IF_ERROR(cancel.status());
    if (step->piecemeal) {
      RETURN_IF_ERROR(activations->Prepare(step->view, batch.indices, batch.n, pool_, cancel));
    }
    RETURN_IF_ERROR(RunBatch(*activations, *step, batch, &step->totals));
  }
  RETURN_IF_ERROR(TryTorch("sum the gradients", [&] {
    SumGradients();
    step->overflowed = !std::isfinite(FinishGradients());
    if (step->overflowed && precision_ == Precision::kFloat16) {
      for (Suffix::Parameter& p : parameters_) p.value.mutable_grad().reset();  // the step is left out
    }
    return absl::OkStatus();
  }));
  return step->totals.loss / step->weight;
}

absl::StatusOr<EpochTotals> PhaseRun::TrainStep(Epoch* epoch, int64_t begin, double factor,
                                                const CancelToken& cancel) {
  RETURN_IF_ERROR(cancel.status());
  Activations* const activations = epoch->activations;
  const std::vector<int64_t>& order = *epoch->order;
  const auto count = static_cast<int64_t>(order.size());
  Step step;
  step.view = epoch->view;
  ASSIGN_OR_RETURN(const int64_t window, activations->WindowImages());
  step.piecemeal = StepEnd(0, count) > std::max<int64_t>(window, options_.phase.batch_size);
  if (!step.piecemeal && begin >= epoch->prepared) RETURN_IF_ERROR(PrepareWindow(begin, cancel, epoch));
  RETURN_IF_ERROR(TryTorch("plan a step", [&] {
    Plan(*activations, epoch->index, begin, StepEnd(begin, count), order.data(), &step);
    return absl::OkStatus();
  }));
  // A batch of classes that all weigh nothing teaches nothing.
  if (step.weight > 0) {
    // A step that is left early leaves no trace: a drain saves a state then.
    std::map<std::string, at::Tensor> statistics;
    if (options_.phase.batch_norm == BatchNormPolicy::kTrainUnfrozen && step.batches.size() > 1) {
      RETURN_IF_ERROR(TryTorch("keep the statistics", [&] {
        statistics = Statistics();
        return absl::OkStatus();
      }));
    }
    EpochTotals first;
    bool is_first = true;
    const absl::Status stepped = optimizer_->Step(factor, [&]() -> absl::StatusOr<double> {
      absl::StatusOr<double> loss = ComputeGradients(activations, cancel, &step);
      if (std::exchange(is_first, false)) first = step.totals;
      return loss;
    }).status();
    if (!stepped.ok() && !statistics.empty()) RETURN_IF_ERROR(suffix_->LoadState(statistics).status());
    RETURN_IF_ERROR(stepped);
    step.totals = first;
  } else {
    for (const Batch& batch : step.batches) step.totals.images += batch.n;
  }
  scaler_.Update(step.overflowed);
  RETURN_IF_ERROR(TryTorch("average the weights", [&] {
    average_.Update(*suffix_);
    return absl::OkStatus();
  }));
  step.totals.weight = step.weight;
  step.totals.last_rate_factor = factor;
  return step.totals;
}

int64_t PhaseRun::StepsOf(int64_t count) const {
  int64_t steps = 0;
  for (int64_t begin = 0; begin < count; begin = StepEnd(begin, count)) ++steps;
  return steps;
}

absl::Status PhaseRun::TrainEpoch(Activations* activations, const std::vector<int64_t>& order, int epoch,
                                  const CancelToken& cancel, EpochTotals* totals,
                                  const std::function<absl::Status()>& after_step) {
  const auto count = static_cast<int64_t>(order.size());
  const int64_t images = std::max<int64_t>(1, StepEnd(0, count)), steps = StepsOf(count);
  Epoch under_way;
  under_way.activations = activations;
  under_way.order = &order;
  under_way.index = epoch;
  under_way.view = ViewOfEpoch(epoch, options_.phase.augmented_views);
  while (totals->images < count) {
    const double factor = LearningRateFactor(options_.phase.schedule, epoch * steps + totals->images / images,
                                             options_.phase.epochs * steps, steps);
    ASSIGN_OR_RETURN(const EpochTotals step, TrainStep(&under_way, totals->images, factor, cancel));
    totals->loss += step.loss;
    totals->weight += step.weight;
    totals->correct += step.correct;
    totals->images += step.images;
    totals->last_rate_factor = step.last_rate_factor;
    if (!std::isfinite(totals->loss)) {
      return absl::InvalidArgumentError(absl::StrCat("the loss became infinite in epoch ", epoch + 1, " of phase \"",
                                                     options_.phase.name, "\": want a smaller learning_rate"));
    }
    RETURN_IF_ERROR(after_step());
  }
  return absl::OkStatus();
}

}  // namespace graft

#include "worker/train/phase_run.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "worker/backbone/torch_status.h"
#include "worker/base/status.h"

namespace graft {
namespace {

constexpr int64_t kPredictBatch = 32;

Sgd MakeOptimizer(const Phase& phase, const Suffix& suffix) {
  std::vector<Sgd::Parameter> parameters;
  for (const Suffix::Parameter& p : suffix.Parameters()) {
    parameters.push_back({p.name, p.value, p.in_head ? phase.head_learning_rate : phase.backbone_learning_rate,
                          p.decays ? phase.weight_decay : 0.0, at::Tensor()});
  }
  return Sgd(std::move(parameters), phase.momentum);
}

// A head alone is too little work to share, running statistics have one writer, and a GPU wants the whole batch.
int NumReplicas(const Phase& phase, const Suffix& suffix, const WorkerPool& pool) {
  const bool head_only = suffix.Parameters().size() == 2;
  return head_only || suffix.Parameters().front().value.is_cuda() || phase.batch_norm == BatchNormPolicy::kTrainUnfrozen
             ? 1
             : pool.size();
}

at::Tensor LabelsOf(const Activations& activations, const int64_t* indices, int64_t n) {
  at::Tensor labels = at::empty({n}, at::kLong);
  for (int64_t i = 0; i < n; ++i) labels.data_ptr<int64_t>()[i] = activations.examples()[indices[i]].label;
  return labels;
}

}  // namespace

PhaseRun::PhaseRun(const Phase& phase, std::unique_ptr<Suffix> suffix, WorkerPool* pool)
    : phase_(phase), pool_(pool), suffix_(std::move(suffix)), optimizer_(MakeOptimizer(phase, *suffix_)) {
  const int replicas = NumReplicas(phase, *suffix_, *pool);
  for (int i = 1; i < replicas; ++i) replicas_.push_back(suffix_->Replicate());
}

double PhaseRun::LearningRateFactor(int epoch, double fraction_of_epoch) const {
  if (phase_.schedule == Schedule::kConstant) return 1;
  return 0.5 * (1 + std::cos(M_PI * (epoch + fraction_of_epoch) / phase_.epochs));
}

int64_t PhaseRun::BatchEnd(int64_t begin, int64_t count) const {
  const int64_t end = std::min<int64_t>(begin + phase_.batch_size, count);
  // One picture has no batch statistics where the network has narrowed to one pixel: it joins the batch before it.
  return phase_.batch_norm == BatchNormPolicy::kTrainUnfrozen && end + 1 == count ? count : end;
}

absl::Status PhaseRun::RunShard(Suffix* replica, const Activations& activations, const int64_t* indices, int64_t n,
                                int64_t batch_size, Totals* totals) {
  ASSIGN_OR_RETURN(const at::Tensor input, activations.Gather(indices, n));
  return TryTorch("train a batch", [&] {
    at::AutoGradMode enable_grad(true);
    const at::Tensor logits = replica->Forward(input);  // [n, classes]
    const at::Tensor labels = LabelsOf(activations, indices, n).to(logits.device());
    const at::Tensor loss = at::cross_entropy_loss(logits, labels, {}, at::Reduction::Sum);
    (loss / static_cast<double>(batch_size)).backward();
    totals->loss = loss.item<double>();
    totals->correct = logits.argmax(1).eq(labels).sum().item<int64_t>();
    totals->images = n;
    return absl::OkStatus();
  });
}

void PhaseRun::SumGradients() {
  torch::NoGradGuard no_grad;
  auto targets = suffix_->Parameters();
  for (const auto& replica : replicas_) {
    auto sources = replica->Parameters();
    for (size_t i = 0; i < targets.size(); ++i) {
      at::Tensor& source = sources[i].value.mutable_grad();
      if (!source.defined()) continue;
      at::Tensor& target = targets[i].value.mutable_grad();
      if (target.defined()) {
        target.add_(source);
      } else {
        target = source.clone();
      }
      source.reset();
    }
  }
}

absl::StatusOr<PhaseRun::Totals> PhaseRun::Step(const Activations& activations, const int64_t* indices, int64_t n) {
  const auto shards = std::min<int64_t>(static_cast<int64_t>(replicas_.size()) + 1, n);
  std::vector<Totals> totals(shards);
  RETURN_IF_ERROR(pool_->ParallelFor(shards, [&](int, int64_t shard) {
    const int64_t begin = n * shard / shards, end = n * (shard + 1) / shards;
    Suffix* replica = shard == 0 ? suffix_.get() : replicas_[shard - 1].get();
    return RunShard(replica, activations, indices + begin, end - begin, n, &totals[shard]);
  }));
  Totals sum;
  for (const Totals& t : totals) {
    sum.loss += t.loss;
    sum.correct += t.correct;
    sum.images += t.images;
  }
  return sum;
}

absl::StatusOr<PhaseRun::Totals> PhaseRun::TrainEpoch(const Activations& activations,
                                                      const std::vector<int64_t>& order, int epoch,
                                                      const CancelToken& cancel,
                                                      const std::function<absl::Status(int64_t)>& progress) {
  RETURN_IF_ERROR(TryTorch("set batch norm", [&] {
    suffix_->SetBatchNormTraining(phase_.batch_norm == BatchNormPolicy::kTrainUnfrozen);
    return absl::OkStatus();
  }));
  Totals sum;
  const auto count = static_cast<int64_t>(order.size());
  for (int64_t begin = 0, end = 0; begin < count; begin = end) {
    RETURN_IF_ERROR(cancel.status());
    end = BatchEnd(begin, count);
    ASSIGN_OR_RETURN(const Totals step, Step(activations, order.data() + begin, end - begin));
    sum.last_rate_factor = LearningRateFactor(epoch, static_cast<double>(begin) / static_cast<double>(count));
    RETURN_IF_ERROR(TryTorch("update the weights", [&] {
      SumGradients();
      optimizer_.Step(sum.last_rate_factor);
      return absl::OkStatus();
    }));
    sum.loss += step.loss;
    sum.correct += step.correct;
    sum.images += step.images;
    if (!std::isfinite(sum.loss)) {
      return absl::InvalidArgumentError(absl::StrCat("the loss became infinite in epoch ", epoch + 1, " of phase \"",
                                                     phase_.name, "\": want a smaller learning_rate"));
    }
    RETURN_IF_ERROR(progress(sum.images));
  }
  return sum;
}

absl::StatusOr<std::vector<float>> PhaseRun::Predict(const Activations& activations, const CancelToken& cancel) {
  const int64_t count = activations.size();
  if (count == 0) return std::vector<float>();
  suffix_->SetBatchNormTraining(false);
  const int64_t classes = suffix_->num_classes();
  std::vector<float> probabilities(count * classes);
  RETURN_IF_ERROR(
      pool_->ParallelFor((count + kPredictBatch - 1) / kPredictBatch, [&](int, int64_t batch) -> absl::Status {
        RETURN_IF_ERROR(cancel.status());
        const int64_t begin = batch * kPredictBatch, n = std::min(kPredictBatch, count - begin);
        std::vector<int64_t> indices(n);
        std::iota(indices.begin(), indices.end(), begin);
        ASSIGN_OR_RETURN(const at::Tensor input, activations.Gather(indices.data(), n));
        return TryTorch("evaluate a batch", [&] {
          torch::NoGradGuard no_grad;
          const at::Tensor rows = at::softmax(suffix_->Forward(input), 1).cpu().contiguous();
          std::copy_n(rows.data_ptr<float>(), n * classes, probabilities.data() + begin * classes);
          return absl::OkStatus();
        });
      }));
  return probabilities;
}

}  // namespace graft

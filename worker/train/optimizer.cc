#include "worker/train/optimizer.h"

#include <torch/torch.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "worker/backbone/torch_status.h"
#include "worker/base/status.h"
#include "worker/train/lbfgs.h"

namespace graft {
namespace {

constexpr int kMaxHistory = 100;  // torch.optim.LBFGS's default

// The gradient of loss + weight_decay / 2 * |value|^2, where `gradient` is that of the loss.
at::Tensor WithDecay(const at::Tensor& gradient, const Optimizer::Parameter& p) {
  return p.weight_decay == 0 ? gradient : gradient.add(p.value, p.weight_decay);
}

// An optimizer whose update of a parameter needs that parameter's gradient and state alone.
class FirstOrderOptimizer : public Optimizer {
 public:
  absl::StatusOr<double> Step(double factor, const Closure& closure) override {
    double loss = 0;
    const absl::Status status = TryTorch("update the weights", [&]() -> absl::Status {
      {
        at::AutoGradMode enable_grad(true);
        ASSIGN_OR_RETURN(loss, closure());
      }
      torch::NoGradGuard no_grad;
      for (size_t i = 0; i < parameters_.size(); ++i) {
        const Parameter& p = parameters_[i];
        if (p.value.grad().defined()) Update(i, p.value.grad(), p.learning_rate * factor);
      }
      return absl::OkStatus();
    });
    for (const Parameter& p : parameters_) p.value.mutable_grad().reset();
    RETURN_IF_ERROR(status);
    return loss;
  }

  std::map<std::string, at::Tensor> State() const override {
    std::map<std::string, at::Tensor> state;
    for (const Slot& slot : slots_) {
      for (size_t i = 0; i < parameters_.size(); ++i) {
        if (slot.tensors[i].defined()) state.emplace(NameOf(slot, i), slot.tensors[i]);
      }
    }
    return state;
  }

  absl::Status LoadState(const std::map<std::string, at::Tensor>& state) override {
    std::vector<Slot> loaded = slots_;
    std::set<std::string> known;
    for (size_t i = 0; i < parameters_.size(); ++i) {
      const bool stepped = std::any_of(slots_.begin(), slots_.end(),
                                       [&](const Slot& slot) { return state.count(NameOf(slot, i)) > 0; });
      for (Slot& slot : loaded) {
        slot.tensors[i].reset();
        if (!stepped) continue;
        const auto it = state.find(NameOf(slot, i));
        if (it == state.end()) return absl::DataLossError(absl::StrCat(NameOf(slot, i), ": missing"));
        known.insert(it->first);
        RETURN_IF_ERROR(CheckStateTensor(it->first, it->second, Empty(slot, i)));
        RETURN_IF_ERROR(TryTorch("load the optimizer's state", [&] {
          torch::NoGradGuard no_grad;
          slot.tensors[i] = Empty(slot, i).copy_(it->second);
          return absl::OkStatus();
        }));
      }
    }
    for (const auto& entry : state) {
      if (known.count(entry.first) == 0) return absl::DataLossError(absl::StrCat(entry.first, ": unknown name"));
    }
    slots_ = std::move(loaded);
    return absl::OkStatus();
  }

 protected:
  // A kind of state: one tensor a parameter, undefined before that parameter's first step.
  struct Slot {
    std::string name;
    bool is_count = false;  // int64 [1] on the CPU; else of the value's shape, layout, dtype and device
    std::vector<at::Tensor> tensors;
  };

  // `slots` says the kinds of state; there is at least one.
  FirstOrderOptimizer(std::vector<Parameter> parameters, std::vector<Slot> slots)
      : Optimizer(std::move(parameters)), slots_(std::move(slots)) {
    for (Slot& slot : slots_) slot.tensors.resize(parameters_.size());
  }

  // Updates value and state of parameter `i`; runs without gradient recording.
  virtual void Update(size_t i, const at::Tensor& gradient, double learning_rate) = 0;

  // Parameter `i`'s tensor of kind `slot`, zeros before its first step.
  at::Tensor& StateOf(size_t slot, size_t i) {
    at::Tensor& tensor = slots_[slot].tensors[i];
    if (!tensor.defined()) tensor = Empty(slots_[slot], i).zero_();
    return tensor;
  }

 private:
  std::string NameOf(const Slot& slot, size_t i) const { return absl::StrCat(slot.name, ".", parameters_[i].name); }

  at::Tensor Empty(const Slot& slot, size_t i) const {
    return slot.is_count ? at::empty({1}, at::kLong) : at::empty_like(parameters_[i].value.detach());
  }

  std::vector<Slot> slots_;
};

class Sgd : public FirstOrderOptimizer {
 public:
  Sgd(const OptimizerOptions& options, std::vector<Parameter> parameters)
      : FirstOrderOptimizer(std::move(parameters), {{"momentum", false, {}}}), options_(options) {}

 private:
  void Update(size_t i, const at::Tensor& gradient, double learning_rate) override {
    const at::Tensor& value = parameters_[i].value;
    at::Tensor update = WithDecay(gradient, parameters_[i]);
    if (options_.momentum != 0) {
      at::Tensor& momentum = StateOf(0, i);
      momentum.mul_(options_.momentum).add_(update);
      update = options_.nesterov ? update.add(momentum, options_.momentum) : momentum;
    }
    value.add_(update, -learning_rate);
  }

  const OptimizerOptions options_;
};

class AdamW : public FirstOrderOptimizer {
 public:
  AdamW(const OptimizerOptions& options, std::vector<Parameter> parameters)
      : FirstOrderOptimizer(std::move(parameters), {{"average", false, {}}, {"square_average", false, {}},
                                                    {"step", true, {}}}),
        options_(options) {}

 private:
  void Update(size_t i, const at::Tensor& gradient, double learning_rate) override {
    const Parameter& p = parameters_[i];
    at::Tensor &average = StateOf(0, i), &square_average = StateOf(1, i);
    const auto step = static_cast<double>(StateOf(2, i).add_(1).item<int64_t>());
    if (p.weight_decay != 0) p.value.mul_(1 - learning_rate * p.weight_decay);
    average.mul_(options_.beta1).add_(gradient, 1 - options_.beta1);
    square_average.mul_(options_.beta2).addcmul_(gradient, gradient, 1 - options_.beta2);
    // Both averages began at zero; the corrections make them unbiased.
    const double correction1 = 1 - std::pow(options_.beta1, step);
    const double correction2 = 1 - std::pow(options_.beta2, step);
    const at::Tensor divisor = (square_average.sqrt() / std::sqrt(correction2)).add_(options_.epsilon);
    p.value.addcdiv_(average, divisor, -learning_rate / correction1);
  }

  const OptimizerOptions options_;
};

class RmsProp : public FirstOrderOptimizer {
 public:
  RmsProp(const OptimizerOptions& options, std::vector<Parameter> parameters)
      : FirstOrderOptimizer(std::move(parameters), SlotsFor(options)), options_(options) {}

 private:
  static std::vector<Slot> SlotsFor(const OptimizerOptions& options) {
    std::vector<Slot> slots = {{"square_average", false, {}}};
    if (options.momentum != 0) slots.push_back({"momentum", false, {}});
    return slots;
  }

  void Update(size_t i, const at::Tensor& gradient, double learning_rate) override {
    const at::Tensor& value = parameters_[i].value;
    const at::Tensor g = WithDecay(gradient, parameters_[i]);
    at::Tensor& square_average = StateOf(0, i);
    square_average.mul_(options_.smoothing).addcmul_(g, g, 1 - options_.smoothing);
    const at::Tensor divisor = square_average.sqrt().add_(options_.epsilon);
    if (options_.momentum == 0) {
      value.addcdiv_(g, divisor, -learning_rate);
    } else {
      at::Tensor& momentum = StateOf(1, i);
      value.add_(momentum.mul_(options_.momentum).addcdiv_(g, divisor), -learning_rate);
    }
  }

  const OptimizerOptions options_;
};

std::vector<at::Tensor> ValuesOf(const std::vector<Optimizer::Parameter>& parameters) {
  std::vector<at::Tensor> values;
  for (const Optimizer::Parameter& p : parameters) values.push_back(p.value);
  return values;
}

class LbfgsOptimizer : public Optimizer {
 public:
  LbfgsOptimizer(const OptimizerOptions& options, std::vector<Parameter> parameters)
      : Optimizer(std::move(parameters)), lbfgs_(ValuesOf(parameters_), options.history) {}

  absl::StatusOr<double> Step(double factor, const Closure& closure) override {
    bool first = true;
    double first_loss = 0;
    RETURN_IF_ERROR(lbfgs_.Step(parameters_.front().learning_rate * factor, [&]() -> absl::StatusOr<double> {
      ASSIGN_OR_RETURN(const double loss, closure());
      if (std::exchange(first, false)) first_loss = loss;
      return loss + AddDecay();
    }).status());
    return first_loss;
  }

  std::map<std::string, at::Tensor> State() const override { return lbfgs_.State(); }
  absl::Status LoadState(const std::map<std::string, at::Tensor>& state) override { return lbfgs_.LoadState(state); }

 private:
  // Adds the decay's gradients, and returns its loss.
  double AddDecay() {
    torch::NoGradGuard no_grad;
    double loss = 0;
    for (const Parameter& p : parameters_) {
      if (p.weight_decay == 0 || !p.value.grad().defined()) continue;
      p.value.mutable_grad() = WithDecay(p.value.grad(), p);
      loss += 0.5 * p.weight_decay * p.value.square().sum().item<double>();
    }
    return loss;
  }

  Lbfgs lbfgs_;
};

}  // namespace

std::string OptimizerName(OptimizerKind kind) {
  return std::array{"sgd", "adamw", "rmsprop", "lbfgs"}[static_cast<size_t>(kind)];
}

absl::Status OptimizerOptions::Validate() const {
  std::vector<std::string> violations;
  const auto fraction = [&violations](const char* field, double got) {
    if (got >= 0 && got < 1) return;
    violations.push_back(absl::StrCat(field, ": got ", got, ", want 0 <= ", field, " < 1"));
  };
  fraction("momentum", momentum);
  if (kind == OptimizerKind::kSgd && nesterov && momentum == 0) {
    violations.push_back("nesterov: got true, want false without momentum");
  }
  fraction("beta1", beta1);
  fraction("beta2", beta2);
  fraction("smoothing", smoothing);
  if (!(epsilon > 0 && std::isfinite(epsilon))) {
    violations.push_back(absl::StrCat("epsilon: got ", epsilon, ", want > 0 and finite"));
  }
  if (history < 1 || history > kMaxHistory) {
    violations.push_back(absl::StrCat("history: got ", history, ", want 1 to ", kMaxHistory));
  }
  return violations.empty() ? absl::OkStatus() : absl::InvalidArgumentError(absl::StrJoin(violations, "\n"));
}

std::unique_ptr<Optimizer> Optimizer::Create(const OptimizerOptions& options, std::vector<Parameter> parameters) {
  GRAFT_CHECK(options.Validate().ok());
  GRAFT_CHECK(!parameters.empty());
  switch (options.kind) {
    case OptimizerKind::kSgd: return std::make_unique<Sgd>(options, std::move(parameters));
    case OptimizerKind::kAdamW: return std::make_unique<AdamW>(options, std::move(parameters));
    case OptimizerKind::kRmsProp: return std::make_unique<RmsProp>(options, std::move(parameters));
    case OptimizerKind::kLbfgs: break;
  }
  return std::make_unique<LbfgsOptimizer>(options, std::move(parameters));
}

Optimizer::~Optimizer() = default;

}  // namespace graft

#pragma once

#include <type_traits>

#include "absl/status/statusor.h"
#include "worker/train/recipe.h"

namespace graft {

// One option's default.
template <typename T>
struct OptionDefault {
  T value;
  const char* source;          // null: another option says it (an augmentation preset its parts)
  const char* only = nullptr;  // when the option does not apply: what it wants
};

// Calls visit(path, field, default) for each option of a recipe, in an order in which a default depends on earlier
// options only. The one list of the options, their names and their defaults.
template <typename Visit>
void ForEachOption(Recipe& r, Visit&& visit) {
  constexpr const char* kOff = "off unless asked for";
  const auto option = [&](const char* path, auto& field, auto value, const char* source, const char* only = nullptr) {
    using T = std::decay_t<decltype(field)>;
    visit(path, field, OptionDefault<T>{static_cast<T>(value), source, only});
  };
  const auto when = [](bool applies, const char* only) { return applies ? nullptr : only; };

  const bool frozen = r.strategy == Strategy::kFrozenHead, scratch = r.strategy == Strategy::kScratch;
  const bool tunes = !frozen && !scratch;
  const char* const tuning = when(tunes, "it only with the fine-tune and gradual strategies");
  const char* const pretrained = when(tunes, "it only where a pretrained backbone is trained");

  option("head.type", r.head.type, HeadType::kLinear, "linear probe: Kornblith et al. 2019 (arXiv:1805.08974)");
  const bool mlp = r.head.type == HeadType::kMlp;
  option("head.hidden_width", r.head.hidden_width, mlp ? 256 : 0, "Chollet 2016: Dense(256)",
         when(mlp, "it only with the mlp head"));
  option("head.standardize", r.head.standardize, !scratch,
         scratch ? kOff : "LeCun et al. 1998, Efficient BackProp, section 4.3",
         when(!scratch, "it only with a pretrained backbone"));

  option("optimizer.type", r.optimizer.kind, OptimizerKind::kSgd,
         "torchvision references/classification/train.py; PyTorch transfer-learning tutorial");
  const OptimizerKind kind = r.optimizer.kind;
  const bool sgd = kind == OptimizerKind::kSgd, adamw = kind == OptimizerKind::kAdamW;
  const bool rmsprop = kind == OptimizerKind::kRmsProp, lbfgs = kind == OptimizerKind::kLbfgs;
  const bool drops = mlp && !lbfgs;
  option("head.dropout", r.head.dropout, drops ? 0.5 : 0.0, drops ? "Chollet 2016: Dropout(0.5)" : kOff);
  option("optimizer.momentum", r.optimizer.momentum, sgd ? 0.9 : 0.0,
         sgd ? "PyTorch transfer-learning tutorial" : "Keras RMSprop",
         when(sgd || rmsprop, "it only with SGD and RMSprop"));
  option("optimizer.nesterov", r.optimizer.nesterov, false, "torch.optim.SGD", when(sgd, "it only with SGD"));
  option("optimizer.beta1", r.optimizer.beta1, 0.9, "arXiv:1412.6980", when(adamw, "it only with AdamW"));
  option("optimizer.beta2", r.optimizer.beta2, 0.999, "arXiv:1412.6980", when(adamw, "it only with AdamW"));
  option("optimizer.smoothing", r.optimizer.smoothing, 0.99, "torch.optim.RMSprop",
         when(rmsprop, "it only with RMSprop"));
  option("optimizer.epsilon", r.optimizer.epsilon, 1e-8, "torch.optim",
         when(adamw || rmsprop, "it only with AdamW and RMSprop"));
  option("optimizer.history", r.optimizer.history, 10, "Nocedal and Wright 2006, section 7.2: 3 to 20",
         when(lbfgs, "it only with L-BFGS"));
  // Standardized features have as many directions as the backbone is wide: a head on them is regularised.
  const double frozen_decay = mlp ? 1e-3 : 1e-2, other_decay = scratch ? 1e-4 : 0.0;
  option("optimizer.weight_decay", r.weight_decay, adamw ? 1e-2 : (frozen ? frozen_decay : other_decay),
         adamw     ? "torch.optim.AdamW"
         : frozen  ? "chosen on held-out training pictures (docs/benchmarks.md)"
         : scratch ? "torchvision references/classification/train.py"
                   : kOff);

  // SCRATCH: a third of torchvision's 90, ImageNet is not the aim.
  option("epochs", r.epochs, tunes ? 10 : 30,
         "enough for a few hundred pictures (docs/benchmarks.md)");
  option("batch_size", r.batch_size, 32, "Keras; PyTorch transfer-learning tutorial");
  option("accumulate_batches", r.accumulate_batches, 1, kOff, when(!lbfgs, "it only with first-order optimizers"));
  const double adaptive_rate = frozen ? 1e-3 : 1e-4, sgd_rate = tunes ? 5e-3 : 1e-2;
  option("learning_rate", r.learning_rate, lbfgs ? 1.0 : (adamw || rmsprop ? adaptive_rate : sgd_rate),
         lbfgs    ? "the line search scales it"
         : adamw  ? "torch.optim.AdamW; a tenth of it where the backbone is trained"
         : rmsprop ? "Keras RMSprop; a tenth of it where the backbone is trained"
         : tunes  ? "chosen on held-out training pictures (docs/benchmarks.md)"
         : scratch ? "torchvision references/classification/train.py, scaled to batches of 32 (arXiv:1706.02677)"
                   : "chosen on held-out training pictures (docs/benchmarks.md)");
  option("learning_rate_finder.steps", r.rate_finder.steps, 0, kOff,
         when(!lbfgs, "it only with first-order optimizers"));
  const bool finds = r.rate_finder.steps != 0;
  option("learning_rate_finder.apply", r.rate_finder.apply, finds && r.chosen.count("learning_rate") == 0,
         "a learning_rate that is asked for stays", when(finds, "it only with learning_rate_finder.steps"));
  option("schedule.type", r.schedule.kind, lbfgs ? ScheduleKind::kConstant : ScheduleKind::kCosine,
         lbfgs ? "the line search sets the steps" : "Loshchilov and Hutter 2017 (arXiv:1608.03983)");
  const bool step = r.schedule.kind == ScheduleKind::kStep;
  option("schedule.warmup_epochs", r.schedule.warmup_epochs, 0.0, kOff,
         when(r.schedule.kind != ScheduleKind::kOneCycle, "none with one-cycle, which has its own"));
  option("schedule.step_epochs", r.schedule.step_epochs, 7.0, "PyTorch transfer-learning tutorial: StepLR(7, 0.1)",
         when(step, "it only with the step schedule"));
  option("schedule.step_factor", r.schedule.step_factor, 0.1, "PyTorch transfer-learning tutorial: StepLR(7, 0.1)",
         when(step, "it only with the step schedule"));

  option("fine_tune.head_epochs", r.head_epochs, 10, "Kumar et al. 2022 (arXiv:2202.10054): the head before the rest",
         tuning);
  option("fine_tune.unfreeze_from", r.unfreeze_from, "", kOff, tuning);
  option("fine_tune.unfreeze_stages", r.unfreeze_stages, r.unfreeze_from.empty() ? 3 : 0,
         "Chollet 2016: the last block of VGG16 has three layers",
         tunes ? when(r.unfreeze_from.empty(), "either it or fine_tune.unfreeze_from") : tuning);
  const bool gradual = r.strategy == Strategy::kGradual;
  option("fine_tune.stage_decay", r.stage_decay, gradual ? 1 / 2.6 : 1.0,
         gradual ? "Howard and Ruder 2018 (arXiv:1801.06146)" : kOff, tuning);

  option("regularization.label_smoothing", r.label_smoothing, 0.0, kOff);
  // Without it early stages whose batch norms keep their statistics diverge at such rates.
  option("regularization.clip_norm", r.clip_norm, tunes ? 1.0 : 0.0, tunes ? "Pascanu et al. 2013 (arXiv:1211.5063)" : kOff,
         when(!lbfgs, "it only with first-order optimizers"));
  option("regularization.l2_sp", r.l2_sp, 0.0, kOff, pretrained);
  option("regularization.ema_decay", r.ema_decay, 0.0, kOff, when(!lbfgs, "it only with first-order optimizers"));
  option("regularization.mixup_alpha", r.mix.mixup_alpha, 0.0, kOff,
         when(!lbfgs, "it only with first-order optimizers"));
  option("regularization.cutmix_alpha", r.mix.cutmix_alpha, 0.0, kOff,
         when(!frozen, "it only where the backbone is trained"));

  option("augmentation.preset", r.augmentation, frozen ? "none" : "light",
         frozen ? kOff : "random crops and flips: every ImageNet recipe since AlexNet");
  const absl::StatusOr<AugmentSpec> preset = AugmentPreset(r.augmentation);
  const AugmentSpec base = preset.ok() ? *preset : AugmentSpec();
  r.augment.trivial_augment = base.trivial_augment;
  constexpr const char* kPreset = nullptr;
  option("augmentation.crop_scale_min", r.augment.crop_scale_min, base.crop_scale_min, kPreset);
  const bool crops = r.augment.crops();
  const char* const cropping = when(crops, "it only with augmentation.crop_scale_min below 1");
  option("augmentation.crop_scale_max", r.augment.crop_scale_max, crops ? base.crop_scale_max : 1.0, kPreset, cropping);
  option("augmentation.crop_ratio", r.augment.crop_ratio, crops ? base.crop_ratio : 1.0, kPreset, cropping);
  option("augmentation.horizontal_flip", r.augment.horizontal_flip, base.horizontal_flip, kPreset);
  option("augmentation.vertical_flip", r.augment.vertical_flip, base.vertical_flip, kPreset);
  option("augmentation.rotation_degrees", r.augment.rotation_degrees, base.rotation_degrees, kPreset);
  option("augmentation.shift", r.augment.shift, base.shift, kPreset);
  option("augmentation.shear_degrees", r.augment.shear_degrees, base.shear_degrees, kPreset);
  option("augmentation.zoom", r.augment.zoom, base.zoom, kPreset);
  option("augmentation.rand_augment_ops", r.augment.rand_augment_ops, base.rand_augment_ops, kPreset,
         when(!base.trivial_augment, "it only without the trivial-augment preset"));
  option("augmentation.rand_augment_magnitude", r.augment.rand_augment_magnitude, base.rand_augment_magnitude, kPreset,
         when(r.augment.rand_augment_ops != 0, "it only with augmentation.rand_augment_ops"));
  option("augmentation.brightness", r.augment.brightness, base.brightness, kPreset);
  option("augmentation.contrast", r.augment.contrast, base.contrast, kPreset);
  option("augmentation.saturation", r.augment.saturation, base.saturation, kPreset);
  option("augmentation.hue", r.augment.hue, base.hue, kPreset);
  option("augmentation.grey", r.augment.grey, base.grey, kPreset);
  option("augmentation.erase", r.augment.erase, base.erase, kPreset);
  const bool augments = !(r.augment == AugmentSpec());
  option("augmentation.views", r.augmented_views, augments ? 4 : 0, "accuracy and time measured in docs/benchmarks.md",
         when(augments, "it only with augmentation"));

  option("early_stopping.patience", r.early_stopping.patience, 0, kOff);
  const bool stops = r.early_stopping.patience != 0;
  const char* const stopping = when(stops, "it only with early_stopping.patience");
  option("early_stopping.metric", r.early_stopping.metric, StopMetric::kLoss, "Prechelt 1998", stopping);
  option("early_stopping.min_delta", r.early_stopping.min_delta, 0.0, "Prechelt 1998", stopping);
  option("early_stopping.holdout", r.early_stopping.holdout, stops ? 0.2 : 0.0, "a fifth, as in 5-fold cross-validation",
         stopping);

  option("class_balance", r.class_balance, ClassBalance::kNone, kOff);
  option("precision", r.precision, Precision::kAuto, "bfloat16 where the device computes it natively");
  option("checkpoint_seconds", r.checkpoint_seconds, 30.0, "an interruption then costs at most half a minute");
  option("evaluation.folds", r.folds, 0, kOff);
  option("evaluation.precision_target", r.precision_target, 0.95, "one wrong in twenty");
  option("evaluation.learning_curve", r.learning_curve, 0, kOff);
}

}  // namespace graft

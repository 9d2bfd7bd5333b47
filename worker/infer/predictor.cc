#include "worker/infer/predictor.h"

#include <torch/torch.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "worker/backbone/torch_status.h"
#include "worker/base/status.h"
#include "worker/model/checkpoint.h"
#include "worker/model/suffix.h"

namespace graft {
namespace {

// Largest difference of a golden logit, relative to the largest one: float32 rounding of folded against unfolded.
constexpr double kGoldenTolerance = 1e-3;

std::string PrefixKey(const Backbone& backbone, int split_point, const PreprocessSpec& preprocessing) {
  return absl::StrCat(backbone.digest(), " ", split_point, " ", KeyOf(preprocessing));
}

}  // namespace

struct Predictor::Suffix {
  graft::Suffix network;
  double temperature;
};

Predictor::Predictor() = default;
Predictor::~Predictor() = default;

absl::StatusOr<std::shared_ptr<const Predictor>> Predictor::Load(absl::string_view checkpoint_bytes,
                                                                 std::shared_ptr<const Backbone> backbone) {
  Checkpoint checkpoint;
  RETURN_IF_ERROR(TryTorch("read the checkpoint", [&]() -> absl::Status {
    ASSIGN_OR_RETURN(checkpoint, ParseCheckpoint(checkpoint_bytes));
    return absl::OkStatus();
  }));
  if (checkpoint.backbone_digest != backbone->digest()) {
    return absl::FailedPreconditionError(absl::StrCat("backbone ", checkpoint.backbone, ": got weights ",
                                                      backbone->digest(), ", want those it was trained on, ",
                                                      checkpoint.backbone_digest));
  }
  const bool in_range = checkpoint.split_point >= 0 && checkpoint.split_point <= backbone->num_stages();
  if (!in_range || (!backbone->architecture().trainable && checkpoint.split_point < backbone->num_stages())) {
    return absl::DataLossError("checkpoint: split point out of range");
  }
  std::shared_ptr<Predictor> predictor(new Predictor);
  predictor->backbone_ = std::move(backbone);
  predictor->split_point_ = checkpoint.split_point;
  predictor->class_names_ = checkpoint.class_names;
  predictor->multi_label_ = checkpoint.multi_label;
  predictor->preprocessing_ = checkpoint.preprocessing;
  predictor->prefix_key_ = PrefixKey(*predictor->backbone_, checkpoint.split_point, checkpoint.preprocessing);
  RETURN_IF_ERROR(TryTorch("load the model", [&]() -> absl::Status {
    predictor->suffix_.reset(
        new Suffix{graft::Suffix(*predictor->backbone_, checkpoint.split_point, checkpoint.head,
                                 static_cast<int64_t>(checkpoint.class_names.size()), 0),
                   checkpoint.temperature});
    graft::Suffix& network = predictor->suffix_->network;
    ASSIGN_OR_RETURN(const int absent, network.LoadState(checkpoint.weights));
    if (absent > 0) return absl::DataLossError(absl::StrCat("checkpoint: ", absent, " weights are missing"));
    for (const auto& [name, tensor] : checkpoint.weights) predictor->bytes_ += static_cast<int64_t>(tensor.nbytes());
    network.PrepareToPredict();
    torch::NoGradGuard no_grad;
    const at::Tensor logits = network.Forward(predictor->Prefix(GoldenInputs(checkpoint.preprocessing)));
    const at::Tensor& want = checkpoint.golden_logits;
    if (logits.sizes() != want.sizes()) return absl::DataLossError("checkpoint: golden logits are misshapen");
    const double difference = (logits.cpu() - want).abs().max().item<double>();
    if (!(difference <= kGoldenTolerance * std::max(1.0, want.abs().max().item<double>()))) {
      return absl::DataLossError(absl::StrCat("checkpoint: its golden logits differ by ", difference));
    }
    return absl::OkStatus();
  }));
  return std::shared_ptr<const Predictor>(std::move(predictor));
}

absl::StatusOr<std::shared_ptr<const Predictor>> Predictor::OfBackbone(std::shared_ptr<const Backbone> backbone) {
  if (backbone->class_names().empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("backbone ", backbone->name(), ": its weights have no classifier of their own; train a model on "
                     "it, or install weights that have one"));
  }
  std::shared_ptr<Predictor> predictor(new Predictor);
  predictor->split_point_ = backbone->num_stages();
  predictor->class_names_ = backbone->class_names();
  predictor->preprocessing_ = backbone->preprocessing();
  predictor->prefix_key_ = PrefixKey(*backbone, predictor->split_point_, predictor->preprocessing_);
  predictor->bytes_ = backbone->classifier_bytes();
  predictor->backbone_ = std::move(backbone);
  return std::shared_ptr<const Predictor>(std::move(predictor));
}

at::Tensor Predictor::Prefix(const at::Tensor& images) const { return backbone_->Forward(images, 0, split_point_); }

at::Tensor Predictor::Probabilities(const at::Tensor& activations) const {
  torch::NoGradGuard no_grad;
  if (suffix_ == nullptr) return at::softmax(backbone_->OwnLogits(activations), 1).cpu();
  at::Tensor logits = suffix_->network.Forward(activations);
  if (suffix_->temperature != 1) logits = logits / suffix_->temperature;
  return (multi_label_ ? at::sigmoid(logits) : at::softmax(logits, 1)).cpu();
}

}  // namespace graft

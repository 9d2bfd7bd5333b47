#include "tests/support/tiny_checkpoint.h"

#include <torch/torch.h>

#include "absl/strings/str_cat.h"
#include "worker/model/suffix.h"

namespace graft {

Checkpoint TinyCheckpoint(const Backbone& backbone, int split_point, int classes, uint64_t seed) {
  torch::NoGradGuard no_grad;
  Suffix suffix(backbone, split_point, HeadOptions(), classes, seed);
  Checkpoint checkpoint;
  checkpoint.backbone = backbone.name();
  checkpoint.backbone_digest = backbone.digest();
  checkpoint.split_point = split_point;
  for (int i = 0; i < classes; ++i) checkpoint.class_names.push_back(absl::StrCat("class ", i));
  checkpoint.preprocessing = backbone.preprocessing();
  checkpoint.training_config = "{}";
  for (const auto& [name, tensor] : suffix.State()) checkpoint.weights.emplace(name, tensor.clone());
  checkpoint.golden_logits = suffix.Forward(backbone.Forward(GoldenInputs(checkpoint.preprocessing), 0, split_point));
  return checkpoint;
}

}  // namespace graft

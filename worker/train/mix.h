#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "absl/status/status.h"

namespace graft {

// Each picture of a batch mixed with another one, and their targets in the same proportion. Applied where the trained
// part begins: on pictures at split point 0, else on activations (manifold mixup, Verma et al. 2019, arXiv:1806.05236).
struct MixOptions {
  // Of Beta(alpha, alpha); 0: off. Both on: one of them by a coin for each batch (timm, torchvision references).
  double mixup_alpha = 0;   // Zhang et al. 2018 (arXiv:1710.09412)
  double cutmix_alpha = 0;  // Yun et al. 2019 (arXiv:1905.04899)

  //   InvalidArgument  every violation, one a line: "mixup_alpha: got -1, want >= 0 and finite"
  absl::Status Validate() const;
};

// The plan for one batch, fixed before the batch is cut into shards.
struct Mix {
  bool mixes = false;            // false: the batch stays as it is, and the rest says nothing
  std::vector<int64_t> partner;  // row -> row of the same batch
  double lambda = 1;             // share of a row's own target
  bool cut = false;              // CutMix: this box of the map is the partner's, in fractions of the map
  double top = 0, left = 0, height = 0, width = 0;
};

// The plan for step `step` of an epoch, which depends on nothing but the arguments. `height` and `width` are those of
// the map that is mixed, [n, channels, height, width]; 1 and 1 where the rows are features or tokens: there is nothing
// to cut, and CutMix gives way to mixup, or to nothing where mixup is off. A batch of one has no partner: no mix.
// lambda ~ Beta(alpha, alpha); with a box, exactly the share of the map that is left, so at times no mix at all.
Mix DrawMix(const MixOptions& options, int64_t batch, int64_t height, int64_t width, uint64_t seed, uint64_t phase,
            uint64_t epoch, uint64_t step);

// Consecutive rows of a batch mixed: `own` are their activations, `partners` those of Mix::partner, of the same shape;
// with a box [n, channels, height, width] of the size that DrawMix() was told. A row's result depends on no other row.
at::Tensor MixActivations(const at::Tensor& own, const at::Tensor& partners, const Mix& mix);

// The same for their targets, [n, classes].
at::Tensor MixTargets(const at::Tensor& own, const at::Tensor& partners, const Mix& mix);

}  // namespace graft

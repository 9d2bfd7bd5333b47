#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "worker/backbone/blocks.h"

namespace graft {

// 1x1 expansion (where expanded != in), depthwise convolution, squeeze-and-excitation (where squeezed > 0), linear 1x1
// projection; added to its input when nothing changes size.
// Source: Sandler et al. 2018 (arXiv:1801.04381); Tan and Le 2019 (arXiv:1905.11946), MBConv.
struct InvertedResidualOptions {
  int64_t in = 0, expanded = 0, out = 0;
  int64_t kernel = 3, stride = 1;
  Activation activation = Activation::kNone;
  int64_t squeezed = 0;
  Activation squeeze_activation = Activation::kRelu;
  Gate gate = Gate::kSigmoid;
  ConvOptions layer;               // epsilon, momentum and same_padding of all its layers
  std::string path = "block";      // its parts are "<path>.0", "<path>.1" ...
  bool flat_projection = false;    // the projection is "<path>.2" and its norm "<path>.3" (MobileNetV2)
};

StagePtr InvertedResidual(const InvertedResidualOptions& options);

// Adds timm's names of the block `timm` ("blocks.1.0"), which is `ours` ("features.2") here.
void AddTimmNames(const InvertedResidualOptions& options, const std::string& timm, const std::string& ours,
                  std::map<std::string, std::string>* names);

}  // namespace graft

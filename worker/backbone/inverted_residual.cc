#include "worker/backbone/inverted_residual.h"

#include <optional>

#include "absl/strings/str_cat.h"

namespace graft {
namespace {

// Where the parts of a block are.
struct Paths {
  std::string expand_conv, expand_norm, depthwise_conv, depthwise_norm, excite, project_conv, project_norm;
};

Paths PathsOf(const InvertedResidualOptions& o) {
  Paths paths;
  int next = 0;
  const auto pair = [&](std::string* conv, std::string* norm) {
    *conv = absl::StrCat(o.path, ".", next, ".0");
    *norm = absl::StrCat(o.path, ".", next++, ".1");
  };
  if (o.expanded != o.in) pair(&paths.expand_conv, &paths.expand_norm);
  pair(&paths.depthwise_conv, &paths.depthwise_norm);
  if (o.squeezed > 0) paths.excite = absl::StrCat(o.path, ".", next++);
  if (o.flat_projection) {
    paths.project_conv = absl::StrCat(o.path, ".", next);
    paths.project_norm = absl::StrCat(o.path, ".", next + 1);
  } else {
    pair(&paths.project_conv, &paths.project_norm);
  }
  return paths;
}

ConvOptions Layer(const InvertedResidualOptions& o, int64_t in, int64_t out, Activation activation) {
  ConvOptions layer = o.layer;
  layer.in = in;
  layer.out = out;
  layer.activation = activation;
  return layer;
}

ConvOptions Depthwise(const InvertedResidualOptions& o) {
  ConvOptions layer = Layer(o, o.expanded, o.expanded, o.activation);
  layer.kernel = {o.kernel, o.kernel};
  layer.stride = o.stride;
  layer.groups = o.expanded;
  return layer;
}

class Block : public Stage {
 public:
  Block(const InvertedResidualOptions& o, const Paths& paths)
      : residual_(o.stride == 1 && o.in == o.out),
        depthwise_(this, paths.depthwise_conv, paths.depthwise_norm, Depthwise(o)),
        project_(this, paths.project_conv, paths.project_norm, Layer(o, o.expanded, o.out, Activation::kNone)) {
    if (o.expanded != o.in) {
      expand_.emplace(this, paths.expand_conv, paths.expand_norm, Layer(o, o.in, o.expanded, o.activation));
    }
    if (o.squeezed > 0) {
      excite_.emplace(this, paths.excite, o.expanded, o.squeezed, o.squeeze_activation, o.gate);
    }
  }

  at::Tensor Forward(const at::Tensor& x) override {
    at::Tensor y = depthwise_(expand_ ? (*expand_)(x) : x);
    if (excite_) y = (*excite_)(y);
    y = project_(y);
    return residual_ ? Add(y, x) : y;
  }

 private:
  const bool residual_;
  std::optional<Conv> expand_;
  Conv depthwise_;
  std::optional<SqueezeExcitation> excite_;
  Conv project_;
};

}  // namespace

StagePtr InvertedResidual(const InvertedResidualOptions& options) {
  return std::make_shared<Block>(options, PathsOf(options));
}

void AddTimmNames(const InvertedResidualOptions& options, const std::string& timm, const std::string& ours,
                  std::map<std::string, std::string>* names) {
  const Paths paths = PathsOf(options);
  const bool expands = !paths.expand_conv.empty();
  const auto add = [&](const std::string& theirs, const std::string& path) {
    names->emplace(absl::StrCat(timm, ".", theirs), absl::StrCat(ours, ".", path));
  };
  if (expands) {
    add("conv_pw", paths.expand_conv);
    add("bn1", paths.expand_norm);
  }
  add("conv_dw", paths.depthwise_conv);
  add(expands ? "bn2" : "bn1", paths.depthwise_norm);
  if (!paths.excite.empty()) {
    add("se.conv_reduce", paths.excite + ".fc1");
    add("se.conv_expand", paths.excite + ".fc2");
  }
  add(expands ? "conv_pwl" : "conv_pw", paths.project_conv);  // the projection, where there is no expansion before it
  add(expands ? "bn3" : "bn2", paths.project_norm);
}

}  // namespace graft

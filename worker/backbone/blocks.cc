#include "worker/backbone/blocks.h"

#include <torch/torch.h>

#include <algorithm>
#include <array>

#include "absl/strings/str_split.h"
#include "worker/base/status.h"

namespace graft {
namespace {

// Total padding of one side in TensorFlow's SAME: output = ceil(size / stride).
int64_t SamePadding(int64_t size, int64_t kernel, int64_t stride) {
  const int64_t outputs = (size + stride - 1) / stride;
  return std::max<int64_t>((outputs - 1) * stride + kernel - size, 0);
}

// Holds the weight; Convolve() reads padding and stride from ConvNormOptions.
torch::nn::Conv2d MakeConv(const ConvNormOptions& o) {
  return torch::nn::Conv2d(torch::nn::Conv2dOptions(o.in, o.out, o.kernel).groups(o.groups).bias(false));
}

class ConvNormOnly : public Stage {
 public:
  explicit ConvNormOnly(const ConvNormOptions& options) : layer_(this, "0", "1", options) {}
  at::Tensor Forward(const at::Tensor& x) override { return layer_(x); }
  void Fold() override { layer_.Fold(); }

 private:
  ConvNorm layer_;
};

class Pool : public Stage {
 public:
  at::Tensor Forward(const at::Tensor& x) override { return x.mean({2, 3}); }
  void Fold() override {}
};

}  // namespace

void RegisterAt(torch::nn::Module* parent, const std::string& path, std::shared_ptr<torch::nn::Module> child) {
  const std::vector<std::string> parts = absl::StrSplit(path, '.');
  for (size_t i = 0; i + 1 < parts.size(); ++i) {
    const auto children = parent->named_children();
    const auto* next = children.find(parts[i]);
    parent = next != nullptr ? next->get()
                             : parent->register_module(parts[i], std::make_shared<torch::nn::Module>(parts[i])).get();
  }
  parent->register_module(parts.back(), std::move(child));
}

at::Tensor Activate(const at::Tensor& x, Activation activation) {
  // In place on inference tensors is safe and saves a pass over memory; autograd needs the inputs of some of these.
  const bool in_place = !at::GradMode::is_enabled();
  switch (activation) {
    case Activation::kNone:
      return x;
    case Activation::kRelu:
      return in_place ? at::relu_(const_cast<at::Tensor&>(x)) : at::relu(x);
    case Activation::kRelu6:
      return in_place ? at::clamp_(const_cast<at::Tensor&>(x), 0, 6) : at::clamp(x, 0, 6);
    case Activation::kHardswish:
      return in_place ? at::hardswish_(const_cast<at::Tensor&>(x)) : at::hardswish(x);
  }
  GRAFT_CHECK(false);
  return x;
}

ConvNorm::ConvNorm(torch::nn::Module* parent, const std::string& conv_name, const std::string& norm_name,
                   const ConvNormOptions& options)
    : options_(options),
      conv_(MakeConv(options)),
      norm_(torch::nn::BatchNorm2dOptions(options.out).eps(options.epsilon).momentum(options.momentum)) {
  RegisterAt(parent, conv_name, conv_.ptr());
  RegisterAt(parent, norm_name, norm_.ptr());
}

at::Tensor ConvNorm::operator()(const at::Tensor& x) {
  const at::Tensor y = Convolve(x);
  return Activate(folded_ ? y : norm_->forward(y), options_.activation);
}

at::Tensor ConvNorm::Convolve(const at::Tensor& x) {
  at::Tensor input = x;
  int64_t pad_height = (options_.kernel - 1) / 2, pad_width = pad_height;  // on each side
  if (options_.same_padding) {
    const int64_t height = SamePadding(x.size(2), options_.kernel, options_.stride);
    const int64_t width = SamePadding(x.size(3), options_.kernel, options_.stride);
    pad_height = height / 2;
    pad_width = width / 2;
    // An odd total has its extra row and column at the end.
    if (height % 2 + width % 2 > 0) input = at::constant_pad_nd(x, {0, width % 2, 0, height % 2});
  }
  const std::array<int64_t, 2> padding{pad_height, pad_width}, stride{options_.stride, options_.stride};
  const std::array<int64_t, 2> dilation{1, 1};
  // LibTorch's own choice avoids oneDNN for 1x1 convolutions of fewer than 16 images on one thread, which is right for
  // NCHW and half as fast for channels-last.
  if (folded_ && input.is_cpu() && at::hasMKLDNN()) {
    return at::mkldnn_convolution(input, conv_->weight, conv_->bias, padding, stride, dilation, options_.groups);
  }
  return at::conv2d(input, conv_->weight, conv_->bias, stride, padding, dilation, options_.groups);
}

void ConvNorm::Fold() {
  if (folded_) return;
  torch::NoGradGuard no_grad;
  const at::Tensor scale = norm_->weight * at::rsqrt(norm_->running_var + options_.epsilon);  // [out]
  conv_->weight.set_data(conv_->weight * scale.view({-1, 1, 1, 1}));
  conv_->bias = norm_->bias - norm_->running_mean * scale;
  folded_ = true;
}

std::shared_ptr<Stage> ConvNormStage(const ConvNormOptions& options) { return std::make_shared<ConvNormOnly>(options); }

std::shared_ptr<Stage> PoolStage() { return std::make_shared<Pool>(); }

}  // namespace graft

#include "worker/backbone/blocks.h"

#include <torch/torch.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "worker/backbone/depthwise.h"
#include "worker/base/status.h"

namespace graft {
namespace {

// Total padding of one side in TensorFlow's SAME: output = ceil(size / stride).
int64_t SamePadding(int64_t size, int64_t kernel, int64_t stride) {
  const int64_t outputs = (size + stride - 1) / stride;
  return std::max<int64_t>((outputs - 1) * stride + kernel - size, 0);
}

// Below it the weights' reordering costs more than the product.
constexpr int64_t kMinRowsForOneDnn = 32;

at::Tensor PreparedLinear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  const int64_t in = weight.size(1), out = weight.size(0), rows = x.numel() / in;
  if (!x.is_cpu() || !at::hasMKLDNN() || rows < kMinRowsForOneDnn) {
    return at::linear(x, weight, bias);
  }
  const at::Tensor picture = x.contiguous().as_strided({1, in, rows, 1}, {rows * in, 1, in, in});
  const std::array<int64_t, 2> zero{0, 0}, one{1, 1};
  const at::Tensor y = at::mkldnn_convolution(picture, weight.view({out, in, 1, 1}), bias, zero, one, one, 1);
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes.back() = out;
  return y.permute({0, 2, 3, 1}).reshape(sizes);
}

}  // namespace

at::Tensor Activate(at::Tensor x, Activation activation) {
  // In place on inference tensors is safe and saves a pass over memory; autograd needs the inputs of some of these.
  const bool in_place = !at::GradMode::is_enabled();
  switch (activation) {
    case Activation::kNone:
      return x;
    case Activation::kRelu:
      return in_place ? at::relu_(x) : at::relu(x);
    case Activation::kRelu6:
      return in_place ? at::hardtanh_(x, 0, 6) : at::hardtanh(x, 0, 6);
    case Activation::kHardswish:
      return in_place ? at::hardswish_(x) : at::hardswish(x);
    case Activation::kSilu:
      return in_place ? at::silu_(x) : at::silu(x);
    case Activation::kGelu:
      return in_place ? at::gelu_(x) : at::gelu(x);
  }
  GRAFT_CHECK(false);
  return x;
}

// Statistics and affine parameters of a batch norm; a module of its own, so that train() and eval() reach it.
class BatchNorm : public torch::nn::Module {
 public:
  BatchNorm(int64_t channels, double epsilon, double momentum)
      : epsilon_(epsilon),
        momentum_(momentum),
        weight_(register_parameter("weight", at::ones({channels}))),
        bias_(register_parameter("bias", at::zeros({channels}))),
        mean_(register_buffer("running_mean", at::zeros({channels}))),
        variance_(register_buffer("running_var", at::ones({channels}))) {}
  at::Tensor Forward(const at::Tensor& x) const {
    return at::batch_norm(x, weight_, bias_, mean_, variance_, is_training(), momentum_, epsilon_,
                          at::globalContext().userEnabledCuDNN());
  }
  // In eval mode it computes x * scale + shift: scale and shift, [channels].
  std::pair<at::Tensor, at::Tensor> Affine() const {
    const at::Tensor scale = weight_ * at::rsqrt(variance_ + epsilon_);
    return {scale, bias_ - mean_ * scale};
  }

 private:
  const double epsilon_, momentum_;
  at::Tensor weight_, bias_, mean_, variance_;
};

ConvOptions ConvFor(const BuildOptions& build, int64_t in, int64_t out, Activation activation) {
  ConvOptions options;
  options.in = in;
  options.out = out;
  options.activation = activation;
  options.epsilon = build.norm_epsilon;
  options.same_padding = build.tensorflow_same_padding;
  return options;
}

struct Conv::Layers {
  ConvOptions options;
  at::Tensor weight, bias;          // [out, in / groups, height, width]; [out] or undefined
  std::shared_ptr<BatchNorm> norm;  // null: none, or folded
  bool prepared = false;
  // Prepared SAME padding with a stride: the kernel got a first row and column of zeros, see Fold().
  bool shifted = false;

  // The kernel and bias that do what convolution and norm in eval mode do.
  std::pair<at::Tensor, at::Tensor> Folded() const;
  at::Tensor Convolve(const at::Tensor& x, const at::Tensor& kernel, const at::Tensor& shift) const;
  at::Tensor ConvolveSame(const at::Tensor& x, const at::Tensor& kernel, const at::Tensor& shift) const;
  at::Tensor Run(const at::Tensor& x, const at::Tensor& kernel, const at::Tensor& shift,
                 const std::array<int64_t, 2>& padding) const;
  void Fold();
};

std::pair<at::Tensor, at::Tensor> Conv::Layers::Folded() const {
  const auto [scale, shift] = norm->Affine();
  return {weight * scale.view({-1, 1, 1, 1}), bias.defined() ? shift + bias * scale : shift};
}

// LibTorch's own choice avoids oneDNN for 1x1 convolutions of fewer than 16 images on one thread, which is right for
// NCHW and half as fast for channels-last.
at::Tensor Conv::Layers::Run(const at::Tensor& x, const at::Tensor& kernel, const at::Tensor& shift,
                             const std::array<int64_t, 2>& padding) const {
  const std::array<int64_t, 2> stride{options.stride, options.stride}, dilation{1, 1};
  if (prepared && x.is_cpu() && at::hasMKLDNN()) {
    return at::mkldnn_convolution(x, kernel, shift, padding, stride, dilation, options.groups);
  }
  if (!prepared && at::GradMode::is_enabled() && IsDepthwise(x, kernel, options.groups)) {
    return DepthwiseConv(x, kernel, shift, options.stride, padding);
  }
  return at::conv2d(x, kernel, shift, stride, padding, dilation, options.groups);
}

at::Tensor Conv::Layers::Convolve(const at::Tensor& x, const at::Tensor& kernel, const at::Tensor& shift) const {
  if (options.same_padding) return ConvolveSame(x, kernel, shift);
  std::array<int64_t, 2> padding = options.padding;
  for (size_t i = 0; i < 2; ++i) {
    if (padding[i] == kCentred) padding[i] = (options.kernel[i] - 1) / 2;
  }
  return Run(x, kernel, shift, padding);
}

at::Tensor Conv::Layers::ConvolveSame(const at::Tensor& x, const at::Tensor& whole_kernel,
                                      const at::Tensor& shift) const {
  const int64_t height = SamePadding(x.size(2), options.kernel[0], options.stride);
  const int64_t width = SamePadding(x.size(3), options.kernel[1], options.stride);
  const bool odd_height = height % 2 != 0, odd_width = width % 2 != 0;
  if (shifted && odd_height && odd_width) return Run(x, whole_kernel, shift, {height / 2 + 1, width / 2 + 1});
  at::Tensor kernel = whole_kernel;
  if (shifted) kernel = whole_kernel.slice(2, 1).slice(3, 1).contiguous(at::MemoryFormat::ChannelsLast);
  // An odd total has its extra row and column at the end.
  at::Tensor input = x;
  if (odd_height || odd_width) input = at::constant_pad_nd(x, {0, odd_width ? 1 : 0, 0, odd_height ? 1 : 0});
  return Run(input, kernel, shift, {height / 2, width / 2});
}

// SAME pads one row and column more at the end than at the beginning wherever a stride of 2 meets an even side. oneDNN
// through LibTorch pads both alike, and padding a large activation by hand costs more than the convolution. A kernel
// that has a row and a column of zeros before its own, with one more padding on each side, gives the same sums.
void Conv::Layers::Fold() {
  torch::NoGradGuard no_grad;
  if (norm != nullptr) {
    const auto [kernel, shift] = Folded();
    weight.set_data(kernel);
    bias = shift;
    norm = nullptr;
  }
  if (options.same_padding && options.stride == 2 && options.kernel[0] == options.kernel[1] &&
      options.kernel[0] % 2 == 1 && options.kernel[0] > 1) {
    weight.set_data(at::constant_pad_nd(weight, {1, 0, 1, 0}));
    shifted = true;
  }
  prepared = true;
}

Conv::Conv(Stage* owner, const std::string& conv_path, const ConvOptions& options)
    : Conv(owner, conv_path, "", options) {}

Conv::Conv(Stage* owner, const std::string& conv_path, const std::string& norm_path, const ConvOptions& options)
    : layers_(std::make_shared<Layers>()) {
  layers_->options = options;
  layers_->weight = owner->RegisterTensorAt(
      conv_path + ".weight",
      at::empty({options.out, options.in / options.groups, options.kernel[0], options.kernel[1]}));
  if (options.bias) layers_->bias = owner->RegisterTensorAt(conv_path + ".bias", at::zeros({options.out}));
  if (!norm_path.empty()) {
    layers_->norm = std::make_shared<BatchNorm>(options.out, options.epsilon, options.momentum);
    owner->RegisterAt(norm_path, layers_->norm);
  }
  owner->OnFold([layers = layers_] { layers->Fold(); });
}

at::Tensor Conv::operator()(const at::Tensor& x) const {
  const Layers& l = *layers_;
  at::Tensor y;
  if (l.norm == nullptr) {
    // A folded bias is no parameter of the stage and stays float32 when the stage is cast.
    y = l.Convolve(x, l.weight, l.bias.defined() ? l.bias.to(l.weight.scalar_type()) : l.bias);
  } else if (l.norm->is_training()) {
    y = l.norm->Forward(l.Convolve(x, l.weight, l.bias));
  } else {
    // Its statistics are constants: folding costs a pass over the kernel, forward and backward, and saves two over the
    // activations.
    const auto [kernel, shift] = l.Folded();
    y = l.Convolve(x, kernel, shift);
  }
  return Activate(y, l.options.activation);
}

Norm::Norm(Stage* owner, const std::string& path, int64_t channels, Activation activation, double epsilon)
    : norm_(std::make_shared<BatchNorm>(channels, epsilon, /*momentum=*/0.1)), activation_(activation) {
  owner->RegisterAt(path, norm_);
}

at::Tensor Norm::operator()(const at::Tensor& x) const { return Activate(norm_->Forward(x), activation_); }

struct Linear::Layer {
  at::Tensor weight, bias;  // [out, in], [out]
  bool prepared = false;
};

Linear::Linear(Stage* owner, const std::string& path, int64_t in, int64_t out)
    : Linear(owner, path + ".weight", path + ".bias", in, out) {}

Linear::Linear(Stage* owner, const std::string& weight_path, const std::string& bias_path, int64_t in, int64_t out)
    : layer_(std::make_shared<Layer>()) {
  layer_->weight = owner->RegisterTensorAt(weight_path, at::empty({out, in}));
  layer_->bias = owner->RegisterTensorAt(bias_path, at::zeros({out}));
  owner->OnFold([layer = layer_] { layer->prepared = true; });
}

at::Tensor Linear::operator()(const at::Tensor& x) const {
  return layer_->prepared ? PreparedLinear(x, layer_->weight, layer_->bias)
                          : at::linear(x, layer_->weight, layer_->bias);
}

void Linear::ScaleOutputs(const at::Tensor& factors) {
  torch::NoGradGuard no_grad;
  layer_->weight.set_data(layer_->weight * factors.view({-1, 1}));
  layer_->bias.set_data(layer_->bias * factors);
}

LayerNorm::LayerNorm(Stage* owner, const std::string& path, int64_t width, double epsilon)
    : weight_(owner->RegisterTensorAt(path + ".weight", at::ones({width}))),
      bias_(owner->RegisterTensorAt(path + ".bias", at::zeros({width}))),
      epsilon_(epsilon) {}

at::Tensor LayerNorm::operator()(const at::Tensor& x) const {
  return at::layer_norm(x, weight_.sizes(), weight_, bias_, epsilon_);
}

struct LayerScale::Factors {
  at::Tensor values;
  bool folded = false;
};

LayerScale::LayerScale(Stage* owner, const std::string& path, const at::Tensor& initial, const Linear& before)
    : factors_(std::make_shared<Factors>()) {
  factors_->values = owner->RegisterTensorAt(path, initial);
  owner->OnFold([factors = factors_, before = Linear(before)]() mutable {
    before.ScaleOutputs(factors->values.detach().flatten());
    factors->folded = true;
  });
}

at::Tensor LayerScale::operator()(const at::Tensor& x) const {
  return factors_->folded ? x : x * factors_->values.flatten();
}

namespace {

ConvOptions Pointwise(int64_t in, int64_t out, Activation activation) {
  ConvOptions options = ConvFor({}, in, out, activation);
  options.bias = true;
  return options;
}

class ConvNormOnly : public Stage {
 public:
  explicit ConvNormOnly(const ConvOptions& options) : layer_(this, "0", "1", options) {}
  at::Tensor Forward(const at::Tensor& x) override { return layer_(x); }

 private:
  Conv layer_;
};

class Pool : public Stage {
 public:
  at::Tensor Forward(const at::Tensor& x) override { return x.mean({2, 3}); }
};

class OneLinear : public Stage {
 public:
  OneLinear(const std::string& path, int64_t in, int64_t classes) : layer_(this, path, in, classes) {}
  at::Tensor Forward(const at::Tensor& x) override { return layer_(x); }

 private:
  Linear layer_;
};

class SequenceStage : public Stage {
 public:
  explicit SequenceStage(const std::vector<std::pair<std::string, StagePtr>>& parts) {
    for (const auto& [path, part] : parts) {
      RegisterAt(path, part);
      parts_.push_back(part);
    }
  }
  at::Tensor Forward(const at::Tensor& x) override {
    at::Tensor y = x;
    for (const StagePtr& part : parts_) y = part->Forward(y);
    return y;
  }

 private:
  std::vector<StagePtr> parts_;
};

}  // namespace

SqueezeExcitation::SqueezeExcitation(Stage* owner, const std::string& path, int64_t channels, int64_t squeezed,
                                     Activation inner, Gate gate)
    : fc1_(owner, path + ".fc1", Pointwise(channels, squeezed, inner)),
      fc2_(owner, path + ".fc2", Pointwise(squeezed, channels, Activation::kNone)),
      gate_(gate) {}

at::Tensor SqueezeExcitation::operator()(const at::Tensor& x) const {
  const at::Tensor y = fc2_(fc1_(x.mean({2, 3}, /*keepdim=*/true)));  // [n, c, 1, 1]
  const at::Tensor scale = gate_ == Gate::kSigmoid ? at::sigmoid(y) : at::hardsigmoid(y);
  return at::GradMode::is_enabled() ? x * scale : at::Tensor(x).mul_(scale);
}

at::Tensor Add(const at::Tensor& y, const at::Tensor& x) {
  return at::GradMode::is_enabled() ? y + x : at::Tensor(y).add_(x);
}

StagePtr Sequence(const std::vector<std::pair<std::string, StagePtr>>& parts) {
  return std::make_shared<SequenceStage>(parts);
}

StagePtr ConvNormStage(const ConvOptions& options) { return std::make_shared<ConvNormOnly>(options); }

StagePtr PoolStage() { return std::make_shared<Pool>(); }

void SetLinearClassifier(const std::string& layer, Architecture* architecture) {
  architecture->output_layer = layer;
  architecture->build_classifier = [layer, width = architecture->feature_width](int64_t classes) {
    return std::make_shared<OneLinear>(layer, width, classes);
  };
}

int64_t MakeDivisible(double value) {
  const int64_t rounded = std::max<int64_t>(8, static_cast<int64_t>(value + 4) / 8 * 8);
  return static_cast<double>(rounded) < 0.9 * value ? rounded + 8 : rounded;
}

std::vector<StageInfo> NumberedStages(const std::string& prefix, int count) {
  std::vector<StageInfo> stages;
  for (int i = 0; i < count; ++i) {
    const std::string name = absl::StrCat(prefix, ".", i);
    stages.push_back({name, name});
  }
  stages.push_back({"avgpool", "avgpool"});
  return stages;
}

}  // namespace graft

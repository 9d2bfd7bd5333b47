#include "worker/backbone/depthwise.h"

#include <torch/torch.h>

#include "worker/backbone/depthwise_backward.h"

namespace graft {
namespace {

class Depthwise : public torch::autograd::Function<Depthwise> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const c10::optional<at::Tensor>& bias, int64_t stride, int64_t pad_h, int64_t pad_w) {
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    context->save_for_backward({x, weight});
    context->saved_data["has_bias"] = bias.has_value();
    context->saved_data["stride"] = stride;
    context->saved_data["pad_h"] = pad_h;
    context->saved_data["pad_w"] = pad_w;
    const std::array<int64_t, 2> both{stride, stride}, padding{pad_h, pad_w}, dilation{1, 1};
    if (at::hasMKLDNN()) {
      return at::mkldnn_convolution(x, weight, bias, padding, both, dilation, x.size(1));
    }
    return at::conv2d(x, weight, bias, both, padding, dilation, x.size(1));
  }

  static torch::autograd::tensor_list backward(torch::autograd::AutogradContext* context,
                                               torch::autograd::tensor_list grads) {
    const auto saved = context->get_saved_variables();
    const at::Tensor x = saved[0].contiguous(at::MemoryFormat::ChannelsLast);
    const at::Tensor grad = grads[0].contiguous(at::MemoryFormat::ChannelsLast);
    const at::Tensor taps = saved[1].flatten(1).t().contiguous();  // [kh * kw, c]
    at::Tensor grad_x = at::zeros_like(x), grad_taps = at::zeros_like(taps);
    DepthwiseBackward work;
    work.n = x.size(0);
    work.c = x.size(1);
    work.in_h = x.size(2);
    work.in_w = x.size(3);
    work.out_h = grad.size(2);
    work.out_w = grad.size(3);
    work.kernel_h = saved[1].size(2);
    work.kernel_w = saved[1].size(3);
    work.stride = context->saved_data["stride"].toInt();
    work.pad_h = context->saved_data["pad_h"].toInt();
    work.pad_w = context->saved_data["pad_w"].toInt();
    work.grad_out = grad.data_ptr<float>();
    work.in = x.data_ptr<float>();
    work.weight = taps.data_ptr<float>();
    work.grad_in = grad_x.data_ptr<float>();
    work.grad_weight = grad_taps.data_ptr<float>();
    work.Run();
    at::Tensor grad_bias;
    if (context->saved_data["has_bias"].toBool()) grad_bias = grad.sum({0, 2, 3});
    return {grad_x, grad_taps.t().reshape(saved[1].sizes()), grad_bias, at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

bool IsDepthwise(const at::Tensor& x, const at::Tensor& weight, int64_t groups) {
  return groups > 1 && x.is_cpu() && x.scalar_type() == at::kFloat && weight.scalar_type() == at::kFloat &&
         groups == x.size(1) && weight.size(0) == groups && x.is_contiguous(at::MemoryFormat::ChannelsLast);
}

at::Tensor DepthwiseConv(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, int64_t stride,
                         const std::array<int64_t, 2>& padding) {
  const c10::optional<at::Tensor> maybe_bias = bias.defined() ? c10::optional<at::Tensor>(bias) : c10::nullopt;
  return Depthwise::apply(x, weight, maybe_bias, stride, padding[0], padding[1]);
}

}  // namespace graft

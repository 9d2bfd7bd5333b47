#include "worker/model/head.h"

#include <torch/torch.h>

#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "worker/backbone/stage.h"
#include "worker/base/status.h"

namespace graft {
namespace {

constexpr int kMaxHiddenWidth = 8192;
constexpr double kInitialScale = 10;  // Gidaris and Komodakis 2018, section 4
constexpr std::array<std::pair<HeadType, const char*>, 4> kTypes{{{HeadType::kLinear, "linear"},
                                                                  {HeadType::kMlp, "mlp"},
                                                                  {HeadType::kLinearSvm, "linear-svm"},
                                                                  {HeadType::kCosine, "cosine"}}};

}  // namespace

int64_t ParameterCount(const HeadOptions& options, int64_t feature_width, int64_t num_classes) {
  if (options.type == HeadType::kCosine) return feature_width * num_classes + 1;
  if (options.type != HeadType::kMlp) return (feature_width + 1) * num_classes;
  return (feature_width + 1) * options.hidden_width + (int64_t{options.hidden_width} + 1) * num_classes;
}

absl::string_view HeadTypeName(HeadType type) {
  for (const auto& [each, name] : kTypes) {
    if (each == type) return name;
  }
  GRAFT_CHECK(false);
  return "";
}

absl::StatusOr<HeadType> ParseHeadType(absl::string_view name) {
  for (const auto& [type, each] : kTypes) {
    if (name == each) return type;
  }
  const std::string names =
      absl::StrJoin(kTypes, ", ", [](std::string* out, const auto& each) { out->append(each.second); });
  return absl::InvalidArgumentError(absl::StrCat("head.type: got \"", name, "\", want one of ", names));
}

absl::Status HeadOptions::Validate() const {
  std::vector<std::string> lines;
  if (type == HeadType::kMlp ? hidden_width < 1 || hidden_width > kMaxHiddenWidth : hidden_width != 0) {
    lines.push_back(absl::StrCat("head.hidden_width: got ", hidden_width, ", want ",
                                 type == HeadType::kMlp ? absl::StrCat("1 to ", kMaxHiddenWidth)
                                                        : "it only with the mlp head"));
  }
  if (!(dropout >= 0 && dropout < 1)) {
    lines.push_back(absl::StrCat("head.dropout: got ", dropout, ", want 0 <= dropout < 1"));
  }
  return lines.empty() ? absl::OkStatus() : absl::InvalidArgumentError(absl::StrJoin(lines, "\n"));
}

bool HeadOptions::operator==(const HeadOptions& other) const {
  return type == other.type && hidden_width == other.hidden_width && standardize == other.standardize &&
         dropout == other.dropout;
}

class Head::Network : public Stage {
 public:
  Network(const HeadOptions& options, int64_t feature_width, int64_t num_classes)
      : cosine_(options.type == HeadType::kCosine) {
    if (options.standardize) {
      center_ = register_buffer("center", at::zeros({feature_width}));
      scale_in_ = register_buffer("scale_in", at::ones({feature_width}));
    }
    int64_t width = feature_width;
    if (options.type == HeadType::kMlp) {
      width = options.hidden_width;
      hidden_weight_ = RegisterTensorAt("hidden.weight", at::zeros({width, feature_width}));
      hidden_bias_ = RegisterTensorAt("hidden.bias", at::zeros({width}));
    }
    weight_ = RegisterTensorAt("weight", at::zeros({num_classes, width}));
    if (cosine_) {
      scale_ = RegisterTensorAt("scale", at::full({1}, kInitialScale));
    } else {
      bias_ = RegisterTensorAt("bias", at::zeros({num_classes}));
    }
  }

  at::Tensor Forward(const at::Tensor& features) override { return Forward(features, at::Tensor()); }
  at::Tensor Forward(const at::Tensor& features, const at::Tensor& mask) const {
    return Last(LastInputs(features, mask));
  }
  at::Tensor LastInputs(const at::Tensor& features, const at::Tensor& mask) const {
    at::Tensor x = center_.defined() ? (features - center_) * scale_in_ : features;
    if (hidden_weight_.defined()) x = at::relu(at::linear(x, hidden_weight_, hidden_bias_));  // [n, hidden_width]
    return mask.defined() ? x * mask.to(x.device()) : x;
  }
  at::Tensor Last(const at::Tensor& inputs) const {
    if (!cosine_) return at::linear(inputs, weight_, bias_);
    return scale_ * at::linear(Unit(inputs), Unit(weight_));
  }
  bool is_one_linear_layer() const { return !cosine_ && !hidden_weight_.defined(); }
  void AddGradients(const at::Tensor& inputs, const at::Tensor& logits_gradient) {
    GRAFT_CHECK(is_one_linear_layer());
    torch::NoGradGuard no_grad;
    const auto add = [](at::Tensor& parameter, const at::Tensor& computed) {
      const at::Tensor gradient = computed.to(parameter.scalar_type());  // under autocast it is of fewer bits
      at::Tensor& sum = parameter.mutable_grad();
      sum = sum.defined() ? sum + gradient : gradient;
    };
    add(weight_, at::mm(logits_gradient.t(), inputs));
    add(bias_, logits_gradient.sum(0));
  }
  int64_t last_width() const { return weight_.size(1); }
  void SetStatistics(const at::Tensor& mean, const at::Tensor& deviation) {
    GRAFT_CHECK(center_.defined());
    center_.copy_(mean);
    scale_in_.copy_(at::where(deviation > 0, 1 / deviation, at::ones_like(deviation)));
  }

 private:
  static at::Tensor Unit(const at::Tensor& rows) {
    return rows / rows.norm(2, at::IntArrayRef{1}, /*keepdim=*/true).clamp_min(1e-12);  // torch.nn.functional.normalize
  }

  const bool cosine_;
  at::Tensor center_, scale_in_, hidden_weight_, hidden_bias_, weight_, bias_, scale_;
};

Head::Head(const HeadOptions& options, int64_t feature_width, int64_t num_classes)
    : network_(std::make_shared<Network>(options, feature_width, num_classes)), stage_(network_) {}

Head::~Head() = default;

void Head::Initialise(uint64_t seed) {
  torch::NoGradGuard no_grad;
  at::Generator generator = at::detail::createCPUGenerator(seed);
  auto parameters = network_->named_parameters();
  // Drawn on the CPU: alike on every device.
  const auto fill = [&](const std::string& layer, int64_t inputs) {
    const double bound = 1 / std::sqrt(static_cast<double>(inputs));
    for (const char* const name : {"weight", "bias"}) {
      at::Tensor* parameter = parameters.find(layer + name);
      if (parameter == nullptr) continue;
      parameter->copy_(at::empty(parameter->sizes(), at::kFloat).uniform_(-bound, bound, generator));
    }
  };
  if (const at::Tensor* hidden = parameters.find("hidden.weight")) fill("hidden.", hidden->size(1));
  fill("", last_width());
}

void Head::SetStatistics(const at::Tensor& mean, const at::Tensor& deviation) {
  torch::NoGradGuard no_grad;
  network_->SetStatistics(mean, deviation);
}

at::Tensor Head::Forward(const at::Tensor& features, const at::Tensor& mask) const {
  return network_->Forward(features, mask);
}

int64_t Head::last_width() const { return network_->last_width(); }

at::Tensor Head::LastInputs(const at::Tensor& features, const at::Tensor& mask) const {
  return network_->LastInputs(features, mask);
}

at::Tensor Head::Last(const at::Tensor& inputs) const { return network_->Last(inputs); }

bool Head::is_one_linear_layer() const { return network_->is_one_linear_layer(); }

void Head::AddGradients(const at::Tensor& inputs, const at::Tensor& logits_gradient) {
  network_->AddGradients(inputs, logits_gradient);
}

at::Tensor DropoutMask(double dropout, int64_t n, int64_t width, uint64_t key) {
  if (dropout == 0) return at::Tensor();
  const at::Tensor mask = at::empty({n, width}, at::kFloat);
  mask.bernoulli_(1 - dropout, at::detail::createCPUGenerator(key));
  return mask.div_(1 - dropout);
}

}  // namespace graft

#include <torch/torch.h>

#include <cmath>
#include <optional>

#include "absl/strings/str_cat.h"
#include "worker/backbone/blocks.h"
#include "worker/backbone/families.h"
#include "worker/backbone/tensor_names.h"

namespace graft {
namespace {

constexpr double kEpsilon = 1e-6;
constexpr int64_t kHeadWidth = 64;
constexpr int kLayers = 12;
constexpr double kDinoLayerScale = 1e-5;  // at the start of training

struct Variant {
  const char* name;
  const char* paper;
  int64_t patch_px, width, position_tokens;
  bool dino;  // as DINOv2 has it: layer scale, register tokens, its own way to resize positions
  int64_t parameter_count;
  double gflops;
};

constexpr char kPaper[] = "Dosovitskiy et al. 2020, An Image is Worth 16x16 Words (arXiv:2010.11929)";
constexpr char kDinoPaper[] = "Oquab et al. 2023, DINOv2: Learning Robust Visual Features (arXiv:2304.07193)";
// Touvron et al. 2020 (arXiv:2012.12877), table 1, for the small ones.
constexpr Variant kVariants[] = {{"vit_b_16", kPaper, 16, 768, 197, false, 86'567'656, 17.564},
                                 {"vit_s_16", kPaper, 16, 384, 197, false, 22'050'664, 4.602},
                                 {"vit_s_14", kDinoPaper, 14, 384, 1370, true, 22'056'192, 6.107}};

// The side of the square grid that `tokens` positions are, with or without one for the class token.
std::optional<int64_t> GridSide(int64_t tokens) {
  const auto side = static_cast<int64_t>(std::sqrt(static_cast<double>(tokens)));
  if (side >= 1 && (side * side == tokens || side * side + 1 == tokens)) return side;
  return std::nullopt;
}

// Picture to tokens [n, 1 + registers + patches, width]: a class token first, positions added.
class Patches : public Stage {
 public:
  Patches(const Variant& variant, const BuildOptions& build)
      : dino_(variant.dino),
        grid_(GridSide(build.position_tokens > 0 ? build.position_tokens : variant.position_tokens).value()),
        conv_(this, "conv_proj", Options(variant)) {
    const int64_t tokens = build.position_tokens > 0 ? build.position_tokens : variant.position_tokens;
    class_has_position_ = tokens == grid_ * grid_ + 1;
    class_token_ = RegisterTensorAt("class_token", at::zeros({1, 1, variant.width}));
    positions_ = RegisterTensorAt("encoder.pos_embedding", at::empty({1, tokens, variant.width}));
    if (build.register_tokens > 0) {
      registers_ = RegisterTensorAt("register_tokens", at::zeros({1, build.register_tokens, variant.width}));
    }
  }

  at::Tensor Forward(const at::Tensor& x) override {
    const at::Tensor y = conv_(x);  // [n, width, h, w]
    const int64_t n = y.size(0), width = y.size(1);
    at::Tensor patches = y.permute({0, 2, 3, 1}).reshape({n, -1, width});
    patches = patches + GridPositions(y.size(2), y.size(3));
    at::Tensor class_token = class_token_;
    if (class_has_position_) class_token = class_token + positions_.narrow(1, 0, 1);
    std::vector<at::Tensor> tokens{class_token.expand({n, -1, -1})};
    if (registers_.defined()) tokens.push_back(registers_.expand({n, -1, -1}));
    tokens.push_back(patches);
    return at::cat(tokens, 1);
  }

 private:
  static ConvOptions Options(const Variant& variant) {
    ConvOptions options = ConvFor({}, 3, variant.width, Activation::kNone);
    options.kernel = {variant.patch_px, variant.patch_px};
    options.stride = variant.patch_px;
    options.padding = {0, 0};
    options.bias = true;
    return options;
  }

  // Positions of a grid of patches, [1, height * width, width]: those learned, resized where the input is another.
  // Source: torchvision 0.14 interpolate_embeddings; dinov2/models/vision_transformer.py interpolate_pos_encoding.
  at::Tensor GridPositions(int64_t height, int64_t width) const {
    at::Tensor grid = positions_.narrow(1, class_has_position_ ? 1 : 0, grid_ * grid_);
    if (height == grid_ && width == grid_) return grid;
    grid = grid.reshape({1, grid_, grid_, -1}).permute({0, 3, 1, 2});  // [1, c, g, g]
    const std::array<int64_t, 2> size{height, width};
    if (!dino_) {
      grid = at::upsample_bicubic2d(grid, size, /*align_corners=*/true);
    } else if (registers_.defined()) {
      grid = at::_upsample_bicubic2d_aa(grid, size, /*align_corners=*/false);
    } else {
      const auto side = static_cast<double>(grid_);
      grid = at::upsample_bicubic2d(grid, size, /*align_corners=*/false, (static_cast<double>(height) + 0.1) / side,
                                    (static_cast<double>(width) + 0.1) / side);
    }
    return grid.permute({0, 2, 3, 1}).reshape({1, height * width, -1});
  }

  const bool dino_;
  const int64_t grid_;
  bool class_has_position_ = true;
  Conv conv_;
  at::Tensor class_token_, positions_, registers_;
};

// Source: Vaswani et al. 2017 (arXiv:1706.03762), section 3.2; names of torch.nn.MultiheadAttention.
class Attention {
 public:
  Attention(Stage* owner, const std::string& path, int64_t width)
      : heads_(width / kHeadWidth),
        qkv_(owner, path + ".in_proj_weight", path + ".in_proj_bias", width, 3 * width),
        project_(owner, path + ".out_proj", width, width) {}

  const Linear& projection() const { return project_; }

  at::Tensor operator()(const at::Tensor& x) const {
    const int64_t n = x.size(0), tokens = x.size(1), width = x.size(2);
    const at::Tensor qkv = qkv_(x).reshape({n, tokens, 3, heads_, kHeadWidth});
    const at::Tensor parts = qkv.permute({2, 0, 3, 1, 4});  // [3, n, heads, tokens, kHeadWidth]
    const double scale = 1 / std::sqrt(static_cast<double>(kHeadWidth));
    const at::Tensor weights = at::softmax(at::matmul(parts[0] * scale, parts[1].transpose(-2, -1)), -1);
    return project_(at::matmul(weights, parts[2]).transpose(1, 2).reshape({n, tokens, width}));
  }

 private:
  const int64_t heads_;
  Linear qkv_, project_;
};

class EncoderLayer : public Stage {
 public:
  explicit EncoderLayer(const Variant& variant)
      : norm1_(this, "ln_1", variant.width, kEpsilon),
        attention_(this, "self_attention", variant.width),
        norm2_(this, "ln_2", variant.width, kEpsilon),
        expand_(this, "mlp.0", variant.width, 4 * variant.width),
        project_(this, "mlp.3", 4 * variant.width, variant.width) {
    if (!variant.dino) return;
    const at::Tensor scale = at::full({variant.width}, kDinoLayerScale);
    scale1_.emplace(this, "layer_scale_1", scale.clone(), attention_.projection());
    scale2_.emplace(this, "layer_scale_2", scale.clone(), project_);
  }

  at::Tensor Forward(const at::Tensor& x) override {
    at::Tensor y = attention_(norm1_(x));
    y = Add(scale1_ ? (*scale1_)(y) : y, x);
    const at::Tensor z = project_(Activate(expand_(norm2_(y)), Activation::kGelu));
    return Add(scale2_ ? (*scale2_)(z) : z, y);
  }

 private:
  LayerNorm norm1_;
  Attention attention_;
  LayerNorm norm2_;
  Linear expand_, project_;
  std::optional<LayerScale> scale1_, scale2_;
};

// The class token, normalised: [n, width].
class ClassToken : public Stage {
 public:
  explicit ClassToken(int64_t width) : norm_(this, "ln", width, kEpsilon) {}
  at::Tensor Forward(const at::Tensor& x) override { return norm_(x.select(1, 0)); }

 private:
  LayerNorm norm_;
};

std::vector<StagePtr> Build(const Variant& variant, const BuildOptions& build) {
  std::vector<StagePtr> stages{std::make_shared<Patches>(variant, build)};
  for (int i = 0; i < kLayers; ++i) stages.push_back(std::make_shared<EncoderLayer>(variant));
  stages.push_back(std::make_shared<ClassToken>(variant.width));
  return stages;
}

// timm's and DINOv2's names, and those that torchvision's MLP had in its first files.
std::map<std::string, std::string> OtherNames() {
  std::map<std::string, std::string> names{{"cls_token", "class_token"},      {"pos_embed", "encoder.pos_embedding"},
                                           {"reg_token", "register_tokens"},  {"patch_embed.proj", "conv_proj"},
                                           {"norm", "encoder.ln"},            {"head", "heads.head"}};
  const std::pair<const char*, const char*> parts[] = {
      {"norm1", "ln_1"}, {"norm2", "ln_2"}, {"mlp.fc1", "mlp.0"}, {"mlp.fc2", "mlp.3"},
      {"attn.qkv.weight", "self_attention.in_proj_weight"}, {"attn.qkv.bias", "self_attention.in_proj_bias"},
      {"attn.proj", "self_attention.out_proj"}, {"ls1.gamma", "layer_scale_1"}, {"ls2.gamma", "layer_scale_2"}};
  for (int i = 0; i < kLayers; ++i) {
    const std::string ours = absl::StrCat("encoder.layers.encoder_layer_", i, ".");
    for (const auto& [theirs, own] : parts) names.emplace(absl::StrCat("blocks.", i, ".", theirs), ours + own);
    names.emplace(ours + "mlp.linear_1", ours + "mlp.0");
    names.emplace(ours + "mlp.linear_2", ours + "mlp.3");
  }
  return names;
}

// Only shapes [1, rows, width] count: their rows are in the file, so that no number alone asks for memory.
void Inspect(const TensorNames& tensors, int64_t width, BuildOptions* build) {
  const auto rows = [&](const char* name) -> int64_t {
    const auto it = tensors.by_name.find(name);
    if (it == tensors.by_name.end() || it->second.tensor.dim() != 3) return 0;
    const at::Tensor& tensor = it->second.tensor;
    return tensor.size(0) == 1 && tensor.size(2) == width ? tensor.size(1) : 0;
  };
  const int64_t positions = rows("encoder.pos_embedding");
  if (GridSide(positions)) build->position_tokens = positions;
  build->register_tokens = rows("register_tokens");
}

std::vector<StageInfo> Stages(const Variant& variant) {
  std::vector<StageInfo> stages{{variant.dino ? "patch_embed" : "conv_proj", ""}};
  for (int i = 0; i < kLayers; ++i) {
    const std::string layer = absl::StrCat("encoder_layer_", i);
    stages.push_back({variant.dino ? absl::StrCat("block_", i) : layer, "encoder.layers." + layer});
  }
  stages.push_back({variant.dino ? "norm" : "ln", "encoder"});
  return stages;
}

Architecture Make(const Variant& variant) {
  Architecture a;
  a.name = variant.name;
  a.paper = variant.paper;
  a.stages = Stages(variant);
  a.norm_epsilon = 0;
  a.feature_width = variant.width;
  a.parameter_count = variant.parameter_count;
  a.gflops = variant.gflops;
  a.input.min_px = static_cast<int>(2 * variant.patch_px);
  a.input.multiple_px = static_cast<int>(variant.patch_px);
  a.input.max_px = static_cast<int>(kMaxInputPx / variant.patch_px * variant.patch_px);
  a.build_stages = [&variant](const BuildOptions& build) { return Build(variant, build); };
  if (variant.dino) {
    a.preprocessing.interpolation = Interpolation::kBicubic;  // dinov2/data/transforms.py
    a.ignored = {"mask_token"};
  } else {
    SetLinearClassifier("heads.head", &a);
  }
  a.aliases = OtherNames();
  if (variant.dino) a.aliases.erase("head");
  a.inspect = [width = variant.width](const TensorNames& tensors, BuildOptions* build) {
    Inspect(tensors, width, build);
  };
  return a;
}

}  // namespace

std::vector<Architecture> VisionTransformer() {
  std::vector<Architecture> all = MakeEach(kVariants, Make);
  Architecture& small = all[1];
  small.preprocessing.resize_px = 248;  // timm vit_small_patch16_224.augreg_in21k_ft_in1k: crop ratio 0.9
  small.preprocessing.mean = small.preprocessing.std = {0.5f, 0.5f, 0.5f};
  small.preprocessing.interpolation = Interpolation::kBicubic;
  return all;
}

}  // namespace graft

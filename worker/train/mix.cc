#include "worker/train/mix.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "worker/base/random.h"
#include "worker/base/status.h"

namespace graft {
namespace {

constexpr uint64_t kStream = 0x6d6978;  // "mix": keeps these numbers apart from other users of the same seed
constexpr double kPi = 3.14159265358979323846;

// Symmetric beta variate, any alpha > 0: t / sqrt(2 alpha + t^2) of a Student t with 2 alpha degrees of freedom, moved
// to [0, 1] (Devroye 1996, "Random variate generation in one line of code"), the t by Bailey 1994, "Polar generation of
// random variates with the t-distribution". Two uniforms, no rejection, no 0/0 for a small alpha as from two gammas.
double SymmetricBeta(double alpha, CounterRandom* random) {
  const double u = 1 - random->Uniform();  // (0, 1]
  const double v = random->Uniform();
  const double t = std::sqrt(std::expm1(-std::log(u) / alpha)) * std::cos(2 * kPi * v);  // over sqrt(2 alpha)
  return 0.5 + 0.5 * std::sin(std::atan(t));  // sin(atan(t)) is t / sqrt(1 + t^2) also where t is infinite
}

struct Range {
  int64_t begin = 0, end = 0;
};

// The pixels whose centre is within side / 2 of `centre`, both in fractions of `size` pixels.
Range Pixels(double centre, double side, int64_t size) {
  const auto pixel = [size](double edge) {
    return static_cast<int64_t>(std::lround(std::clamp(edge, 0.0, 1.0) * static_cast<double>(size)));
  };
  return {pixel(centre - side / 2), pixel(centre + side / 2)};
}

// CutMix's box (paper, section 3.1): of the map's shape and of area 1 - lambda, its centre anywhere, what sticks out
// cut off; then in whole pixels, each of which is in or out by its centre, and lambda corrected to them.
void DrawBox(int64_t height, int64_t width, CounterRandom* random, Mix* mix) {
  const double side = std::sqrt(1 - mix->lambda);
  const Range rows = Pixels(random->Uniform(), side, height);
  const Range columns = Pixels(random->Uniform(), side, width);
  const auto h = static_cast<double>(height), w = static_cast<double>(width);
  mix->cut = true;
  mix->top = static_cast<double>(rows.begin) / h;
  mix->left = static_cast<double>(columns.begin) / w;
  mix->height = static_cast<double>(rows.end - rows.begin) / h;
  mix->width = static_cast<double>(columns.end - columns.begin) / w;
  mix->lambda = 1 - static_cast<double>((rows.end - rows.begin) * (columns.end - columns.begin)) / (h * w);
}

at::Tensor Blend(const at::Tensor& own, const at::Tensor& partners, double lambda) {
  // Not at::lerp nor add's alpha: their rounding may depend on a value's place in the tensor, so on the shards.
  return own * lambda + partners * (1 - lambda);
}

int64_t ToPixels(double fraction, int64_t size) {
  return static_cast<int64_t>(std::lround(fraction * static_cast<double>(size)));
}

at::Tensor Box(const at::Tensor& maps, const Mix& mix) {
  const int64_t h = maps.size(2), w = maps.size(3);
  return maps.narrow(2, ToPixels(mix.top, h), ToPixels(mix.height, h))
      .narrow(3, ToPixels(mix.left, w), ToPixels(mix.width, w));
}

}  // namespace

absl::Status MixOptions::Validate() const {
  std::vector<std::string> violations;
  const auto check = [&](const char* field, double got) {
    if (std::isfinite(got) && got >= 0) return;
    violations.push_back(absl::StrCat(field, ": got ", got, ", want >= 0 and finite"));
  };
  check("mixup_alpha", mixup_alpha);
  check("cutmix_alpha", cutmix_alpha);
  return violations.empty() ? absl::OkStatus() : absl::InvalidArgumentError(absl::StrJoin(violations, "\n"));
}

Mix DrawMix(const MixOptions& options, int64_t batch, int64_t height, int64_t width, uint64_t seed, uint64_t phase,
            uint64_t epoch, uint64_t step) {
  const bool mixup = options.mixup_alpha > 0;
  const bool cutmix = options.cutmix_alpha > 0 && height * width > 1;
  Mix mix;
  if (batch < 2 || (!mixup && !cutmix)) return mix;
  CounterRandom random{kStream, seed, phase, epoch, step};
  const bool cut = cutmix && (!mixup || random.Uniform() < 0.5);
  mix.lambda = SymmetricBeta(cut ? options.cutmix_alpha : options.mixup_alpha, &random);
  if (cut) DrawBox(height, width, &random, &mix);
  mix.mixes = mix.lambda < 1;
  if (!mix.mixes) return mix;
  // The row before, as torchvision's batch.roll(1): the order of the pictures is random already, and no row is its own
  // partner.
  for (int64_t row = 0; row < batch; ++row) mix.partner.push_back((row + batch - 1) % batch);
  return mix;
}

at::Tensor MixActivations(const at::Tensor& own, const at::Tensor& partners, const Mix& mix) {
  GRAFT_CHECK(own.sizes() == partners.sizes());
  if (!mix.mixes) return own;
  if (!mix.cut) return Blend(own, partners, mix.lambda);
  GRAFT_CHECK(own.dim() == 4);
  at::Tensor mixed = own.clone();
  Box(mixed, mix).copy_(Box(partners, mix));
  return mixed;
}

at::Tensor MixTargets(const at::Tensor& own, const at::Tensor& partners, const Mix& mix) {
  GRAFT_CHECK(own.sizes() == partners.sizes());
  return mix.mixes ? Blend(own, partners, mix.lambda) : own;
}

}  // namespace graft

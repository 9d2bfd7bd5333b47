#include "worker/image/augment.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <utility>

#include "worker/image/augment_draws.h"
#include "worker/image/auto_augment.h"
#include "worker/image/color.h"
#include "worker/image/random.h"
#include "worker/image/resize.h"
#include "worker/image/warp.h"

namespace graft {
namespace {

// The streams of random numbers. A number that was once given out keeps its step.
enum Step : uint64_t { kCrop, kFlip, kAffine, kAutoAugment, kJitter, kGrey, kErase };

Image Cut(const Image& image, const PixelRect& rect) {
  Image out;
  out.width_px = rect.width_px;
  out.height_px = rect.height_px;
  const size_t row_bytes = size_t{3} * static_cast<size_t>(rect.width_px);
  out.rgb.reserve(row_bytes * static_cast<size_t>(rect.height_px));
  for (int y = rect.top_px; y < rect.top_px + rect.height_px; ++y) {
    const uint8_t* row = image.rgb.data() + 3 * (ptrdiff_t{y} * image.width_px + rect.left_px);
    out.rgb.insert(out.rgb.end(), row, row + row_bytes);
  }
  return out;
}

// What lies outside the part must not reach the filter, so it is cut out before it is resized.
Image RandomCrop(const Image& image, const AugmentSpec& spec, const PreprocessSpec& preprocessing, uint64_t seed) {
  if (!spec.crops()) {
    return ResizeAndCrop(image, EvalWindow(image.width_px, image.height_px, preprocessing),
                         preprocessing.interpolation);
  }
  Random random(seed, kCrop);
  const PixelRect part = DrawCrop(image.width_px, image.height_px, spec, &random);
  const int side = preprocessing.crop_px;
  return ResizeAndCrop(Cut(image, part), {side, side, 0, 0, side, side}, preprocessing.interpolation);
}

void FlipHorizontally(Image* image) {
  const size_t width = static_cast<size_t>(image->width_px);
  for (size_t row = 0; row < static_cast<size_t>(image->height_px); ++row) {
    uint8_t* left = image->rgb.data() + 3 * row * width;
    uint8_t* right = left + 3 * (width - 1);
    for (; left < right; left += 3, right -= 3) std::swap_ranges(left, left + 3, right);
  }
}

void FlipVertically(Image* image) {
  const size_t row_bytes = size_t{3} * static_cast<size_t>(image->width_px);
  if (image->height_px < 2) return;
  uint8_t* top = image->rgb.data();
  uint8_t* bottom = top + row_bytes * static_cast<size_t>(image->height_px - 1);
  for (; top < bottom; top += row_bytes, bottom -= row_bytes) std::swap_ranges(top, top + row_bytes, bottom);
}

void RandomFlips(const AugmentSpec& spec, uint64_t seed, Image* view) {
  Random random(seed, kFlip);
  const bool horizontally = random.Chance(spec.horizontal_flip), vertically = random.Chance(spec.vertical_flip);
  if (horizontally) FlipHorizontally(view);
  if (vertically) FlipVertically(view);
}

void RandomAffine(const AugmentSpec& spec, uint64_t seed, Image* view) {
  if (spec.rotation_degrees == 0 && spec.shift == 0 && spec.shear_degrees == 0 && spec.zoom == 0) return;
  Random random(seed, kAffine);
  *view = WarpAffine(*view, DrawAffine(view->width_px, view->height_px, spec, &random), Border::kEdge);
}

void RandomAutoAugment(const AugmentSpec& spec, uint64_t seed, Image* view) {
  Random random(seed, kAutoAugment);
  if (spec.trivial_augment) TrivialAugmentWide(&random, view);
  RandAugment(spec.rand_augment_ops, spec.rand_augment_magnitude, &random, view);
}

// torchvision's ColorJitter: all four in random order.
void RandomJitter(const AugmentSpec& spec, uint64_t seed, Image* view) {
  Random random(seed, kJitter);
  const double brightness = random.Uniform(1 - spec.brightness, 1 + spec.brightness);
  const double contrast = random.Uniform(1 - spec.contrast, 1 + spec.contrast);
  const double saturation = random.Uniform(1 - spec.saturation, 1 + spec.saturation);
  const double hue = random.Uniform(-spec.hue, spec.hue);
  std::array<int, 4> order{0, 1, 2, 3};
  for (size_t i = 3; i > 0; --i) {  // Fisher, Yates
    std::swap(order[i], order[static_cast<size_t>(random.Below(static_cast<int>(i) + 1))]);
  }
  for (const int step : order) {
    if (step == 0 && spec.brightness > 0) AdjustBrightness(brightness, view);
    if (step == 1 && spec.contrast > 0) AdjustContrast(contrast, view);
    if (step == 2 && spec.saturation > 0) AdjustSaturation(saturation, view);
    if (step == 3 && spec.hue > 0) AdjustHue(hue, view);
  }
}

void RandomGrey(const AugmentSpec& spec, uint64_t seed, Image* view) {
  if (Random(seed, kGrey).Chance(spec.grey)) MakeGrey(view);
}

// After normalising the mean is 0.
void RandomErase(const AugmentSpec& spec, uint64_t seed, int side, float* out) {
  Random random(seed, kErase);
  if (!random.Chance(spec.erase)) return;
  const PixelRect erased = DrawErased(side, side, &random);
  for (int y = erased.top_px; y < erased.top_px + erased.height_px; ++y) {
    std::fill_n(out + 3 * (ptrdiff_t{y} * side + erased.left_px), ptrdiff_t{3} * erased.width_px, 0.0f);
  }
}

uint64_t Fnv1a(absl::string_view bytes) {  // http://www.isthe.com/chongo/tech/comp/fnv, 64 bits
  uint64_t hash = 0xCBF29CE484222325u;
  for (const char byte : bytes) hash = (hash ^ static_cast<uint8_t>(byte)) * 0x100000001B3u;
  return hash;
}

}  // namespace

void Augment(const Image& image, const AugmentSpec& spec, const PreprocessSpec& preprocessing, uint64_t seed,
             float* out) {
  Image view = RandomCrop(image, spec, preprocessing, seed);
  RandomFlips(spec, seed, &view);
  RandomAffine(spec, seed, &view);
  RandomAutoAugment(spec, seed, &view);
  RandomJitter(spec, seed, &view);
  RandomGrey(spec, seed, &view);
  PreprocessSpec normalize_only = preprocessing;
  normalize_only.resize_px = preprocessing.crop_px;
  Preprocess(view, normalize_only, out);
  RandomErase(spec, seed, preprocessing.crop_px, out);
}

uint64_t ViewSeed(uint64_t seed, absl::string_view id, int64_t view) {
  return SplitMix64(SplitMix64(SplitMix64(seed) ^ Fnv1a(id)) + static_cast<uint64_t>(view));
}

}  // namespace graft

#include "worker/image/color.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace graft {
namespace {

using Table = std::array<uint8_t, 256>;
using Histogram = std::array<int64_t, 256>;

// Grey of one pixel: Pillow's L24(), ITU-R 601 with 16 bits after the point.
uint8_t Luma(const uint8_t* rgb) {
  return static_cast<uint8_t>((rgb[0] * 19595u + rgb[1] * 38470u + rgb[2] * 7471u + 0x8000u) >> 16);
}

// Pillow's ImagingBlend: in float, cut off, not rounded. Factors over 1 leave the range of a byte.
uint8_t Blend(uint8_t degenerate, uint8_t value, float factor) {
  const float blended = static_cast<float>(degenerate) + factor * static_cast<float>(value - degenerate);
  return static_cast<uint8_t>(std::min(std::max(blended, 0.0f), 255.0f));
}

void MapAll(const Table& table, Image* image) {
  for (uint8_t& value : image->rgb) value = table[value];
}

void MapChannels(const std::array<Table, 3>& tables, Image* image) {
  uint8_t* end = image->rgb.data() + image->rgb.size();
  for (uint8_t* at = image->rgb.data(); at != end; at += 3) {
    for (size_t c = 0; c < 3; ++c) at[c] = tables[c][at[c]];
  }
}

// Blends every value with the same one.
Table BlendTable(uint8_t degenerate, double factor) {
  Table table;
  for (size_t v = 0; v < 256; ++v) table[v] = Blend(degenerate, static_cast<uint8_t>(v), static_cast<float>(factor));
  return table;
}

std::array<Histogram, 3> Histograms(const Image& image) {
  std::array<Histogram, 3> counts{};
  for (size_t i = 0; i < image.rgb.size(); i += 3) {
    for (size_t c = 0; c < 3; ++c) ++counts[c][image.rgb[i + c]];
  }
  return counts;
}

Table Identity() {
  Table table;
  for (size_t v = 0; v < 256; ++v) table[v] = static_cast<uint8_t>(v);
  return table;
}

Table AutoContrastTable(const Histogram& counts) {
  int low = 0, high = 255;
  while (low < 255 && counts[static_cast<size_t>(low)] == 0) ++low;
  while (high > 0 && counts[static_cast<size_t>(high)] == 0) --high;
  if (high <= low) return Identity();
  const double scale = 255.0 / (high - low);
  const double offset = -low * scale;
  Table table;
  for (int v = 0; v < 256; ++v) {
    table[static_cast<size_t>(v)] = static_cast<uint8_t>(std::clamp(v * scale + offset, 0.0, 255.0));
  }
  return table;
}

Table EqualizeTable(const Histogram& counts) {
  int64_t total = 0, last = 0, used = 0;
  for (const int64_t count : counts) {
    if (count == 0) continue;
    total += count;
    last = count;
    ++used;
  }
  const int64_t step = (total - last) / 255;
  if (used <= 1 || step == 0) return Identity();
  Table table;
  int64_t sum = step / 2;
  for (size_t v = 0; v < 256; ++v) {
    table[v] = static_cast<uint8_t>(std::min<int64_t>(sum / step, 255));
    sum += counts[v];
  }
  return table;
}

// Pillow's rgb2hsv(), with its mixture of float and double: it decides which way a byte is cut off.
void RgbToHsv(const uint8_t* rgb, uint8_t* hsv) {
  const uint8_t r = rgb[0], g = rgb[1], b = rgb[2];
  const uint8_t high = std::max(r, std::max(g, b)), low = std::min(r, std::min(g, b));
  hsv[0] = hsv[1] = 0;
  hsv[2] = high;
  if (high == low) return;
  const float range = static_cast<float>(high - low);
  const float saturation = range / static_cast<float>(high);
  const float from_r = static_cast<float>(high - r) / range;
  const float from_g = static_cast<float>(high - g) / range;
  const float from_b = static_cast<float>(high - b) / range;
  float sector;  // -1 to 5
  if (r == high) {
    sector = from_b - from_g;
  } else if (g == high) {
    sector = static_cast<float>(2.0 + from_r - from_b);
  } else {
    sector = static_cast<float>(4.0 + from_g - from_r);
  }
  const double turned = sector / 6.0 + 1.0;
  const float hue = static_cast<float>(turned >= 1.0 ? turned - 1.0 : turned);
  hsv[0] = static_cast<uint8_t>(std::min(static_cast<int>(hue * 255.0), 255));
  hsv[1] = static_cast<uint8_t>(std::min(static_cast<int>(saturation * 255.0), 255));
}

// Pillow's hsv2rgb().
void HsvToRgb(const uint8_t* hsv, uint8_t* rgb) {
  const uint8_t value = hsv[2];
  if (hsv[1] == 0) {
    rgb[0] = rgb[1] = rgb[2] = value;
    return;
  }
  const double sextant = hsv[0] * 6.0 / 255.0;
  const int sector = static_cast<int>(sextant);  // 0 to 6
  const float rest = static_cast<float>(sextant - sector);
  const float saturation = static_cast<float>(hsv[1] / 255.0);
  const auto shade = [value](double part) { return static_cast<uint8_t>(value * part + 0.5); };
  const uint8_t p = shade(1.0 - saturation);
  const uint8_t q = shade(1.0 - saturation * rest);
  const uint8_t t = shade(1.0 - saturation * (1.0 - rest));
  const std::array<std::array<uint8_t, 3>, 6> colors{
      {{value, t, p}, {q, value, p}, {p, value, t}, {p, q, value}, {t, p, value}, {value, p, q}}};
  std::copy_n(colors[static_cast<size_t>(sector % 6)].data(), 3, rgb);
}

}  // namespace

void AdjustBrightness(double factor, Image* image) { MapAll(BlendTable(0, factor), image); }

void AdjustContrast(double factor, Image* image) {
  uint64_t sum = 0;
  const size_t pixels = image->rgb.size() / 3;
  for (size_t i = 0; i < pixels; ++i) sum += Luma(image->rgb.data() + 3 * i);
  const double mean = static_cast<double>(sum) / static_cast<double>(pixels);
  MapAll(BlendTable(static_cast<uint8_t>(mean + 0.5), factor), image);
}

void AdjustSaturation(double factor, Image* image) {
  const float blend = static_cast<float>(factor);
  uint8_t* end = image->rgb.data() + image->rgb.size();
  for (uint8_t* at = image->rgb.data(); at != end; at += 3) {
    const uint8_t grey = Luma(at);
    for (size_t c = 0; c < 3; ++c) at[c] = Blend(grey, at[c], blend);
  }
}

void AdjustSharpness(double factor, Image* image) {
  const float blend = static_cast<float>(factor);
  const std::vector<uint8_t> source = image->rgb;
  const ptrdiff_t row = ptrdiff_t{3} * image->width_px;
  for (ptrdiff_t y = 1; y + 1 < image->height_px; ++y) {
    const uint8_t* above = source.data() + (y - 1) * row;
    const uint8_t* here = above + row;
    const uint8_t* below = here + row;
    uint8_t* out = image->rgb.data() + y * row;
    for (ptrdiff_t i = 3; i + 3 < row; ++i) {
      // ImageFilter.SMOOTH: ones around a 5, over 13, rounded.
      const int sum = above[i - 3] + above[i] + above[i + 3] + here[i - 3] + 5 * here[i] + here[i + 3] + below[i - 3] +
                      below[i] + below[i + 3];
      out[i] = Blend(static_cast<uint8_t>((2 * sum + 13) / 26), here[i], blend);
    }
  }
}

void AdjustHue(double shift, Image* image) {
  const uint8_t turn = static_cast<uint8_t>(static_cast<int>(shift * 255));  // modulo 256, as numpy's uint8
  uint8_t* end = image->rgb.data() + image->rgb.size();
  for (uint8_t* at = image->rgb.data(); at != end; at += 3) {
    uint8_t hsv[3];
    RgbToHsv(at, hsv);
    hsv[0] = static_cast<uint8_t>(hsv[0] + turn);
    HsvToRgb(hsv, at);
  }
}

void MakeGrey(Image* image) {
  uint8_t* end = image->rgb.data() + image->rgb.size();
  for (uint8_t* at = image->rgb.data(); at != end; at += 3) at[0] = at[1] = at[2] = Luma(at);
}

void Posterize(int bits, Image* image) {
  const uint8_t mask = static_cast<uint8_t>(0xFF << (8 - bits));
  for (uint8_t& value : image->rgb) value &= mask;
}

void Solarize(double threshold, Image* image) {
  Table table = Identity();
  for (size_t v = 0; v < 256; ++v) {
    if (static_cast<double>(v) >= threshold) table[v] = static_cast<uint8_t>(255 - v);
  }
  MapAll(table, image);
}

void AutoContrast(Image* image) {
  const std::array<Histogram, 3> counts = Histograms(*image);
  MapChannels({AutoContrastTable(counts[0]), AutoContrastTable(counts[1]), AutoContrastTable(counts[2])}, image);
}

void Equalize(Image* image) {
  const std::array<Histogram, 3> counts = Histograms(*image);
  MapChannels({EqualizeTable(counts[0]), EqualizeTable(counts[1]), EqualizeTable(counts[2])}, image);
}

}  // namespace graft

#include "worker/image/resample_axis.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace graft {
namespace {

// Source: Pillow 9.4, src/libImaging/Resample.c, bilinear_filter and bicubic_filter. `x` is not negative.
double Triangle(double x) { return x < 1.0 ? 1.0 - x : 0.0; }

double Bicubic(double x) {
  constexpr double a = -0.5;  // Keys 1981; PIL's choice, where OpenCV and LibTorch take -0.75
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
  if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
  return 0.0;
}

struct Filter {
  double support;  // the filter is zero beyond
  double (*weight)(double x);
};

Filter FilterOf(Interpolation interpolation) {
  return interpolation == Interpolation::kBicubic ? Filter{2.0, Bicubic} : Filter{1.0, Triangle};
}

void Pack(const std::vector<int32_t>& weights, int16_t* packed) {
  for (size_t tap = 0; tap < weights.size(); ++tap) {
    int16_t* pair = packed + tap / 2 * 16 + tap % 2;
    for (size_t copy = 0; copy < 8; copy += 2) {
      pair[copy] = static_cast<int16_t>(weights[tap] >> 8);  // rounds down, so that the low part is never negative
      pair[copy + 8] = static_cast<int16_t>(weights[tap] & 255);
    }
  }
}

// With kResampleBits after the point; halves away from zero.
int32_t FixedPoint(double weight) {
  return static_cast<int32_t>((weight < 0 ? -0.5 : 0.5) + weight * (1 << kResampleBits));
}

// The weights of output `index`, as Pillow's precompute_coeffs and normalize_coeffs_8bpc do it: in double, then
// rounded.
void SetWeights(const Filter& filter, int in_size, double scale, int index, ResampleAxis* axis) {
  const double stretch = std::max(scale, 1.0);  // of the filter, when the picture shrinks
  const double support = filter.support * stretch;
  const double center = (axis->resized_begin + index + 0.5) * scale;
  const int first = std::max(0, static_cast<int>(center - support + 0.5));
  const int last = std::min(in_size, static_cast<int>(center + support + 0.5));

  std::vector<double> taps(static_cast<size_t>(last - first));
  double sum = 0;
  for (int tap = 0; tap < last - first; ++tap) {
    const double weight = filter.weight(std::abs((tap + first - center + 0.5) * (1.0 / stretch)));
    taps[static_cast<size_t>(tap)] = weight;
    sum += weight;
  }
  std::vector<int32_t> weights;
  for (const double weight : taps) weights.push_back(FixedPoint(sum != 0.0 ? weight / sum : weight));
  axis->first[static_cast<size_t>(index)] = first;
  axis->count[static_cast<size_t>(index)] = last - first;
  Pack(weights, axis->packed.data() + static_cast<ptrdiff_t>(index) * axis->pairs * 16);
}

}  // namespace

ResampleAxis MakeResampleAxis(int in_size, int resized, int window_begin, int window_size,
                              Interpolation interpolation) {
  ResampleAxis axis;
  const int begin = std::max(window_begin, 0);
  const int end = std::min(window_begin + window_size, resized);
  axis.begin = begin - window_begin;
  axis.size = std::max(0, end - begin);
  axis.resized_begin = begin;
  axis.resampled = in_size != resized;
  if (!axis.resampled) return axis;

  const Filter filter = FilterOf(interpolation);
  const double scale = static_cast<double>(in_size) / resized;
  axis.max_count = static_cast<int>(std::ceil(filter.support * std::max(scale, 1.0))) * 2 + 1;
  axis.pairs = (axis.max_count + 1) / 2;
  axis.first.resize(static_cast<size_t>(axis.size));
  axis.count.resize(static_cast<size_t>(axis.size));
  axis.packed.resize(static_cast<size_t>(axis.size) * static_cast<size_t>(axis.pairs) * 16);
  for (int i = 0; i < axis.size; ++i) SetWeights(filter, in_size, scale, i, &axis);
  return axis;
}

}  // namespace graft

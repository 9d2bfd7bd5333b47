#include "worker/image/resample_axis.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace graft {
namespace {

void Pack(const std::vector<int32_t>& weights, int16_t* packed) {
  for (size_t tap = 0; tap < weights.size(); ++tap) {
    int16_t* pair = packed + tap / 2 * 16 + tap % 2;
    for (size_t copy = 0; copy < 8; copy += 2) {
      pair[copy] = static_cast<int16_t>(weights[tap] >> 8);  // at most 2^14
      pair[copy + 8] = static_cast<int16_t>(weights[tap] & 255);
    }
  }
}

// The weights of output `out`, as Pillow's precompute_coeffs and normalize_coeffs_8bpc do it: in double, then rounded.
void SetWeights(int in_size, double scale, int out, int index, ResampleAxis* axis) {
  const double support = std::max(scale, 1.0);  // of the triangle filter, stretched when the picture shrinks
  const double center = (out + 0.5) * scale;
  const int first = std::max(0, static_cast<int>(center - support + 0.5));
  const int last = std::min(in_size, static_cast<int>(center + support + 0.5));

  std::vector<double> filter(static_cast<size_t>(last - first));
  double sum = 0;
  for (int tap = 0; tap < last - first; ++tap) {
    const double x = std::abs((tap + first - center + 0.5) * (1.0 / support));
    const double weight = x < 1.0 ? 1.0 - x : 0.0;
    filter[static_cast<size_t>(tap)] = weight;
    sum += weight;
  }
  std::vector<int32_t> weights;
  for (const double weight : filter) {
    const double normalised = sum != 0.0 ? weight / sum : weight;
    weights.push_back(static_cast<int32_t>(0.5 + normalised * (1 << kResampleBits)));
  }
  axis->first[static_cast<size_t>(index)] = first;
  axis->count[static_cast<size_t>(index)] = last - first;
  Pack(weights, axis->packed.data() + static_cast<ptrdiff_t>(index) * axis->pairs * 16);
}

}  // namespace

ResampleAxis MakeResampleAxis(int in_size, int resized, int window_begin, int window_size) {
  ResampleAxis axis;
  const int begin = std::max(window_begin, 0);
  const int end = std::min(window_begin + window_size, resized);
  axis.begin = begin - window_begin;
  axis.size = std::max(0, end - begin);
  axis.resized_begin = begin;
  axis.resampled = in_size != resized;
  if (!axis.resampled) return axis;

  const double scale = static_cast<double>(in_size) / resized;
  axis.max_count = static_cast<int>(std::ceil(std::max(scale, 1.0))) * 2 + 1;
  axis.pairs = (axis.max_count + 1) / 2;
  axis.first.resize(static_cast<size_t>(axis.size));
  axis.count.resize(static_cast<size_t>(axis.size));
  axis.packed.resize(static_cast<size_t>(axis.size) * static_cast<size_t>(axis.pairs) * 16);
  for (int i = 0; i < axis.size; ++i) SetWeights(in_size, scale, begin + i, i, &axis);
  return axis;
}

}  // namespace graft

#include "worker/train/learning_curve.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <iterator>
#include <set>

namespace graft {
namespace {

constexpr int kGridSteps = 200;
constexpr double kMaxExponent = 2, kGridStep = kMaxExponent / kGridSteps;
constexpr double kMinExponent = 1e-4;  // where n^-c is flat over every size in use
constexpr int kRefinements = 60;       // golden section: 0.618^60 of a grid step is below 1e-12

struct Sample {
  double images, error, weight;
};

// images / unit keeps the powers near 1 whatever the sizes.
struct Curve {
  double a = 0, b = 0, c = 0, unit = 1, cost = 0;

  double operator()(double images) const { return a + b * std::pow(images / unit, -c); }
};

double Cost(const std::vector<Sample>& samples, const Curve& curve) {
  double cost = 0;
  for (const Sample& s : samples) cost += s.weight * std::pow(curve(s.images) - s.error, 2);
  return cost;
}

// The best non-negative a and b for one exponent: the free minimum of the quadratic when it is allowed, else the better
// of its two edges. Without `asymptote`, a = 0.
Curve BestWithExponent(const std::vector<Sample>& samples, double c, bool asymptote) {
  const double unit = samples.front().images;
  double w = 0, wx = 0, wxx = 0, wy = 0, wxy = 0;
  for (const Sample& s : samples) {
    const double x = std::pow(s.images / unit, -c);
    w += s.weight;
    wx += s.weight * x;
    wxx += s.weight * x * x;
    wy += s.weight * s.error;
    wxy += s.weight * x * s.error;
  }
  Curve decay{0, std::max(0.0, wxy / wxx), c, unit, 0};
  decay.cost = Cost(samples, decay);
  if (!asymptote) return decay;
  Curve flat{std::max(0.0, wy / w), 0, c, unit, 0};
  flat.cost = Cost(samples, flat);
  const double determinant = w * wxx - wx * wx;
  Curve both{(wxx * wy - wx * wxy) / determinant, (w * wxy - wx * wy) / determinant, c, unit, 0};
  both.cost = Cost(samples, both);
  if (both.a >= 0 && both.b >= 0) return both;  // false too for a NaN of a vanished determinant
  return flat.cost < decay.cost ? flat : decay;
}

// A grid over the exponent, then golden-section search around its best point.
Curve BestCurve(const std::vector<Sample>& samples, bool asymptote) {
  Curve best = BestWithExponent(samples, kGridStep, asymptote);
  for (int i = 2; i <= kGridSteps; ++i) {
    const Curve curve = BestWithExponent(samples, i * kGridStep, asymptote);
    if (curve.cost < best.cost) best = curve;
  }
  double low = std::max(kMinExponent, best.c - kGridStep), high = std::min(kMaxExponent, best.c + kGridStep);
  const double ratio = (std::sqrt(5.0) - 1) / 2;
  for (int i = 0; i < kRefinements; ++i) {
    const Curve left = BestWithExponent(samples, high - ratio * (high - low), asymptote);
    const Curve right = BestWithExponent(samples, low + ratio * (high - low), asymptote);
    (left.cost < right.cost ? high : low) = left.cost < right.cost ? right.c : left.c;
    const Curve& better = left.cost < right.cost ? left : right;
    if (better.cost < best.cost) best = better;
  }
  return best;
}

size_t CountSizes(const std::vector<Sample>& samples) {
  std::set<double> sizes;
  for (const Sample& s : samples) sizes.insert(s.images);
  return sizes.size();
}

// The curves that the samples without number `left_out` allow.
std::vector<Curve> CurvesWithout(size_t left_out, std::vector<Sample> samples) {
  samples.erase(std::next(samples.begin(), static_cast<std::ptrdiff_t>(left_out)));
  if (CountSizes(samples) >= 3) return {BestCurve(samples, true)};
  return {BestCurve(samples, false), BestWithExponent(samples, kMaxExponent, true)};
}

}  // namespace

double StandardError(double error, int64_t images) {
  const double n = static_cast<double>(images) + 4, p = (error * static_cast<double>(images) + 2) / n;
  return std::sqrt(p * (1 - p) / n);
}

CurveForecast ForecastTwice(const std::vector<CurvePoint>& points) {
  const bool weighted =
      std::all_of(points.begin(), points.end(), [](const CurvePoint& p) { return p.standard_deviation > 0; });
  std::vector<Sample> samples;
  double twice = 0;
  for (const CurvePoint& p : points) {
    if (p.images < 1 || !std::isfinite(p.error)) return {};
    const auto images = static_cast<double>(p.images);
    samples.push_back({images, p.error, weighted ? 1 / (p.standard_deviation * p.standard_deviation) : 1});
    twice = std::max(twice, 2 * images);
  }
  if (CountSizes(samples) < 3) return {};
  const Curve curve = BestCurve(samples, true);
  CurveForecast forecast{true, curve.a, curve.b * std::pow(curve.unit, curve.c), curve.c, curve(twice), 0, 0};
  forecast.low = forecast.high = forecast.error_at_twice;
  for (size_t i = 0; i < samples.size(); ++i) {
    for (const Curve& other : CurvesWithout(i, samples)) {
      forecast.low = std::min(forecast.low, other(twice));
      forecast.high = std::max(forecast.high, other(twice));
    }
  }
  return forecast;
}

}  // namespace graft

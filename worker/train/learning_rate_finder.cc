#include "worker/train/learning_rate_finder.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

#include "absl/strings/str_cat.h"
#include "worker/base/status.h"
#include "worker/data/activations.h"
#include "worker/train/phase_run.h"

namespace graft {
namespace {

constexpr int kMinSteps = 20, kMaxSteps = 1000;
constexpr double kDiverged = 4;       // times the smallest loss; fastai's LRFinder
constexpr double kLeastFall = 0.05;   // less is noise
constexpr double kShortestMemory = 0.5;

// Points before it average too few losses.
size_t FirstPoint(int steps) { return static_cast<size_t>(steps / 10); }

// Of the line of least squares through points [begin, end) of the loss over the logarithm of the rate.
double SlopeOf(const std::vector<RatePoint>& points, size_t begin, size_t end) {
  const auto n = static_cast<double>(end - begin);
  double mean_x = 0, mean_y = 0, xx = 0, xy = 0;
  for (size_t i = begin; i < end; ++i) {
    mean_x += std::log(points[i].learning_rate) / n;
    mean_y += points[i].loss / n;
  }
  for (size_t i = begin; i < end; ++i) {
    const double x = std::log(points[i].learning_rate) - mean_x;
    xx += x * x;
    xy += x * (points[i].loss - mean_y);
  }
  return xx > 0 ? xy / xx : 0;
}

// The middle of the steepest fall over `width` points of [begin, end).
size_t SteepestFall(const std::vector<RatePoint>& points, size_t begin, size_t end, size_t width) {
  width = std::min(width, end - begin);
  size_t best = begin;
  double steepest = SlopeOf(points, begin, begin + width);
  for (size_t at = begin + 1; at + width <= end; ++at) {
    const double slope = SlopeOf(points, at, at + width);
    if (slope >= steepest) continue;
    steepest = slope;
    best = at;
  }
  return best + width / 2;
}

// The points of a test under way.
class Curve {
 public:
  explicit Curve(int steps) : first_(FirstPoint(steps)), decay_(LossDecay(steps)) {}

  // Adds a step's loss. False when the test is at its end: a loss that is no finite number makes no point.
  bool Add(double learning_rate, double loss) {
    weight_ = decay_ * weight_ + (1 - decay_);  // what is missing to 1 is the zero that the average began with
    average_ = decay_ * average_ + (1 - decay_) * loss;
    const double smooth = average_ / weight_;
    if (!std::isfinite(smooth)) return false;
    points_.push_back({learning_rate, smooth});
    if (points_.size() <= first_) return true;
    smallest_ = points_.size() == first_ + 1 ? smooth : std::min(smallest_, smooth);
    return smooth <= kDiverged * smallest_;
  }
  std::vector<RatePoint> Take() { return std::move(points_); }

 private:
  const size_t first_;
  const double decay_;
  double weight_ = 0, average_ = 0, smallest_ = 0;
  std::vector<RatePoint> points_;
};

}  // namespace

absl::Status RateFinderOptions::Validate() const {
  if (steps == 0 || (steps >= kMinSteps && steps <= kMaxSteps)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("steps: got ", steps, ", want 0 or ", kMinSteps, " to ", kMaxSteps));
}

RateRange RangeOf(OptimizerKind kind) {
  return kind == OptimizerKind::kSgd ? RateRange{1e-6, 10} : RateRange{1e-7, 1};
}

double LossDecay(int steps) { return std::max(kShortestMemory, 1 - 20.0 / steps); }

void Suggest(int steps, LearningRateFound* found) {
  found->suggestion.reset();
  found->minimum.reset();
  const std::vector<RatePoint>& points = found->points;
  const size_t first = FirstPoint(steps);
  if (points.size() <= first) return;
  const auto smallest = std::min_element(points.begin() + first, points.end(),
                                         [](const RatePoint& a, const RatePoint& b) { return a.loss < b.loss; });
  found->minimum = smallest->learning_rate;
  if (!(smallest->loss < (1 - kLeastFall) * points[first].loss)) return;
  const auto end = static_cast<size_t>(smallest - points.begin()) + 1;
  found->suggestion = points[SteepestFall(points, first, end, first + 1)].learning_rate;
}

absl::StatusOr<LearningRateFound> FindLearningRate(
    const RangeTest& test, const CancelToken& cancel,
    const std::function<absl::Status(int64_t done, int64_t total)>& progress) {
  const Phase& phase = test.run->phase();
  const int steps = phase.rate_finder.steps;
  const RateRange range = RangeOf(phase.optimizer.kind);
  Curve curve(steps);
  std::vector<int64_t> order;
  PhaseRun::Epoch epoch;
  epoch.activations = test.pictures;
  epoch.order = &order;
  epoch.view = ViewOfEpoch(0, phase.augmented_views);
  int64_t begin = 0;
  for (int i = 0, next_epoch = 0; i < steps; ++i) {
    if (begin == static_cast<int64_t>(order.size())) {
      order = test.order(next_epoch);
      epoch.index = next_epoch++;
      epoch.prepared = 0;
      begin = 0;
    }
    const double rate = range.low * std::pow(range.high / range.low, static_cast<double>(i) / (steps - 1));
    ASSIGN_OR_RETURN(const EpochTotals step,
                     test.run->TrainStep(&epoch, begin, rate / phase.head_learning_rate, cancel));
    begin += step.images;
    const auto count = static_cast<int64_t>(order.size());
    const int64_t steps_an_epoch = test.run->StepsOf(count);
    RETURN_IF_ERROR(progress((i + 1) * count / steps_an_epoch, steps * count / steps_an_epoch));
    // A batch of classes that all weigh nothing has no loss.
    if (step.weight > 0 && !curve.Add(rate, test.run->MeanLoss(step))) break;
  }
  LearningRateFound found;
  found.phase = phase.name;
  found.points = curve.Take();
  Suggest(steps, &found);
  return found;
}

}  // namespace graft

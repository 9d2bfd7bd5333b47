#include "worker/train/lbfgs.h"

#include <torch/torch.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "worker/backbone/torch_status.h"
#include "worker/base/status.h"

namespace graft {
namespace {

// All from torch.optim.LBFGS; c1 and c2 are Nocedal & Wright's for quasi-Newton directions (section 3.1).
constexpr double kSufficientDecrease = 1e-4;  // c1
constexpr double kCurvature = 0.9;            // c2
constexpr double kGradientTolerance = 1e-7;   // of the largest entry
constexpr double kChangeTolerance = 1e-9;     // of a bracket times the direction; of the slope
constexpr double kMinCurvature = 1e-10;       // of s.y, so that the inverse Hessian stays positive definite
constexpr int kMaxSearchSteps = 25;           // beyond the first

// The objective along the search direction.
struct Point {
  double step = 0, loss = 0, slope = 0;
};
using Evaluation = std::function<absl::StatusOr<Point>(double step)>;

// The minimum of the cubic through two points with their slopes, within bounds (Nocedal & Wright, equation 3.59).
double CubicMinimum(const Point& a, const Point& b, double low, double high) {
  const Point &left = a.step <= b.step ? a : b, &right = a.step <= b.step ? b : a;
  const double d1 = left.slope + right.slope - 3 * (left.loss - right.loss) / (left.step - right.step);
  const double square = d1 * d1 - left.slope * right.slope;
  const double d2 = std::sqrt(square);  // NaN where the cubic has no minimum
  const double minimum =
      right.step - (right.step - left.step) * ((right.slope + d2 - d1) / (right.slope - left.slope + 2 * d2));
  // NaN also where a loss was infinite, which torch does not survive.
  return std::isnan(minimum) ? (low + high) / 2 : std::min(std::max(minimum, low), high);
}

// One line search; `start` is the objective at step 0, with a slope below 0.
class LineSearch {
 public:
  LineSearch(const Point& start, double largest_entry, Evaluation evaluate)
      : start_(start), largest_entry_(largest_entry), evaluate_(std::move(evaluate)) {}

  // The step length that satisfies the strong Wolfe conditions, or the best known when searching took too long.
  absl::StatusOr<double> Run(double step) {
    RETURN_IF_ERROR(FindBracket(step));
    RETURN_IF_ERROR(Zoom());
    return bracket_[low_].step;
  }

 private:
  bool Decreases(const Point& p) const { return p.loss <= start_.loss + kSufficientDecrease * p.step * start_.slope; }
  bool IsFlat(const Point& p) const { return std::abs(p.slope) <= -kCurvature * start_.slope; }

  absl::Status SetBracket(const Point& a, const Point& b) {
    bracket_ = {a, b};
    low_ = a.loss <= b.loss ? 0 : 1;
    return absl::OkStatus();
  }

  // Algorithm 3.5: larger and larger steps (within torch's bounds) until one will do, or two enclose one that will.
  absl::Status FindBracket(double step) {
    Point previous = start_;
    ASSIGN_OR_RETURN(Point p, evaluate_(step));
    for (; searched_ < kMaxSearchSteps; ++searched_) {
      const bool too_far = !Decreases(p) || (searched_ > 1 && p.loss >= previous.loss);
      done_ = !too_far && IsFlat(p);
      if (done_ || too_far || p.slope >= 0) return SetBracket(done_ ? p : previous, p);
      const double next = CubicMinimum(previous, p, p.step + 0.01 * (p.step - previous.step), 10 * p.step);
      previous = p;
      ASSIGN_OR_RETURN(p, evaluate_(next));
    }
    return SetBracket(start_, p);
  }

  // Algorithm 3.6: a smaller and smaller bracket around a step that will do.
  absl::Status Zoom() {
    while (!done_ && searched_ < kMaxSearchSteps &&
           std::abs(bracket_[1].step - bracket_[0].step) * largest_entry_ >= kChangeTolerance) {
      ASSIGN_OR_RETURN(const Point p, evaluate_(NextTrial()));
      ++searched_;
      Point &low = bracket_[low_], &high = bracket_[1 - low_];
      if (!Decreases(p) || p.loss >= low.loss) {
        high = p;
        low_ = bracket_[0].loss <= bracket_[1].loss ? 0 : 1;
      } else {
        done_ = IsFlat(p);
        if (!done_ && p.slope * (high.step - low.step) >= 0) high = low;
        low = p;
      }
    }
    return absl::OkStatus();
  }

  // The cubic's minimum, but a tenth of the bracket away from its ends when trials keep falling close to them.
  double NextTrial() {
    const auto [low, high] = std::minmax({bracket_[0].step, bracket_[1].step});
    const double step = CubicMinimum(bracket_[0], bracket_[1], low, high), margin = 0.1 * (high - low);
    const bool close = std::min(high - step, step - low) < margin;
    const bool moves = close && (was_close_ || step >= high || step <= low);
    was_close_ = close && !moves;
    if (!moves) return step;
    return std::abs(step - high) < std::abs(step - low) ? high - margin : low + margin;
  }

  const Point start_;
  const double largest_entry_;  // of the direction, absolute
  const Evaluation evaluate_;
  std::array<Point, 2> bracket_;
  int low_ = 0;  // index of the end with the smaller loss
  int searched_ = 0;
  bool done_ = false, was_close_ = false;
};

std::vector<at::Tensor> Copies(const std::vector<at::Tensor>& tensors) {
  std::vector<at::Tensor> copies;
  for (const at::Tensor& tensor : tensors) copies.push_back(tensor.detach().clone());
  return copies;
}

at::Tensor Scalar(double value) { return at::full({1}, value, at::kDouble); }

}  // namespace

Lbfgs::Lbfgs(std::vector<at::Tensor> values, int history) : values_(std::move(values)), history_(history) {
  GRAFT_CHECK(!values_.empty() && history_ >= 1);
}

absl::StatusOr<double> Lbfgs::Step(double learning_rate, const Closure& closure) {
  double loss = 0;
  const absl::Status status = TryTorch("take an L-BFGS step", [&]() -> absl::Status {
    torch::NoGradGuard no_grad;
    at::Tensor gradient;
    ASSIGN_OR_RETURN(loss, Evaluate(closure, &gradient));
    const double largest = gradient.abs().max().item<double>();
    if (!std::isfinite(loss) || !std::isfinite(largest) || largest <= kGradientTolerance || !(learning_rate > 0)) {
      return absl::OkStatus();
    }
    Memory next = NextMemory(gradient);
    const double slope = gradient.dot(next.direction).item<double>();
    if (slope <= -kChangeTolerance) {
      const double scale = next.step == 1 ? std::min(1.0, 1 / gradient.abs().sum().item<double>()) : 1.0;
      ASSIGN_OR_RETURN(next.step_length, Search(closure, next, loss, slope, scale * learning_rate));
    }
    memory_ = std::move(next);
    return absl::OkStatus();
  });
  RETURN_IF_ERROR(status);
  return loss;
}

absl::StatusOr<double> Lbfgs::Evaluate(const Closure& closure, at::Tensor* gradient) {
  absl::StatusOr<double> loss;
  {
    at::AutoGradMode enable_grad(true);
    loss = closure();
  }
  std::vector<at::Tensor> rows;
  for (const at::Tensor& value : values_) {
    const at::Tensor& grad = value.grad();
    // reshape, not view: a channels-last gradient is copied in the order of its indices.
    rows.push_back(grad.defined() ? grad.detach().reshape({-1}) : at::zeros({value.numel()}, value.options()));
    value.mutable_grad().reset();
  }
  *gradient = at::cat(rows);  // [n]
  return loss;
}

// What this step leaves to the next but for the step length.
Lbfgs::Memory Lbfgs::NextMemory(const at::Tensor& gradient) const {
  Memory next = memory_;
  next.step = memory_.step + 1;
  next.step_length = 0;
  next.previous_gradient = gradient;
  if (memory_.step > 0) {
    const at::Tensor y = gradient.sub(memory_.previous_gradient), s = memory_.direction.mul(memory_.step_length);
    const double ys = y.dot(s).item<double>();
    if (ys > kMinCurvature) {
      if (next.pairs.size() == static_cast<size_t>(history_)) next.pairs.erase(next.pairs.begin());
      next.pairs.push_back({s, y, 1 / ys});
      next.h_diag = ys / y.dot(y).item<double>();
    }
  }
  next.direction = Direction(gradient, next);
  return next;
}

// -H * gradient, H the approximation of the inverse Hessian: algorithm 7.4.
at::Tensor Lbfgs::Direction(const at::Tensor& gradient, const Memory& memory) {
  const std::vector<Pair>& pairs = memory.pairs;
  std::vector<double> alpha(pairs.size());
  at::Tensor q = gradient.neg();
  for (size_t i = pairs.size(); i-- > 0;) {
    alpha[i] = pairs[i].s.dot(q).item<double>() * pairs[i].ro;
    q.add_(pairs[i].y, -alpha[i]);
  }
  q.mul_(memory.h_diag);
  for (size_t i = 0; i < pairs.size(); ++i) {
    const double beta = pairs[i].y.dot(q).item<double>() * pairs[i].ro;
    q.add_(pairs[i].s, alpha[i] - beta);
  }
  return q;
}

// Moves the values along memory.direction, and returns how far; on an error they are back where they were.
absl::StatusOr<double> Lbfgs::Search(const Closure& closure, const Memory& memory, double loss, double slope,
                                     double step) {
  const std::vector<at::Tensor> start = Copies(values_);
  const auto evaluate = [&](double trial) -> absl::StatusOr<Point> {
    MoveTo(start, memory.direction, trial);
    at::Tensor gradient;
    ASSIGN_OR_RETURN(const double got, Evaluate(closure, &gradient));
    // A loss that is no number is as bad as an infinite one: the step was too long.
    return Point{trial, std::isnan(got) ? std::numeric_limits<double>::infinity() : got,
                 gradient.dot(memory.direction).item<double>()};
  };
  double found = 0;
  const absl::Status status = TryTorch("search along a line", [&]() -> absl::Status {
    LineSearch search({0, loss, slope}, memory.direction.abs().max().item<double>(), evaluate);
    ASSIGN_OR_RETURN(found, search.Run(step));
    return absl::OkStatus();
  });
  MoveTo(start, memory.direction, status.ok() ? found : 0);
  RETURN_IF_ERROR(status);
  return found;
}

void Lbfgs::MoveTo(const std::vector<at::Tensor>& start, const at::Tensor& direction, double step) {
  int64_t offset = 0;
  for (size_t i = 0; i < values_.size(); ++i) {
    const at::Tensor& value = values_[i];
    value.copy_(start[i]);
    const int64_t end = offset + value.numel();
    if (step != 0) value.add_(direction.slice(0, offset, end).view(value.sizes()), step);
    offset = end;
  }
}

std::map<std::string, at::Tensor> Lbfgs::State() const {
  std::map<std::string, at::Tensor> state;
  if (memory_.step == 0) return state;
  state = {{"step", at::full({1}, memory_.step, at::kLong)},
           {"step_length", Scalar(memory_.step_length)},
           {"h_diag", Scalar(memory_.h_diag)},
           {"direction", memory_.direction},
           {"previous_gradient", memory_.previous_gradient}};
  std::vector<at::Tensor> s, y, ro;
  for (const Pair& pair : memory_.pairs) {
    s.push_back(pair.s);
    y.push_back(pair.y);
    ro.push_back(Scalar(pair.ro));
  }
  if (!s.empty()) state.insert({{"s", at::stack(s)}, {"y", at::stack(y)}, {"ro", at::cat(ro)}});
  return state;
}

absl::Status Lbfgs::LoadState(const std::map<std::string, at::Tensor>& state) {
  return TryTorch("load the L-BFGS state", [&]() -> absl::Status {
    torch::NoGradGuard no_grad;
    ASSIGN_OR_RETURN(memory_, ParseMemory(state));
    return absl::OkStatus();
  });
}

absl::StatusOr<Lbfgs::Memory> Lbfgs::ParseMemory(const std::map<std::string, at::Tensor>& state) const {
  if (state.empty()) return Memory();
  int64_t n = 0;
  for (const at::Tensor& value : values_) n += value.numel();
  const auto options = values_.front().options().requires_grad(false);
  const auto ro = state.find("ro");
  const int64_t k = ro == state.end() ? 0 : std::min<int64_t>(ro->second.numel(), history_);
  std::map<std::string, at::Tensor> own = {
      {"step", at::empty({1}, at::kLong)},        {"step_length", Scalar(0)},
      {"h_diag", Scalar(0)},                      {"direction", at::empty({n}, options)},
      {"previous_gradient", at::empty({n}, options)}};
  const auto matrix = [&] { return at::empty({k, n}, options); };
  if (k > 0) own.insert({{"s", matrix()}, {"y", matrix()}, {"ro", at::empty({k}, at::kDouble)}});
  for (auto& [name, tensor] : own) {
    const auto it = state.find(name);
    if (it == state.end()) return absl::DataLossError(absl::StrCat(name, ": missing"));
    RETURN_IF_ERROR(CheckStateTensor(name, it->second, tensor));
    tensor.copy_(it->second);
  }
  for (const auto& entry : state) {
    if (own.count(entry.first) == 0) return absl::DataLossError(absl::StrCat(entry.first, ": unknown name"));
  }
  Memory memory{own["step"].item<int64_t>(), own["step_length"].item<double>(), own["h_diag"].item<double>(),
                own["direction"], own["previous_gradient"], {}};
  // Clones: a row of a matrix would keep the others alive.
  for (int64_t i = 0; i < k; ++i) {
    memory.pairs.push_back({own["s"][i].clone(), own["y"][i].clone(), own["ro"][i].item<double>()});
  }
  return memory;
}

absl::Status CheckStateTensor(const std::string& name, const at::Tensor& got, const at::Tensor& want) {
  if (got.sizes() == want.sizes() && got.scalar_type() == want.scalar_type()) return absl::OkStatus();
  const auto describe = [](const at::Tensor& tensor) {
    return absl::StrCat(c10::toString(tensor.scalar_type()), " [", absl::StrJoin(tensor.sizes(), ", "), "]");
  };
  return absl::DataLossError(absl::StrCat(name, ": got ", describe(got), ", want ", describe(want)));
}

}  // namespace graft

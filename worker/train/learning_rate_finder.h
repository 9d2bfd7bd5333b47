#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/base/cancel_token.h"
#include "worker/train/optimizer.h"

// A range test: the learning rate grows from step to step until the loss does, and the curve says which rate to train
// with. Source: Smith 2017 (arXiv:1506.01186), section 3.3; the suggestion and what ends a test are Howard's and
// Gugger's (fastai 2020, arXiv:2002.04688).

namespace graft {

class Activations;
class PhaseRun;

struct RateFinderOptions {
  int steps = 0;       // of the test; 0: none, else 20 to 1000
  bool apply = false;  // the suggestion takes the place of the phase's rate; else it is only told

  //   InvalidArgument  "steps: got 7, want 0 or 20 to 1000"
  absl::Status Validate() const;
};

struct RatePoint {
  double learning_rate = 0;  // of the head
  double loss = 0;           // as EpochMetrics::train_loss, averaged over the steps before
};

// What a test found.
struct LearningRateFound {
  std::string phase;
  std::vector<RatePoint> points;     // at most one for each step; fewer when the loss grew without bounds
  std::optional<double> suggestion;  // absent: the loss fell by less than a twentieth
  std::optional<double> minimum;     // the rate of the smallest loss: too large to train with, a tenth of it may do
  bool applied = false;              // the phase trains at `suggestion`
};

struct RateRange {
  double low = 0, high = 0;
};

// The head's rates that a test goes through, in equal ratios. Adam and RMSprop move a weight by about the rate in each
// step, whatever its gradient: theirs are a tenth of SGD's.
RateRange RangeOf(OptimizerKind kind);

// The weight of the past in the average of a test's losses. It looks back over a twentieth of the test: the curve lags
// behind the rate by no more than that. fastai's 0.98 at 1000 steps.
double LossDecay(int steps);

// Sets suggestion and minimum from `points`, of a test of `steps`. The suggestion is where the loss falls most steeply
// over the logarithm of the rate before its minimum, by a line through a tenth of the test. The first tenth is left out
// (as in fastai): too few losses are averaged there. A fall by less than a twentieth counts as none.
void Suggest(int steps, LearningRateFound* found);

struct RangeTest {
  PhaseRun* run = nullptr;  // of a copy of what is to be trained: afterwards its weights are of no use
  Activations* pictures = nullptr;
  std::function<std::vector<int64_t>(int epoch)> order;  // the phase's own, of as many epochs as the test needs
};

// Makes the test of run->phase(), on its first epoch's views. It ends when the averaged loss exceeds four times its
// minimum or is no finite number. `progress` is called after each step with the images done, on average, of how many.
//   Cancelled (looked at before each step), DataLoss, ResourceExhausted, Internal; progress's own
absl::StatusOr<LearningRateFound> FindLearningRate(
    const RangeTest& test, const CancelToken& cancel,
    const std::function<absl::Status(int64_t done, int64_t total)>& progress);

}  // namespace graft

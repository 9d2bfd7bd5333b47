#include "worker/train/mix.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "worker/base/random.h"

namespace graft {
namespace {

constexpr int kDraws = 20000;
constexpr MixOptions kMixup{0.4, 0}, kCutMix{0, 1}, kBoth{0.4, 1};

// The plan of a batch of 4 rows in epoch 0.
Mix Draw(const MixOptions& options, uint64_t step, int64_t height = 6, int64_t width = 9) {
  return DrawMix(options, 4, height, width, /*seed=*/11, /*phase=*/2, /*epoch=*/0, step);
}

// Sebastiano Vigna's splitmix64.c and java.util.SplittableRandom, from state 0.
TEST(CounterRandomTest, IsSplitMix64) {
  CounterRandom random{};
  for (const uint64_t want : {0xe220a8397b1dcdafu, 0x6e789e6aa1b965f4u, 0x06c45d188009454fu, 0xf88bb8a8724c81ecu}) {
    EXPECT_EQ(random.Next(), want);
  }
}

TEST(CounterRandomTest, EachPartOfTheKeyAndItsPlaceCount) {
  const std::set<uint64_t> different = {CounterRandom{1, 2, 3}.Next(), CounterRandom{0, 2, 3}.Next(),
                                        CounterRandom{1, 0, 3}.Next(), CounterRandom{1, 2, 0}.Next(),
                                        CounterRandom{2, 1, 3}.Next(), CounterRandom{1, 2}.Next()};
  EXPECT_EQ(different.size(), 6u);
}

TEST(CounterRandomTest, FirstNumbersOfNeighbouringKeysAreUniform) {
  double sum = 0, squares = 0;
  for (uint64_t key = 0; key < kDraws; ++key) {
    const double u = CounterRandom{5, key}.Uniform();
    ASSERT_TRUE(u >= 0 && u < 1);
    sum += u;
    squares += (u - 0.5) * (u - 0.5);
  }
  // Five standard deviations: of u sqrt(1/12), of (u - 1/2)^2 sqrt(1/180).
  EXPECT_NEAR(sum / kDraws, 0.5, 5 * std::sqrt(1.0 / 12 / kDraws));
  EXPECT_NEAR(squares / kDraws, 1.0 / 12, 5 * std::sqrt(1.0 / 180 / kDraws));
}

TEST(CounterRandomTest, BelowTakesEveryValueEquallyOften) {
  CounterRandom random{1};
  int counts[3] = {};
  for (int i = 0; i < 6000; ++i) ++counts[random.Below(3)];
  for (const int count : counts) EXPECT_NEAR(count, 2000, 5 * 37) << "five standard deviations";
}

std::vector<double> Lambdas(double alpha) {
  std::vector<double> lambdas;
  for (uint64_t step = 0; step < kDraws; ++step) lambdas.push_back(Draw({alpha, 0}, step).lambda);
  return lambdas;
}

// P(X <= x) of Beta(a, a): x^a / B(a, a) sum_k (1 - a)_k x^k / (k! (a + k)) up to 1/2, and its mirror image (Abramowitz
// and Stegun, 6.6 and 15.1.1).
double BetaCdf(double a, double x) {
  if (x > 0.5) return 1 - BetaCdf(a, 1 - x);
  double sum = 0, term = 1;  // (1 - a)_k x^k / k!
  for (int k = 0; k < 100; ++k) {
    sum += term / (a + k);
    term *= (1 - a + k) * x / (k + 1);
  }
  return std::pow(x, a) * sum / std::exp(2 * std::lgamma(a) - std::lgamma(2 * a));
}

// Bounds of five standard deviations. Beta(a, a) has variance 1 / (4 (2a + 1)) and kurtosis 3 - 6 / (2a + 3).
TEST(DrawMixTest, LambdaHasTheBetasMeanAndVariance) {
  for (const double alpha : {0.2, 1.0, 4.0}) {
    double sum = 0, squares = 0;
    for (const double lambda : Lambdas(alpha)) {
      sum += lambda;
      squares += (lambda - 0.5) * (lambda - 0.5);
    }
    const double variance = 1 / (4 * (2 * alpha + 1)), kurtosis = 3 - 6 / (2 * alpha + 3);
    EXPECT_NEAR(sum / kDraws, 0.5, 5 * std::sqrt(variance / kDraws)) << alpha;
    EXPECT_NEAR(squares / kDraws, variance, 5 * variance * std::sqrt((kurtosis - 1) / kDraws)) << alpha;
  }
}

// Kolmogorov-Smirnov: a distance above 1.95 / sqrt(n) has probability 0.001.
TEST(DrawMixTest, LambdaHasTheBetasDistribution) {
  EXPECT_NEAR(BetaCdf(1, 0.3), 0.3, 1e-12);
  EXPECT_NEAR(BetaCdf(0.5, 0.1), 2 / M_PI * std::asin(std::sqrt(0.1)), 1e-12);  // the arcsine law
  for (const double alpha : {0.2, 0.5, 1.0, 4.0}) {
    std::vector<double> lambdas = Lambdas(alpha);
    std::sort(lambdas.begin(), lambdas.end());
    double distance = 0;
    for (int i = 0; i < kDraws; ++i) {
      distance = std::max(distance, std::abs(BetaCdf(alpha, lambdas[i]) - (i + 0.5) / kDraws));
    }
    EXPECT_LT(distance, 1.95 / std::sqrt(kDraws)) << alpha;
  }
}

TEST(DrawMixTest, ExtremeAlphasGiveNumbers) {
  for (const double alpha : {1e-300, 1e-9, 1e9, 1e300}) {
    for (uint64_t step = 0; step < 100; ++step) {
      const double lambda = Draw({alpha, 0}, step).lambda;
      ASSERT_TRUE(lambda >= 0 && lambda <= 1) << alpha << " " << lambda;
    }
  }
}

TEST(DrawMixTest, DependsOnItsArgumentsAlone) {
  const auto lambda = [](uint64_t seed, uint64_t phase, uint64_t epoch, uint64_t step) {
    return DrawMix(kMixup, 4, 1, 1, seed, phase, epoch, step).lambda;
  };
  EXPECT_EQ(lambda(1, 2, 3, 4), lambda(1, 2, 3, 4));
  const std::set<double> different = {lambda(1, 2, 3, 4), lambda(0, 2, 3, 4), lambda(1, 0, 3, 4),
                                      lambda(1, 2, 0, 4), lambda(1, 2, 3, 0), lambda(1 + (uint64_t{1} << 32), 2, 3, 4)};
  EXPECT_EQ(different.size(), 6u);
}

// A stored training state goes on with the same mixes in every later version. Produced by a transcription of DrawMix()
// and CounterRandom into Python 3.11; the tolerance is for other platforms' log, sin, cos and atan.
TEST(DrawMixTest, DrawsNeverChange) {
  EXPECT_NEAR(Draw(kMixup, 0).lambda, 0.46239971018974474, 1e-14);
  EXPECT_NEAR(Draw(kMixup, 1).lambda, 0.9994293882208942, 1e-14);
  const Mix cut = DrawMix(kCutMix, 4, 32, 48, 11, 2, 0, 1);
  EXPECT_NEAR(cut.lambda, 1 - 70 / (32 * 48.0), 1e-14);
  EXPECT_NEAR(cut.top, 6.0 / 32, 1e-14);
  EXPECT_NEAR(cut.left, 29.0 / 48, 1e-14);
  EXPECT_NEAR(cut.height, 7.0 / 32, 1e-14);
  EXPECT_NEAR(cut.width, 10.0 / 48, 1e-14);
}

TEST(DrawMixTest, EachRowIsAnotherRowsPartner) {
  const Mix mix = DrawMix(kMixup, 5, 1, 1, 1, 2, 3, 4);
  ASSERT_TRUE(mix.mixes);
  ASSERT_EQ(mix.partner.size(), 5u);
  for (int64_t row = 0; row < 5; ++row) EXPECT_NE(mix.partner[row], row);
  EXPECT_EQ(std::set<int64_t>(mix.partner.begin(), mix.partner.end()), (std::set<int64_t>{0, 1, 2, 3, 4}));
}

TEST(DrawMixTest, NothingToMixWithOrNothingAskedIsNoMix) {
  EXPECT_FALSE(DrawMix({}, 4, 6, 9, 1, 2, 3, 4).mixes);
  EXPECT_FALSE(DrawMix(kBoth, 1, 6, 9, 1, 2, 3, 4).mixes);
  EXPECT_FALSE(DrawMix(kBoth, 0, 6, 9, 1, 2, 3, 4).mixes);
}

TEST(DrawMixTest, WithoutAMapThereIsOnlyMixup) {
  for (uint64_t step = 0; step < 100; ++step) {
    EXPECT_FALSE(Draw(kCutMix, step, 1, 1).mixes);
    const Mix mix = Draw(kBoth, step, 1, 1);
    EXPECT_TRUE(mix.mixes);
    EXPECT_FALSE(mix.cut);
  }
}

TEST(DrawMixTest, ACoinChoosesBetweenTheTwo) {
  int cuts = 0;
  for (uint64_t step = 0; step < kDraws; ++step) cuts += Draw(kBoth, step).cut ? 1 : 0;
  EXPECT_NEAR(cuts, kDraws / 2, 5 * std::sqrt(kDraws) / 2) << "five standard deviations";
}

// Row-major [height][width]: 1 where a plan takes the partner's pixel.
at::Tensor CutPixels(const Mix& mix, int64_t height, int64_t width) {
  return MixActivations(at::zeros({1, 1, height, width}), at::ones({1, 1, height, width}), mix).squeeze();
}

TEST(DrawMixTest, LambdaIsTheShareThatTheBoxLeaves) {
  for (uint64_t step = 0; step < 500; ++step) {
    const Mix mix = Draw(kCutMix, step);
    if (!mix.mixes) {
      EXPECT_EQ(mix.lambda, 1) << "a box between the pixels' centres is none";
      continue;
    }
    EXPECT_NEAR(CutPixels(mix, 6, 9).mean(at::kDouble).item<double>(), 1 - mix.lambda, 1e-12);
    EXPECT_NEAR(mix.height * mix.width, 1 - mix.lambda, 1e-12);
    EXPECT_GE(std::min(mix.top, mix.left), 0);
    EXPECT_LE(std::max(mix.top + mix.height, mix.left + mix.width), 1 + 1e-12);
  }
}

// A pixel whose centre is at fraction u is in a box of side r, its centre uniform, with probability
// min(1, u + r/2) - max(0, u - r/2), rows and columns independent; and r^2 = 1 - lambda is uniform at alpha = 1.
double CutProbability(double y, double x) {
  constexpr int kIntervals = 2000;
  double sum = 0;
  for (int i = 0; i < kIntervals; ++i) {
    const double half = std::sqrt((i + 0.5) / kIntervals) / 2;
    sum += (std::min(1.0, y + half) - std::max(0.0, y - half)) * (std::min(1.0, x + half) - std::max(0.0, x - half));
  }
  return sum / kIntervals;
}

TEST(DrawMixTest, EachPixelIsCutAsOftenAsThePaperSays) {
  constexpr int64_t kHeight = 4, kWidth = 7;
  constexpr int kBoxes = 6000;
  at::Tensor times = at::zeros({kHeight, kWidth});
  for (uint64_t step = 0; step < kBoxes; ++step) {
    times += CutPixels(Draw(kCutMix, step, kHeight, kWidth), kHeight, kWidth);
  }
  for (int64_t y = 0; y < kHeight; ++y) {
    for (int64_t x = 0; x < kWidth; ++x) {
      const double p = CutProbability((y + 0.5) / kHeight, (x + 0.5) / kWidth);
      EXPECT_NEAR(times[y][x].item<double>() / kBoxes, p, 5 * std::sqrt(p * (1 - p) / kBoxes)) << y << " " << x;
    }
  }
}

at::Tensor Values(at::IntArrayRef shape, uint64_t seed) {
  return at::randn(shape, at::detail::createCPUGenerator(seed));
}

TEST(MixActivationsTest, MixupIsTheConvexCombination) {
  Mix mix;
  mix.mixes = true;
  mix.lambda = 0.75;
  const at::Tensor own = at::tensor({4.0f, 8.0f}).view({1, 2}), partners = at::tensor({0.0f, -4.0f}).view({1, 2});
  EXPECT_TRUE(at::equal(MixActivations(own, partners, mix), at::tensor({3.0f, 5.0f}).view({1, 2})));
}

TEST(MixActivationsTest, CutMixTakesTheBoxFromThePartner) {
  Mix mix;
  mix.mixes = mix.cut = true;
  mix.top = 1.0 / 3, mix.left = 0.5, mix.height = 2.0 / 3, mix.width = 0.25;  // rows 1 and 2, column 2
  mix.lambda = 1 - 2.0 / 12;
  const at::Tensor own = Values({2, 5, 3, 4}, 1), partners = Values({2, 5, 3, 4}, 2), before = own.clone();
  at::Tensor want = own.clone();
  for (const int64_t row : {1, 2}) want.select(2, row).select(2, 2).copy_(partners.select(2, row).select(2, 2));
  EXPECT_TRUE(at::equal(MixActivations(own, partners, mix), want));
  EXPECT_TRUE(at::equal(own, before)) << "what is mixed may be a cache's";
}

TEST(MixActivationsTest, KeepsChannelsLast) {
  const at::Tensor own = Values({2, 5, 6, 9}, 1).contiguous(at::MemoryFormat::ChannelsLast);
  const at::Tensor partners = Values({2, 5, 6, 9}, 2).contiguous(at::MemoryFormat::ChannelsLast);
  for (const MixOptions& options : {kMixup, kCutMix}) {
    const Mix mix = Draw(options, 0);
    ASSERT_TRUE(mix.mixes);
    EXPECT_TRUE(MixActivations(own, partners, mix).is_contiguous(at::MemoryFormat::ChannelsLast));
  }
}

TEST(MixActivationsTest, NoMixLeavesTheRowsAlone) {
  const at::Tensor own = Values({2, 3}, 1), partners = Values({2, 3}, 2);
  EXPECT_TRUE(at::equal(MixActivations(own, partners, Mix()), own));
  EXPECT_TRUE(at::equal(MixTargets(own, partners, Mix()), own));
}

TEST(MixActivationsTest, ShardsAreTheBatchsRows) {
  constexpr int64_t kRows = 7;
  const at::Tensor batch = Values({kRows, 3, 5, 7}, 1);
  for (const MixOptions& options : {kMixup, kCutMix}) {
    const Mix mix = DrawMix(options, kRows, 5, 7, 11, 2, 0, 1);
    ASSERT_TRUE(mix.mixes);
    const at::Tensor partners = batch.index_select(0, at::tensor(mix.partner));
    const at::Tensor whole = MixActivations(batch, partners, mix);
    for (int64_t row = 0; row < kRows; ++row) {
      const at::Tensor alone = MixActivations(batch.narrow(0, row, 1), partners.narrow(0, row, 1), mix);
      EXPECT_TRUE(at::equal(alone, whole.narrow(0, row, 1))) << row;
    }
  }
}

TEST(MixTargetsTest, SharesAreLambdaAndTheRest) {
  const at::Tensor own = at::tensor({1.0, 0.0, 0.0}, at::kDouble).view({1, 3});
  const at::Tensor partners = at::tensor({0.0, 0.0, 1.0}, at::kDouble).view({1, 3});
  for (const MixOptions& options : {kMixup, kCutMix}) {
    const Mix mix = Draw(options, 0);
    ASSERT_TRUE(mix.mixes);
    const at::Tensor mixed = MixTargets(own, partners, mix);
    EXPECT_DOUBLE_EQ(mixed[0][0].item<double>(), mix.lambda);
    EXPECT_DOUBLE_EQ(mixed[0][1].item<double>(), 0);
    EXPECT_DOUBLE_EQ(mixed[0][2].item<double>(), 1 - mix.lambda);
    EXPECT_TRUE(at::allclose(MixTargets(own, own, mix), own, 0, 1e-15)) << "of one class";
  }
}

TEST(MixOptionsTest, AlphasAreFiniteAndNotNegative) {
  EXPECT_TRUE(MixOptions().Validate().ok());
  EXPECT_TRUE(kBoth.Validate().ok());
  const absl::Status status = MixOptions{-1, HUGE_VAL}.Validate();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "mixup_alpha: got -1, want >= 0 and finite\ncutmix_alpha: got inf, want >= 0 and finite");
  EXPECT_EQ((MixOptions{std::nan(""), 0}.Validate().message()), "mixup_alpha: got nan, want >= 0 and finite");
}

}  // namespace
}  // namespace graft

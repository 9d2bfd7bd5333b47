#include "worker/train/phase_run.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/worker/train/trainer_fixture.h"
#include "worker/data/sampler.h"
#include "worker/train/learning_rate_finder.h"

namespace graft {
namespace {

constexpr std::chrono::seconds kLong(30);

// One replica trains all of a small backbone, so that the pool is free to compute the rows of the next steps.
class PhaseRunTest : public testing::Test {
 protected:
  PhaseRunTest() : options_(ScratchOptions(2)) {
    GRAFT_CHECK(options_.phases.size() == 1 && options_.phases[0].batch_norm == BatchNormPolicy::kTrainUnfrozen);
  }

  // With windows of so many pictures.
  std::unique_ptr<Activations> Pictures(int64_t window, int64_t kept_rows) {
    constexpr int64_t kRowBytes = 3 * 32 * 32 * 4;
    Activations::Options o;
    o.backbone = options_.backbone;
    o.preprocessing = options_.preprocessing;
    o.augment = options_.phases[0].augment;
    o.kept_views = options_.phases[0].augmented_views;
    o.budget_bytes = kept_rows * kRowBytes;
    o.window_bytes = window * kRowBytes;
    o.chunk = 2;
    return std::make_unique<Activations>(o, &data_.train, data_.read);
  }
  std::unique_ptr<PhaseRun> Run() {
    PhaseRun::Options o;
    o.phase = options_.phases[0];
    o.head = options_.head;
    return std::make_unique<PhaseRun>(
        o, options_.backbone, std::make_unique<Suffix>(*options_.backbone, 0, options_.head, 2, 0), &pool_);
  }
  absl::Status Train(Activations* pictures, PhaseRun* run, EpochTotals* totals, CancelToken cancel = CancelToken(),
                     const std::function<void()>& after_step = [] {}) {
    for (int epoch = 0; epoch < 2; ++epoch) {
      *totals = EpochTotals();
      const std::vector<int64_t> order = ShuffledIndices(pictures->size(), 1, 0, epoch);
      RETURN_IF_ERROR(run->TrainEpoch(pictures, order, epoch, cancel, totals, [&] {
        after_step();
        return absl::OkStatus();
      }));
    }
    return absl::OkStatus();
  }

  TrainOptions options_;
  Dataset data_ = ColourDataset(2, 9, 1);  // 18 pictures: steps of 4, 4, 4, 4 and 2
  WorkerPool pool_{{2, 0, "test", UseOneIntraOpThread}};
};

TEST_F(PhaseRunTest, RowsThatAreComputedAheadAreTheSame) {
  const auto all = Pictures(1024, 1024);
  const auto want = Run();
  EpochTotals want_totals;
  ASSERT_TRUE(Train(all.get(), want.get(), &want_totals).ok());
  for (const int64_t kept_rows : {0, 7}) {
    for (const int64_t window : {1, 4, 8, 16, 24}) {
      const auto some = Pictures(window, kept_rows);
      const auto run = Run();
      EpochTotals totals;
      ASSERT_TRUE(Train(some.get(), run.get(), &totals).ok());
      EXPECT_EQ(totals.images, 18);
      EXPECT_EQ(totals.loss, want_totals.loss);
      EXPECT_EQ(LargestDifference(run->Weights(), want->Weights()), 0) << window << " " << kept_rows;
    }
  }
}

TEST_F(PhaseRunTest, TheNextRowsAreComputedMeanwhile) {
  std::atomic<int> reads{0};
  std::promise<void> both;  // windows of the first epoch have been read
  data_.read = [&, read = data_.read](const std::string& id) {
    if (++reads == 8) both.set_value();
    return read(id);
  };
  const auto pictures = Pictures(8, 0);  // two windows of 4
  const auto run = Run();
  EpochTotals totals;
  bool first = true;
  const auto wait = [&] {
    if (!std::exchange(first, false)) return;
    EXPECT_EQ(both.get_future().wait_for(kLong), std::future_status::ready);
  };
  ASSERT_TRUE(Train(pictures.get(), run.get(), &totals, CancelToken(), wait).ok());
  EXPECT_EQ(reads, 2 * 18);
}

// What follows an interruption, and what balanced sampling draws.
TEST_F(PhaseRunTest, RowsAheadAreTheSameFromAnyStepAndOfAnyOrder) {
  const std::vector<int64_t> order{3, 3, 0, 7, 3, 9, 9, 1, 0, 17, 3, 2, 2, 2, 5, 9, 0, 12};
  std::vector<Tensors> weights;
  for (const int64_t window : {1024, 8}) {
    const auto pictures = Pictures(window, 7);
    const auto run = Run();
    EpochTotals totals;
    totals.images = 4;
    const absl::Status trained =
        run->TrainEpoch(pictures.get(), order, 0, CancelToken(), &totals, [] { return absl::OkStatus(); });
    ASSERT_TRUE(trained.ok()) << trained;
    weights.push_back(run->Weights());
  }
  EXPECT_EQ(LargestDifference(weights[1], weights[0]), 0);
}

// It changes its order at each epoch's end, and stops inside one.
TEST_F(PhaseRunTest, TheLearningRateFinderMeasuresTheSame) {
  options_.phases[0].rate_finder.steps = 22;
  std::vector<LearningRateFound> found;
  for (const int64_t window : {1024, 8}) {
    const auto pictures = Pictures(window, 0);
    const auto run = Run();
    const auto order = [&](int epoch) { return ShuffledIndices(18, 1, 0, epoch); };
    const auto curve = FindLearningRate({run.get(), pictures.get(), order}, CancelToken(),
                                        [](int64_t, int64_t) { return absl::OkStatus(); });
    ASSERT_TRUE(curve.ok()) << curve.status();
    found.push_back(*curve);
  }
  ASSERT_GT(found[0].points.size(), 1u);
  ASSERT_EQ(found[1].points.size(), found[0].points.size());
  for (size_t i = 0; i < found[0].points.size(); ++i) EXPECT_EQ(found[1].points[i].loss, found[0].points[i].loss);
}

TEST_F(PhaseRunTest, AStepOfManyBatchesTakesNoMoreMemoryThanABatch) {
  options_.phases[0].accumulate_batches = 4;  // steps of 16 and 2
  const auto all = Pictures(1024, 1024);
  const auto want = Run();
  EpochTotals want_totals, totals;
  ASSERT_TRUE(Train(all.get(), want.get(), &want_totals).ok());
  for (const int64_t kept_rows : {0, 7}) {
    const auto some = Pictures(1, kept_rows);
    const auto run = Run();
    ASSERT_TRUE(Train(some.get(), run.get(), &totals).ok());
    EXPECT_EQ(some->window_rows(), 4) << "a batch";
    EXPECT_EQ(totals.images, 18);
    EXPECT_EQ(totals.loss, want_totals.loss);
    EXPECT_EQ(LargestDifference(run->Weights(), want->Weights()), 0) << kept_rows;
  }
}

TEST_F(PhaseRunTest, CancellingEndsAStepOfManyBatches) {
  options_.phases[0].accumulate_batches = 4;
  CancelToken cancel;
  std::atomic<int> reads{0};
  data_.read = [&, read = data_.read](const std::string& id) {
    if (++reads == 16) cancel.Stop(StopReason::kCancelled);  // the last that the first step needs
    return read(id);
  };
  const auto pictures = Pictures(16, 0);
  const auto run = Run();
  EpochTotals totals;
  EXPECT_EQ(Train(pictures.get(), run.get(), &totals, cancel).code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(totals.images, 0);
}

TEST_F(PhaseRunTest, AStepThatIsLeftEarlyLeavesNoTrace) {
  options_.phases[0].accumulate_batches = 4;
  CancelToken cancel;
  std::atomic<int> reads{0};
  data_.read = [&, read = data_.read](const std::string& id) {
    if (++reads == 8) cancel.Stop(StopReason::kDrain);  // the second batch's last
    return read(id);
  };
  const auto pictures = Pictures(1, 0);
  const auto run = Run();
  Tensors before;
  for (const auto& [name, value] : run->suffix().State()) before[name] = value.clone();
  EpochTotals totals;
  EXPECT_EQ(Train(pictures.get(), run.get(), &totals, cancel).code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(LargestDifference(run->suffix().State(), before), 0);
}

TEST_F(PhaseRunTest, AnErrorOfRowsAheadEndsTheEpoch) {
  data_.train[ShuffledIndices(18, 1, 0, 0).back()].id = "gone";
  const auto pictures = Pictures(8, 0);
  const auto run = Run();
  EpochTotals totals;
  EXPECT_EQ(Train(pictures.get(), run.get(), &totals).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(totals.images, 16) << "what came before is trained on";
}

TEST_F(PhaseRunTest, CancellingStopsWhatIsComputedAhead) {
  std::atomic<int> reads{0};
  CancelToken cancel;
  std::promise<void> cancelled;
  const std::shared_future<void> is_cancelled = cancelled.get_future().share();
  data_.read = [&, read = data_.read](const std::string& id) {
    if (++reads > 8) is_cancelled.wait_for(kLong);
    return read(id);
  };
  const auto pictures = Pictures(16, 0);  // windows of 8, in chunks of 2
  const auto run = Run();
  EpochTotals totals;
  const auto stop = [&] {
    cancel.Stop(StopReason::kCancelled);
    cancelled.set_value();
  };
  EXPECT_EQ(Train(pictures.get(), run.get(), &totals, cancel, stop).code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(totals.images, 4);
  EXPECT_LE(reads, 8 + 2 * 2) << "one chunk of each thread";
}

}  // namespace
}  // namespace graft

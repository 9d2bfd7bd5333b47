#include "worker/train/phase_run.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "tests/worker/train/trainer_fixture.h"
#include "worker/data/sampler.h"

namespace graft {
namespace {

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
    for (const int64_t window : {1, 8, 16, 24}) {
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
  data_.read = [&reads, read = data_.read](const std::string& id) {
    ++reads;
    return read(id);
  };
  const auto pictures = Pictures(8, 0);  // two windows of 4
  const auto run = Run();
  EpochTotals totals;
  bool waited = false;
  const auto wait = [&] {
    if (std::exchange(waited, true)) return;
    const absl::Time deadline = absl::Now() + absl::Seconds(30);
    while (reads < 8 && absl::Now() < deadline) absl::SleepFor(absl::Milliseconds(1));
    EXPECT_EQ(reads, 8) << "after the first step";
  };
  ASSERT_TRUE(Train(pictures.get(), run.get(), &totals, CancelToken(), wait).ok());
  EXPECT_EQ(reads, 2 * 18);
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
  const auto pictures = Pictures(8, 0);
  const auto run = Run();
  EpochTotals totals;
  CancelToken cancel;
  EXPECT_EQ(Train(pictures.get(), run.get(), &totals, cancel, [&] { cancel.Stop(StopReason::kCancelled); }).code(),
            absl::StatusCode::kCancelled);
  EXPECT_EQ(totals.images, 4);
}

}  // namespace
}  // namespace graft

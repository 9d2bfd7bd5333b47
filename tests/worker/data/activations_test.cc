#include "worker/data/activations.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <atomic>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/worker/data/activations_fixture.h"
#include "worker/image/decode.h"
#include "worker/image/preprocess.h"

namespace graft {
namespace {

using testing::HasSubstr;

double RelativeDifference(const at::Tensor& got, const at::Tensor& want) {
  return (got - want).abs().max().item<double>() / want.abs().max().item<double>();
}

using ActivationsTest = ActivationsFixture;

TEST_F(ActivationsTest, AreThePrefixOfThePreprocessedPicture) {
  Activations activations(Options(4), &data_.train, data_.read);
  ASSERT_TRUE(Fill(&activations).ok());
  const auto image = DecodeImage(*data_.read(data_.train[7].id), ImageLimits());
  ASSERT_TRUE(image.ok()) << image.status();
  at::Tensor input = at::empty({1, 64, 64, 3});
  Preprocess(*image, activations.options().preprocessing, input.data_ptr<float>());
  const at::Tensor want = TinyBackbone()->Forward(input.permute({0, 3, 1, 2}), 0, 4);
  const int64_t index = 7;
  EXPECT_LT(RelativeDifference(*activations.Gather(&index, 1), want), 1e-5);
}

TEST_F(ActivationsTest, PicturesArePreprocessedAsAskedNotAsTheBackboneHasIt) {
  Activations::Options options = Options(0);
  options.preprocessing.resize_px = options.preprocessing.crop_px = 40;
  Activations activations(options, &data_.train, data_.read);
  ASSERT_TRUE(Fill(&activations).ok());
  EXPECT_EQ(GatherAll(activations).sizes(), (std::vector<int64_t>{10, 3, 40, 40}));
}

TEST_F(ActivationsTest, AreChannelsLastInTheOrderAskedFor) {
  Activations activations(Options(4), &data_.train, data_.read);
  ASSERT_TRUE(Fill(&activations).ok());
  EXPECT_EQ(activations.cached(), 10);
  const at::Tensor all = GatherAll(activations);
  const std::vector<int64_t> indices = {9, 0, 4, 4};
  const at::Tensor some = *activations.Gather(indices.data(), 4);
  EXPECT_TRUE(some.is_contiguous(at::MemoryFormat::ChannelsLast));
  for (int64_t i = 0; i < 4; ++i) EXPECT_TRUE(at::equal(some[i], all[indices[i]])) << i;
}

TEST_F(ActivationsTest, AnyBudgetGivesTheSameRows) {
  for (const int split_point : {0, 4, 14}) {
    Activations whole(Options(split_point), &data_.train, data_.read);
    ASSERT_TRUE(Fill(&whole).ok());
    const at::Tensor want = GatherAll(whole);
    const int64_t row_bytes = static_cast<int64_t>(want[0].nbytes());
    for (const int64_t rows : {0, 1, 6}) {
      Activations::Options options = Options(split_point);
      options.budget_bytes = rows * row_bytes + row_bytes / 2;
      Activations part(options, &data_.train, data_.read);
      ASSERT_TRUE(Fill(&part).ok());
      EXPECT_EQ(part.cached(), rows);
      EXPECT_TRUE(at::equal(GatherAll(part), want)) << split_point << " with " << rows;
    }
  }
}

TEST_F(ActivationsTest, FromABaseEqualDirectOnes) {
  for (const Precision precision : {Precision::kFloat32, Precision::kBfloat16}) {
    for (const int64_t base_budget : {int64_t{1} << 30, int64_t{0}}) {
      Activations::Options base_options = Options(5), options = Options(14);
      base_options.budget_bytes = base_budget;
      base_options.precision = options.precision = precision;
      Activations base(base_options, &data_.train, data_.read);
      ASSERT_TRUE(Fill(&base).ok());
      Activations derived(options, &data_.train, data_.read, &base), direct(options, &data_.train, data_.read);
      ASSERT_TRUE(Fill(&derived).ok());
      ASSERT_TRUE(Fill(&direct).ok());
      EXPECT_TRUE(at::equal(GatherAll(derived), GatherAll(direct))) << PrecisionName(precision) << " " << base_budget;
    }
  }
}

// oneDNN chooses its kernel by the batch's shape: a row must not show what else was computed with it.
TEST_F(ActivationsTest, RowsDoNotDependOnTheirGrouping) {
  for (const Precision precision : {Precision::kFloat32, Precision::kBfloat16}) {
    for (const int split_point : {3, 12, 14}) {
      Activations::Options options = Options(split_point);
      options.precision = precision;
      const Activations none(options, &data_.train, data_.read);  // computes what it is asked for
      const at::Tensor all = GatherAll(none);
      const std::vector<std::vector<int64_t>> groups{{7}, {7, 2}, {9, 7, 0}, {1, 2, 3, 7, 5}};
      for (const std::vector<int64_t>& group : groups) {
        const at::Tensor rows = Gather(none, group);
        for (size_t i = 0; i < group.size(); ++i) {
          EXPECT_TRUE(at::equal(rows[static_cast<int64_t>(i)], all[group[i]]))
              << PrecisionName(precision) << " " << split_point << " in a group of " << group.size();
        }
      }
      Activations filled(options, &data_.train, data_.read);
      ASSERT_TRUE(Fill(&filled).ok());
      EXPECT_TRUE(at::equal(GatherAll(filled), all));
    }
  }
}

TEST_F(ActivationsTest, HalfPrecisionHalvesRowsThatAreNoFeatures) {
  Activations::Options options = Options(12);
  options.precision = Precision::kBfloat16;
  options.budget_bytes = 10 * 96 * 2 * 2 * 2;  // ten rows of [96, 2, 2]
  Activations half(options, &data_.train, data_.read), single(Options(12), &data_.train, data_.read);
  ASSERT_TRUE(Fill(&half).ok());
  ASSERT_TRUE(Fill(&single).ok());
  EXPECT_EQ(half.cached(), 10);
  const at::Tensor rows = GatherAll(half);
  EXPECT_EQ(rows.scalar_type(), at::kBFloat16);
  EXPECT_LT(RelativeDifference(rows.to(at::kFloat), GatherAll(single)), 0.05) << "bfloat16 has 8 bits";
  Activations::Options features = Options(14);
  features.precision = Precision::kBfloat16;
  EXPECT_EQ(GatherAll(Activations(features, &data_.train, data_.read)).scalar_type(), at::kFloat);
}

TEST_F(ActivationsTest, PrepareHoldsWhatDoesNotFitUntilTheNext) {
  Activations::Options options = Options(14);
  options.budget_bytes = 0;
  Activations activations(options, &data_.train, CountedReader());
  ASSERT_TRUE(Prepare(&activations, 0, {1, 3, 3, 5}).ok());
  EXPECT_EQ(reads_.count(data_.train[3].id), 1u) << "once, though it is asked for twice";
  const size_t before = reads_.size();
  const at::Tensor rows = Gather(activations, {5, 1, 3});
  EXPECT_EQ(reads_.size(), before) << "prepared";
  EXPECT_TRUE(at::equal(rows, Gather(Activations(Options(14), &data_.train, data_.read), {5, 1, 3})));
  ASSERT_TRUE(Prepare(&activations, 0, {2}).ok());
  Gather(activations, {2, 5});
  EXPECT_EQ(reads_.count(data_.train[2].id), 1u);
  EXPECT_EQ(reads_.count(data_.train[5].id), 2u) << "it was forgotten";
}

TEST_F(ActivationsTest, PreparesTheNextWhileTheLastIsRead) {
  for (const int64_t budget_rows : {0, 4}) {  // those of 0 to 3 have slots
    Activations::Options options = Options(14);
    options.budget_bytes = budget_rows * 576 * 4;
    Activations activations(options, &data_.train, CountedReader());
    const Activations want(Options(14), &data_.train, data_.read);
    reads_.clear();
    ASSERT_TRUE(Prepare(&activations, 0, {1, 3, 5}).ok());
    const std::vector<int64_t> next{2, 5, 3, 8};
    std::thread ahead([&] {
      EXPECT_TRUE(activations.PrepareNext(0, next.data(), 4, &pool_, CancelToken()).ok());
    });
    for (int i = 0; i < 20; ++i) EXPECT_TRUE(at::equal(Gather(activations, {5, 1, 3}), Gather(want, {5, 1, 3})));
    ahead.join();
    const size_t reads = reads_.size();
    Gather(activations, {5, 1, 3});
    activations.UseNext();
    EXPECT_TRUE(at::equal(Gather(activations, next), Gather(want, next)));
    EXPECT_EQ(reads_.size(), reads) << "all were prepared";
    EXPECT_EQ(reads_.count(data_.train[5].id), 2u) << "once for each window";
    EXPECT_EQ(reads_.count(data_.train[3].id), budget_rows == 0 ? 2u : 1u);
    Gather(activations, {1});
    EXPECT_EQ(reads_.count(data_.train[1].id), budget_rows == 0 ? 2u : 1u) << "of the window before";
  }
}

TEST_F(ActivationsTest, AFailedPrepareNextLeavesWhatIsThere) {
  Activations::Options options = Options(14);
  options.budget_bytes = 0;
  Activations activations(options, &data_.train, CountedReader());
  ASSERT_TRUE(Prepare(&activations, 0, {1, 3}).ok());
  const std::string id = std::exchange(data_.train[6].id, "gone");
  const std::vector<int64_t> next{6, 7};
  EXPECT_EQ(activations.PrepareNext(0, next.data(), 2, &pool_, CancelToken()).code(), absl::StatusCode::kDataLoss);
  const size_t reads = reads_.size();
  Gather(activations, {1, 3});
  EXPECT_EQ(reads_.size(), reads);
  data_.train[6].id = id;
}

TEST_F(ActivationsTest, WindowsAreAsLargeAsTheirBytes) {
  Activations::Options options = Options(14);
  Activations whole(options, &data_.train, data_.read);
  EXPECT_EQ(whole.WindowImages().value(), 1024);
  options.window_bytes = 3 * 576 * 4;
  EXPECT_EQ(Activations(options, &data_.train, data_.read).WindowImages().value(), 3);
  options.window_bytes = 1;
  EXPECT_EQ(Activations(options, &data_.train, data_.read).WindowImages().value(), 1);
}

TEST_F(ActivationsTest, AFailedPrepareLeavesNothingHalfDone) {
  data_.train[6].id = "gone";
  Activations activations(Options(14), &data_.train, data_.read);
  EXPECT_EQ(Prepare(&activations, 0, All(10)).code(), absl::StatusCode::kDataLoss);
  data_.train[6].id = data_.train[8].id;
  EXPECT_TRUE(at::equal(GatherAll(activations), GatherAll(Activations(Options(14), &data_.train, data_.read))));
}

TEST_F(ActivationsTest, AWindowIsPreparedForItsCaller) {
  Activations::Options options = Options(14);
  options.budget_bytes = 0;
  Activations activations(options, &data_.train, CountedReader());
  std::vector<std::vector<int64_t>> windows;
  const auto note = [&](const std::vector<int64_t>& indices) {
    windows.push_back(indices);
    const size_t reads = reads_.size();
    Gather(activations, indices);
    EXPECT_EQ(reads_.size(), reads) << "they are in memory";
    return absl::OkStatus();
  };
  ASSERT_TRUE(ForEachWindow(&activations, &pool_, CancelToken(), note).ok());
  EXPECT_EQ(windows, (std::vector<std::vector<int64_t>>{All(10)}));
  const auto fail = [](const std::vector<int64_t>&) { return absl::AbortedError("enough"); };
  EXPECT_EQ(ForEachWindow(&activations, &pool_, CancelToken(), fail), absl::AbortedError("enough"));
  CancelToken cancel;
  cancel.Stop(StopReason::kCancelled);
  EXPECT_EQ(ForEachWindow(&activations, &pool_, cancel, note).code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(windows.size(), 1u);
}

TEST_F(ActivationsTest, NoPicturesHaveNoWindow) {
  const std::vector<Example> none;
  Activations activations(Options(14), &none, CountedReader());
  const auto fail = [](const std::vector<int64_t>&) { return absl::AbortedError("called"); };
  EXPECT_TRUE(ForEachWindow(&activations, &pool_, CancelToken(), fail).ok());
}

TEST_F(ActivationsTest, CachedPicturesAreReadOnce) {
  Activations activations(Options(14), &data_.train, CountedReader());
  ASSERT_TRUE(Fill(&activations).ok());
  const size_t after_fill = reads_.size();
  EXPECT_LE(after_fill, 11u) << "one more to learn the shape";
  GatherAll(activations);
  EXPECT_EQ(reads_.size(), after_fill);
}

TEST_F(ActivationsTest, UnreadablePictureIsDataLossWithItsName) {
  data_.train[6].id = "gone";
  Activations activations(Options(14), &data_.train, data_.read);
  const absl::Status status = Fill(&activations);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("picture gone: no such file"));
}

TEST_F(ActivationsTest, DamagedPictureIsDataLossWithItsName) {
  const ImageReader read = [&](const std::string& id) -> absl::StatusOr<std::string> {
    return id == data_.train[6].id ? std::string("not a picture") : *data_.read(id);
  };
  Activations::Options options = Options(14);
  options.budget_bytes = 0;
  Activations activations(options, &data_.train, read);
  ASSERT_TRUE(Fill(&activations).ok());
  const int64_t index = 6;
  const absl::Status status = activations.Gather(&index, 1).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("picture " + data_.train[6].id));
}

TEST_F(ActivationsTest, CancelStopsTheFill) {
  CancelToken cancel;
  std::atomic<int> reads{0};
  Activations activations(Options(14), &data_.train, [&](const std::string& id) {
    if (++reads == 3) cancel.Stop(StopReason::kCancelled);
    return data_.read(id);
  });
  const absl::Status status = activations.Fill(&pool_, cancel, [](int64_t) { return absl::OkStatus(); });
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
}

TEST_F(ActivationsTest, ProgressEndsWithAllAndItsErrorEndsTheFill) {
  Activations activations(Options(14), &data_.train, data_.read);
  int64_t last = 0;
  ASSERT_TRUE(activations
                  .Fill(&pool_, CancelToken(),
                        [&](int64_t done) {
                          EXPECT_GT(done, last);
                          last = done;
                          return absl::OkStatus();
                        })
                  .ok());
  EXPECT_EQ(last, 10);
  EXPECT_EQ(activations.Fill(&pool_, CancelToken(), [](int64_t) { return absl::UnavailableError("gone"); }),
            absl::UnavailableError("gone"));
}

}  // namespace
}  // namespace graft

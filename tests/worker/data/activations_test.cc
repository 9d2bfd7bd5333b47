#include "worker/data/activations.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <numeric>

#include "tests/support/pictures.h"
#include "tests/support/tiny_backbone.h"
#include "worker/device/threads.h"
#include "worker/image/decode.h"
#include "worker/image/preprocess.h"

namespace graft {
namespace {

using testing::HasSubstr;

double RelativeDifference(const at::Tensor& got, const at::Tensor& want) {
  return (got - want).abs().max().item<double>() / want.abs().max().item<double>();
}

class ActivationsTest : public testing::Test {
 protected:
  Activations::Options Options(int split_point) {
    Activations::Options options;
    options.backbone = TinyBackbone();
    options.preprocessing = TinyBackbone()->preprocessing();
    options.split_point = split_point;
    options.chunk = 4;
    return options;
  }
  absl::Status Fill(Activations* activations) {
    return activations->Fill(&pool_, CancelToken(), [](int64_t) { return absl::OkStatus(); });
  }
  at::Tensor GatherAll(const Activations& activations) {
    std::vector<int64_t> indices(activations.size());
    std::iota(indices.begin(), indices.end(), 0);
    const auto rows = activations.Gather(indices.data(), activations.size());
    EXPECT_TRUE(rows.ok()) << rows.status();
    return *rows;
  }

  Dataset data_ = ColourDataset(2, 5, 1);  // 10 pictures
  WorkerPool pool_{{2, 0, "test", UseOneIntraOpThread}};
};

TEST_F(ActivationsTest, AreThePrefixOfThePreprocessedPicture) {
  Activations activations(Options(4), &data_.train, data_.read);
  ASSERT_TRUE(Fill(&activations).ok());
  const auto image = DecodeImage(*data_.read(data_.train[7].id), ImageLimits());
  ASSERT_TRUE(image.ok()) << image.status();
  at::Tensor input = at::empty({1, 224, 224, 3});
  Preprocess(*image, TinyBackbone()->preprocessing(), input.data_ptr<float>());
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
      EXPECT_LT(RelativeDifference(GatherAll(part), want), 1e-5) << split_point << " with " << rows;
    }
  }
}

TEST_F(ActivationsTest, FromABaseEqualDirectOnes) {
  for (const int64_t base_budget : {int64_t{1} << 30, int64_t{0}}) {
    Activations::Options base_options = Options(5);
    base_options.budget_bytes = base_budget;
    Activations base(base_options, &data_.train, data_.read);
    ASSERT_TRUE(Fill(&base).ok());
    Activations derived(Options(14), &data_.train, data_.read, &base), direct(Options(14), &data_.train, data_.read);
    ASSERT_TRUE(Fill(&derived).ok());
    ASSERT_TRUE(Fill(&direct).ok());
    EXPECT_LT(RelativeDifference(GatherAll(derived), GatherAll(direct)), 1e-5);
  }
}

TEST_F(ActivationsTest, CachedPicturesAreReadOnce) {
  std::atomic<int> reads{0};
  Activations activations(Options(14), &data_.train, [&](const std::string& id) {
    ++reads;
    return data_.read(id);
  });
  ASSERT_TRUE(Fill(&activations).ok());
  const int after_fill = reads;
  EXPECT_LE(after_fill, 11) << "one more to learn the shape";
  GatherAll(activations);
  EXPECT_EQ(reads, after_fill);
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

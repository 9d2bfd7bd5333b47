// Augmented views, and rows that a store keeps.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "tests/worker/data/activations_fixture.h"
#include "worker/data/activation_store.h"

namespace graft {
namespace {

using testing::ElementsAre;

TEST(ViewOfEpochTest, EveryEpochHasItsOwnWhenNoneAreKept) {
  for (const int64_t epoch : {0, 1, 7, 9999}) EXPECT_EQ(ViewOfEpoch(epoch, 0), epoch);
}

// Three are kept: each is used four times, then three new ones take their places.
TEST(ViewOfEpochTest, KeptViewsComeInTurnAndGenerationsFollow) {
  std::vector<int64_t> views;
  for (int64_t epoch = 0; epoch < 15; ++epoch) views.push_back(ViewOfEpoch(epoch, 3));
  EXPECT_THAT(views, ElementsAre(0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 3, 4, 5));
  EXPECT_EQ(ViewOfEpoch(kUsesOfAView - 1, 1), 0);
  EXPECT_EQ(ViewOfEpoch(kUsesOfAView, 1), 1);
}

class ActivationViewsTest : public ActivationsFixture {
 protected:
  Activations::Options Augmented(int split_point, int kept_views) {
    Activations::Options options = Options(split_point);
    options.augment = *AugmentPreset("crop-flip");
    options.seed = 5;
    options.kept_views = kept_views;
    return options;
  }
};

TEST_F(ActivationViewsTest, DifferByViewAndSeedAndRepeat) {
  const Activations activations(Augmented(12, 0), &data_.train, data_.read);
  EXPECT_TRUE(activations.varies());
  const at::Tensor first = GatherAll(activations, 0), second = GatherAll(activations, 1);
  for (int64_t i = 0; i < 10; ++i) EXPECT_FALSE(at::equal(first[i], second[i])) << i;
  EXPECT_TRUE(at::equal(GatherAll(activations, 1), second));
  Activations::Options other = Augmented(12, 0);
  other.seed = 6;
  EXPECT_FALSE(at::equal(GatherAll(Activations(other, &data_.train, data_.read), 0), first));
}

TEST_F(ActivationViewsTest, PlainPicturesHaveOneViewOnly) {
  Activations activations(Options(14), &data_.train, CountedReader());
  ASSERT_TRUE(Fill(&activations).ok());
  const size_t reads = reads_.size();
  EXPECT_TRUE(at::equal(GatherAll(activations, 7), GatherAll(activations, 0)));
  ASSERT_TRUE(Prepare(&activations, 3, All(10)).ok());
  EXPECT_EQ(reads_.size(), reads);
}

TEST_F(ActivationViewsTest, RowsDoNotDependOnGroupingOrBudget) {
  const at::Tensor want = GatherAll(Activations(Augmented(14, 0), &data_.train, data_.read), 3);
  for (const int kept : {0, 1, 2}) {
    for (const int64_t rows : {0, 7, 1000}) {
      Activations::Options options = Augmented(14, kept);
      options.budget_bytes = rows * 576 * 4;
      Activations activations(options, &data_.train, data_.read);
      for (const int64_t view : {0, 1, 2, 3}) ASSERT_TRUE(Prepare(&activations, view, {8, 1, 1, 6}).ok());
      EXPECT_TRUE(at::equal(GatherAll(activations, 3), want)) << kept << " kept, budget of " << rows;
    }
  }
}

TEST_F(ActivationViewsTest, KeptViewsAreComputedOnceUntilTheirPlaceIsTaken) {
  Activations activations(Augmented(14, 2), &data_.train, CountedReader());
  const auto reads_of = [&](int64_t view) {
    const size_t before = reads_.size();
    EXPECT_TRUE(Prepare(&activations, view, All(10)).ok());
    return reads_.size() - before;
  };
  EXPECT_EQ(reads_of(0), 10u);
  EXPECT_EQ(reads_of(1), 10u);
  EXPECT_EQ(reads_of(0), 0u);
  EXPECT_EQ(reads_of(1), 0u);
  const at::Tensor second = GatherAll(activations, 1);
  EXPECT_EQ(reads_of(2), 10u) << "in the place of view 0";
  EXPECT_EQ(reads_of(1), 0u);
  EXPECT_TRUE(at::equal(GatherAll(activations, 1), second));
  EXPECT_EQ(reads_of(0), 10u);
}

TEST_F(ActivationViewsTest, ViewsThatAreNotKeptAreNewEachTime) {
  Activations activations(Augmented(14, 0), &data_.train, CountedReader());
  ASSERT_TRUE(Prepare(&activations, 0, All(10)).ok());
  EXPECT_EQ(activations.cached(), 0);
  EXPECT_EQ(reads_.size(), 10u);
  GatherAll(activations, 0);
  EXPECT_EQ(reads_.size(), 10u) << "prepared";
  ASSERT_TRUE(Prepare(&activations, 0, All(10)).ok());
  EXPECT_EQ(reads_.size(), 20u);
}

class StoredActivationsTest : public ActivationViewsTest {
 protected:
  StoredActivationsTest()
      : directory_(std::string(testing::TempDir()) + "/stored_activations_" +
                   testing::UnitTest::GetInstance()->current_test_info()->name()) {
    std::filesystem::remove_all(directory_);
    Reopen();
  }
  ~StoredActivationsTest() override { std::filesystem::remove_all(directory_); }

  void Reopen() {
    store_.reset();
    auto store = ActivationStore::Open({directory_});
    GRAFT_CHECK(store.ok());
    store_ = *std::move(store);
  }
  // All rows of a view, by an object that is new.
  at::Tensor Rows(Activations::Options options, int64_t view = 0) {
    options.store = store_.get();
    Activations activations(options, &data_.train, CountedReader());
    reads_.clear();
    EXPECT_TRUE(Prepare(&activations, view, All(10)).ok());
    const at::Tensor rows = GatherAll(activations, view);
    return rows;
  }
  std::vector<std::string> Files() const {
    std::vector<std::string> files;
    for (const auto& entry : std::filesystem::directory_iterator(directory_)) {
      if (entry.path().extension() == ".act") files.push_back(entry.path());
    }
    return files;
  }

  const std::string directory_;
  std::unique_ptr<ActivationStore> store_;
};

TEST_F(StoredActivationsTest, AnotherJobReadsNoPicture) {
  for (const Precision precision : {Precision::kFloat32, Precision::kBfloat16}) {
    for (const int split_point : {12, 14}) {
      Activations::Options options = Options(split_point);
      options.precision = precision;
      const at::Tensor want = GatherAll(Activations(options, &data_.train, data_.read));
      EXPECT_TRUE(at::equal(Rows(options), want));
      EXPECT_EQ(reads_.size(), 10u);
      EXPECT_TRUE(at::equal(Rows(options), want));
      EXPECT_EQ(reads_.size(), 0u) << PrecisionName(precision) << " " << split_point;
      Reopen();
      options.budget_bytes = 0;
      EXPECT_TRUE(at::equal(Rows(options), want));
      EXPECT_EQ(reads_.size(), 0u) << "nor after a restart, nor without memory";
    }
  }
  EXPECT_EQ(Files().size(), 4u);
}

TEST_F(StoredActivationsTest, WhatIsMissingIsComputedAlongside) {
  Activations::Options options = Options(14);
  options.store = store_.get();
  Activations some(options, &data_.train, data_.read);
  ASSERT_TRUE(Prepare(&some, 0, {1, 2, 8}).ok());
  const at::Tensor want = GatherAll(Activations(Options(14), &data_.train, data_.read));
  EXPECT_TRUE(at::equal(Rows(Options(14)), want));
  EXPECT_EQ(reads_.size(), 7u);
  for (const int64_t stored : {1, 2, 8}) EXPECT_EQ(reads_.count(data_.train[stored].id), 0u);
}

TEST_F(StoredActivationsTest, ADamagedRowIsComputedAgain) {
  const at::Tensor want = Rows(Options(14));
  ASSERT_EQ(Files().size(), 1u);
  store_.reset();
  std::fstream file(Files()[0], std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(4096 + 100);  // within the first row
  file.write("\xff\xff\xff\xff", 4);
  ASSERT_TRUE(file.flush().good());
  file.close();
  Reopen();
  EXPECT_TRUE(at::equal(Rows(Options(14)), want));
  EXPECT_EQ(reads_.size(), 1u);
  EXPECT_EQ(store_->stats().corrupt, 1);
  EXPECT_TRUE(at::equal(Rows(Options(14)), want));
  EXPECT_EQ(reads_.size(), 0u) << "it was stored again";
}

TEST_F(StoredActivationsTest, RowsOfOtherWaysOfComputingAreNotTaken) {
  Rows(Options(14));
  Activations::Options other = Options(14);
  other.precision = Precision::kBfloat16;
  const auto expect_computed = [&](const Activations::Options& options, const std::string& what) {
    Rows(options);
    EXPECT_EQ(reads_.size(), 10u) << what;
  };
  expect_computed(other, "precision");
  other = Options(13);
  expect_computed(other, "split point");
  other = Options(14);
  other.preprocessing.mean[1] += 0.01f;
  expect_computed(other, "preprocessing");
  other = Options(14);
  other.backbone = TinyBackbone(2);
  expect_computed(other, "backbone");
  other = Options(14);
  other.reduced_decoding = true;
  expect_computed(other, "decoding");
  other = Options(14);
  other.seed = 77;
  Rows(other);
  EXPECT_EQ(reads_.size(), 0u) << "plain pictures have no seed";
}

TEST_F(StoredActivationsTest, AugmentedRowsAreStoredByViewSpecAndSeed) {
  const at::Tensor first = Rows(Augmented(14, 2), 0);
  EXPECT_EQ(reads_.size(), 10u);
  EXPECT_TRUE(at::equal(Rows(Augmented(14, 2), 0), first));
  EXPECT_EQ(reads_.size(), 0u);
  EXPECT_FALSE(at::equal(Rows(Augmented(14, 2), 1), first));
  EXPECT_EQ(reads_.size(), 10u) << "another view";
  Activations::Options other = Augmented(14, 2);
  other.seed = 6;
  EXPECT_FALSE(at::equal(Rows(other, 0), first));
  EXPECT_EQ(reads_.size(), 10u) << "another seed";
  other = Augmented(14, 2);
  other.augment.hue = 0.5;
  EXPECT_FALSE(at::equal(Rows(other, 0), first));
  EXPECT_EQ(reads_.size(), 10u) << "another augmentation";
}

TEST_F(StoredActivationsTest, NeitherPicturesNorViewsThatAreNotKeptAreStored) {
  Rows(Options(0));
  Rows(Augmented(14, 0), 0);
  EXPECT_TRUE(Files().empty());
}

}  // namespace
}  // namespace graft

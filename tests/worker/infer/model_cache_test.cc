#include "worker/infer/model_cache.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "tests/support/tiny_backbone.h"
#include "tests/support/tiny_checkpoint.h"
#include "tests/worker/infer/test_calls.h"
#include "worker/infer/predictor.h"

namespace graft {
namespace {

using Loaded = absl::StatusOr<std::shared_ptr<const Predictor>>;

// A predictor of `classes` classes: (576 + 1) * classes * 4 bytes.
std::shared_ptr<const Predictor> Model(int classes = 2) {
  const auto backbone = TinyBackbone();
  return *Predictor::Load(SerializeCheckpoint(TinyCheckpoint(*backbone, 14, classes)), backbone);
}

constexpr int64_t kClassBytes = 577 * 4;

class ModelCacheTest : public testing::Test {
 protected:
  ModelCache::Loader Counting(std::shared_ptr<const Predictor> model) {
    return [this, model]() -> Loaded {
      ++loads_;
      return model;
    };
  }
  std::atomic<int> loads_{0};
  const std::shared_ptr<const Predictor> model_ = Model();
};

TEST_F(ModelCacheTest, LoadsOnceAndKeeps) {
  ModelCache cache(1 << 20);
  EXPECT_EQ(cache.Peek("a"), nullptr);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(*cache.Get("a", Counting(model_)), model_);
  EXPECT_EQ(loads_, 1);
  EXPECT_EQ(cache.Peek("a"), model_);
  EXPECT_EQ(cache.count(), 1);
  EXPECT_EQ(cache.size_bytes(), 2 * kClassBytes);
}

TEST_F(ModelCacheTest, ConcurrentMissesLoadOnce) {
  ModelCache cache(1 << 20);
  Gate gate;
  std::atomic<int> asking{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      ++asking;
      const Loaded got = cache.Get("a", [&]() -> Loaded {
        ++loads_;
        gate.Wait();
        return model_;
      });
      EXPECT_EQ(*got, model_);
    });
  }
  while (asking < 4 || loads_ < 1) std::this_thread::yield();
  EXPECT_EQ(cache.Peek("a"), nullptr) << "it never waits";
  EXPECT_EQ(cache.count(), 0);
  gate.Open();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(loads_, 1);
}

TEST_F(ModelCacheTest, LoadsOfDifferentKeysRunSideBySide) {
  ModelCache cache(1 << 20);
  Gate gate;
  std::thread slow([&] {
    EXPECT_TRUE(cache
                    .Get("slow",
                         [&]() -> Loaded {
                           ++loads_;
                           gate.Wait();
                           return model_;
                         })
                    .ok());
  });
  while (loads_ == 0) std::this_thread::yield();
  EXPECT_TRUE(cache.Get("fast", Counting(model_)).ok());
  gate.Open();
  slow.join();
}

TEST_F(ModelCacheTest, AFailedLoadReachesAllWaitersAndIsNotKept) {
  ModelCache cache(1 << 20);
  Gate gate;
  std::atomic<int> asking{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      ++asking;
      EXPECT_EQ(cache
                    .Get("a",
                         [&]() -> Loaded {
                           gate.Wait();
                           return absl::DataLossError("damaged");
                         })
                    .status(),
                absl::DataLossError("damaged"));
    });
  }
  while (asking < 3) std::this_thread::yield();
  gate.Open();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(cache.Peek("a"), nullptr);
  EXPECT_EQ(*cache.Get("a", Counting(model_)), model_);
  EXPECT_EQ(loads_, 1);
}

TEST_F(ModelCacheTest, TheLeastRecentlyUsedGoesFirst) {
  ModelCache cache(4 * kClassBytes);  // two models
  ASSERT_TRUE(cache.Get("a", Counting(Model())).ok());
  ASSERT_TRUE(cache.Get("b", Counting(Model())).ok());
  ASSERT_TRUE(cache.Get("a", Counting(model_)).ok());
  ASSERT_TRUE(cache.Get("c", Counting(Model())).ok());
  EXPECT_EQ(cache.Peek("b"), nullptr);
  EXPECT_NE(cache.Peek("a"), nullptr);
  EXPECT_NE(cache.Peek("c"), nullptr);
  ASSERT_NE(cache.Peek("a"), nullptr);  // a look is a use
  ASSERT_TRUE(cache.Get("d", Counting(Model())).ok());
  EXPECT_EQ(cache.Peek("c"), nullptr);
  EXPECT_EQ(cache.count(), 2);
  EXPECT_LE(cache.size_bytes(), 4 * kClassBytes);
}

TEST_F(ModelCacheTest, AnOldSmallModelDoesNotOutliveAYoungerLargeOne) {
  ModelCache cache(8 * kClassBytes);
  ASSERT_TRUE(cache.Get("small", Counting(Model(2))).ok());
  ASSERT_TRUE(cache.Get("large", Counting(Model(5))).ok());
  ASSERT_TRUE(cache.Get("new", Counting(Model(2))).ok());
  EXPECT_EQ(cache.Peek("small"), nullptr);
  EXPECT_NE(cache.Peek("large"), nullptr);
}

TEST_F(ModelCacheTest, TheNewestStaysEvenWhenTooLarge) {
  ModelCache cache(1);
  ASSERT_TRUE(cache.Get("a", Counting(model_)).ok());
  EXPECT_NE(cache.Peek("a"), nullptr);
  ASSERT_TRUE(cache.Get("b", Counting(model_)).ok());
  EXPECT_EQ(cache.Peek("a"), nullptr);
  EXPECT_NE(cache.Peek("b"), nullptr);
}

TEST_F(ModelCacheTest, EraseForgets) {
  ModelCache cache(1 << 20);
  cache.Erase("a");
  ASSERT_TRUE(cache.Get("a", Counting(model_)).ok());
  cache.Erase("a");
  EXPECT_EQ(cache.Peek("a"), nullptr);
  EXPECT_EQ(cache.count(), 0);
  ASSERT_TRUE(cache.Get("a", Counting(model_)).ok());
  EXPECT_EQ(loads_, 2);
}

TEST_F(ModelCacheTest, EraseDuringALoadLetsItFinishWithoutKeepingIt) {
  ModelCache cache(1 << 20);
  const Loaded got = cache.Get("a", [&]() -> Loaded {
    cache.Erase("a");
    return model_;
  });
  EXPECT_EQ(*got, model_);
  EXPECT_EQ(cache.Peek("a"), nullptr);
  EXPECT_EQ(cache.count(), 0);
}

TEST_F(ModelCacheTest, AnEvictedModelLivesWhileItIsHeld) {
  ModelCache cache(1);
  auto held = *cache.Get("a", Counting(Model()));
  ASSERT_TRUE(cache.Get("b", Counting(Model())).ok());
  EXPECT_EQ(held.use_count(), 1);
  EXPECT_EQ(held->class_names().size(), 2u);
}

}  // namespace
}  // namespace graft

#include "worker/base/worker_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"

namespace graft {
namespace {

WorkerPool::Options Threads(int threads) {
  WorkerPool::Options options;
  options.threads = threads;
  return options;
}

TEST(WorkerPoolTest, RunsEachIndexOnceOnAWorkerOfThePool) {
  WorkerPool pool(Threads(3));
  std::vector<std::atomic<int>> runs(1000);
  std::atomic<bool> worker_in_range{true};
  const absl::Status status = pool.ParallelFor(1000, [&](int worker, int64_t i) {
    if (worker < 0 || worker >= 3) worker_in_range = false;
    ++runs[i];
    return absl::OkStatus();
  });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_TRUE(worker_in_range);
  for (size_t i = 0; i < runs.size(); ++i) EXPECT_EQ(runs[i], 1) << i;
}

TEST(WorkerPoolTest, WhatABodyWroteIsSeenAfterwardsWithoutLocks) {
  WorkerPool pool(Threads(2));
  std::vector<int64_t> squares(200);
  ASSERT_TRUE(pool.ParallelFor(200,
                               [&](int, int64_t i) {
                                 squares[i] = i * i;
                                 return absl::OkStatus();
                               })
                  .ok());
  for (int64_t i = 0; i < 200; ++i) EXPECT_EQ(squares[i], i * i);
}

TEST(WorkerPoolTest, CountZeroReturnsWithoutACall) {
  WorkerPool pool(Threads(2));
  std::atomic<int> calls{0};
  EXPECT_TRUE(pool.ParallelFor(0,
                               [&](int, int64_t) {
                                 ++calls;
                                 return absl::OkStatus();
                               })
                  .ok());
  EXPECT_EQ(calls, 0);
}

// Both fail for certain: each waits until the other runs.
TEST(WorkerPoolTest, ErrorOfTheSmallestIndexIsReturned) {
  WorkerPool pool(Threads(2));
  for (int round = 0; round < 50; ++round) {
    std::atomic<int> running{0};
    const absl::Status status = pool.ParallelFor(2, [&](int, int64_t i) {
      ++running;
      while (running < 2) std::this_thread::yield();
      return absl::InvalidArgumentError(absl::StrCat("index ", i));
    });
    EXPECT_EQ(status, absl::InvalidArgumentError("index 0"));
  }
}

TEST(WorkerPoolTest, AfterAnErrorNoFurtherIndexStarts) {
  WorkerPool pool(Threads(1));
  std::atomic<int> calls{0};
  const absl::Status status = pool.ParallelFor(100, [&](int, int64_t i) {
    ++calls;
    return i == 3 ? absl::DataLossError("three") : absl::OkStatus();
  });
  EXPECT_EQ(status, absl::DataLossError("three"));
  EXPECT_EQ(calls, 4);
}

TEST(WorkerPoolTest, AnErrorDoesNotOutliveItsLoop) {
  WorkerPool pool(Threads(2));
  EXPECT_FALSE(pool.ParallelFor(5, [](int, int64_t) { return absl::InternalError("bad"); }).ok());
  std::atomic<int> calls{0};
  EXPECT_TRUE(pool.ParallelFor(5,
                               [&](int, int64_t) {
                                 ++calls;
                                 return absl::OkStatus();
                               })
                  .ok());
  EXPECT_EQ(calls, 5);
}

TEST(WorkerPoolTest, LoopsOfSeveralCallersDoNotMix) {
  WorkerPool pool(Threads(2));
  std::atomic<int> wrong{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&pool, &wrong, caller] {
      for (int round = 0; round < 50; ++round) {
        std::atomic<int> calls{0};
        const absl::Status status = pool.ParallelFor(10 + caller, [&](int, int64_t) {
          ++calls;
          return absl::OkStatus();
        });
        if (!status.ok() || calls != 10 + caller) ++wrong;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(wrong, 0);
}

TEST(WorkerPoolTest, CallsOnThreadStartOnceForEachThread) {
  std::atomic<int> starts{0};
  WorkerPool::Options options = Threads(3);
  options.on_thread_start = [&] { ++starts; };
  { WorkerPool pool(options); }
  EXPECT_EQ(starts, 3);
}

TEST(WorkerPoolTest, SizeIsTheNumberOfThreads) { EXPECT_EQ(WorkerPool(Threads(3)).size(), 3); }

TEST(WorkerPoolTest, IsDestroyedWhetherItWorkedOrNot) {
  { WorkerPool unused(Threads(4)); }
  WorkerPool used(Threads(4));
  EXPECT_TRUE(used.ParallelFor(1, [](int, int64_t) { return absl::OkStatus(); }).ok());
}

}  // namespace
}  // namespace graft

#include "server/rpc/executor.h"

#include <atomic>
#include <future>

#include "gtest/gtest.h"

namespace graft {
namespace {

TEST(ExecutorTest, RunsWhatItAcceptedBeforeItsDestructorReturns) {
  std::atomic<int> ran{0};
  int accepted = 0;
  {
    Executor executor({2, 1000});
    for (int i = 0; i < 500; ++i) accepted += executor.TryRun([&] { ++ran; });
  }
  EXPECT_EQ(accepted, 500);
  EXPECT_EQ(ran, 500);
}

TEST(ExecutorTest, FullQueueRefusesAtOnce) {
  std::promise<void> started, release;
  Executor executor({1, 1});
  ASSERT_TRUE(executor.TryRun([&] {
    started.set_value();
    release.get_future().wait();
  }));
  started.get_future().wait();
  EXPECT_TRUE(executor.TryRun([] {}));
  EXPECT_FALSE(executor.TryRun([] {}));
  release.set_value();
}

TEST(ExecutorTest, RunsOnSeveralThreads) {
  // Each task waits for the other: one thread would never end.
  std::promise<void> first, second;
  Executor executor({2, 10});
  executor.TryRun([&] {
    first.set_value();
    second.get_future().wait();
  });
  executor.TryRun([&] {
    first.get_future().wait();
    second.set_value();
  });
}

}  // namespace
}  // namespace graft

#include "worker/base/bounded_queue.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

namespace graft {
namespace {

TEST(BoundedQueueTest, IsFirstInFirstOut) {
  BoundedQueue<int> queue(3);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(queue.TryPush(i));
  EXPECT_EQ(queue.size(), 3u);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(queue.Pop(), i);
  EXPECT_EQ(queue.size(), 0u);
}

TEST(BoundedQueueTest, TryPushOnAFullQueueIsRefused) {
  BoundedQueue<int> queue(1);
  EXPECT_TRUE(queue.TryPush(1));
  EXPECT_FALSE(queue.TryPush(2));
  EXPECT_EQ(queue.Pop(), 1);
  EXPECT_TRUE(queue.TryPush(3));
}

TEST(BoundedQueueTest, PushWaitsForRoom) {
  BoundedQueue<int> queue(1);
  ASSERT_TRUE(queue.Push(1));
  std::thread producer([&] { EXPECT_TRUE(queue.Push(2)); });
  EXPECT_EQ(queue.Pop(), 1);
  EXPECT_EQ(queue.Pop(), 2);
  producer.join();
}

TEST(BoundedQueueTest, PopForGivesUpOnAnEmptyQueue) {
  BoundedQueue<int> queue(1);
  EXPECT_EQ(queue.PopFor(absl::Microseconds(1)), std::nullopt);
  ASSERT_TRUE(queue.Push(7));
  EXPECT_EQ(queue.PopFor(absl::Hours(1)), 7);
}

TEST(BoundedQueueTest, ClosedRefusesPushesAndHandsOutWhatIsLeft) {
  BoundedQueue<int> queue(3);
  ASSERT_TRUE(queue.Push(1));
  queue.Close();
  EXPECT_FALSE(queue.TryPush(2));
  EXPECT_FALSE(queue.Push(2));
  EXPECT_EQ(queue.Pop(), 1);
  EXPECT_EQ(queue.Pop(), std::nullopt);
  EXPECT_EQ(queue.PopFor(absl::Hours(1)), std::nullopt);
}

TEST(BoundedQueueTest, CloseWakesWaitingConsumersAndProducers) {
  BoundedQueue<int> empty(1), full(1);
  ASSERT_TRUE(full.Push(1));
  std::thread consumer([&] { EXPECT_EQ(empty.Pop(), std::nullopt); });
  std::thread producer([&] { EXPECT_FALSE(full.Push(2)); });
  empty.Close();
  full.Close();
  consumer.join();
  producer.join();
}

TEST(BoundedQueueTest, CarriesWhatCanOnlyBeMoved) {
  BoundedQueue<std::unique_ptr<int>> queue(1);
  ASSERT_TRUE(queue.Push(std::make_unique<int>(5)));
  EXPECT_EQ(**queue.Pop(), 5);
}

TEST(BoundedQueueTest, ManyProducersAndConsumersLoseAndDoubleNothing) {
  constexpr int kEach = 2000;
  BoundedQueue<int> queue(4);
  std::vector<std::atomic<int>> seen(3 * kEach);
  std::vector<std::thread> producers, consumers;
  for (int p = 0; p < 3; ++p) {
    producers.emplace_back([&queue, p] {
      for (int i = 0; i < kEach; ++i) ASSERT_TRUE(queue.Push(p * kEach + i));
    });
  }
  for (int c = 0; c < 3; ++c) {
    consumers.emplace_back([&] {
      while (const auto value = queue.Pop()) ++seen[*value];
    });
  }
  for (std::thread& producer : producers) producer.join();
  queue.Close();
  for (std::thread& consumer : consumers) consumer.join();
  for (size_t i = 0; i < seen.size(); ++i) ASSERT_EQ(seen[i], 1) << i;
}

}  // namespace
}  // namespace graft

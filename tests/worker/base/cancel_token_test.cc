#include "worker/base/cancel_token.h"

#include <gtest/gtest.h>

#include <thread>

namespace graft {
namespace {

TEST(CancelTokenTest, StartsOff) {
  const CancelToken token;
  EXPECT_FALSE(token.stopped());
  EXPECT_EQ(token.reason(), StopReason::kNone);
  EXPECT_TRUE(token.status().ok());
}

TEST(CancelTokenTest, CopiesShareTheSwitch) {
  CancelToken token;
  const CancelToken copy = token;
  token.Stop(StopReason::kDrain);
  EXPECT_TRUE(copy.stopped());
  EXPECT_EQ(copy.reason(), StopReason::kDrain);
  EXPECT_EQ(copy.status().code(), absl::StatusCode::kCancelled);
}

TEST(CancelTokenTest, TheFirstReasonStays) {
  CancelToken token;
  token.Stop(StopReason::kLeaseLost);
  token.Stop(StopReason::kCancelled);
  EXPECT_EQ(token.reason(), StopReason::kLeaseLost);
}

TEST(CancelTokenTest, IsSeenByAnotherThread) {
  CancelToken token;
  std::thread worker([token] {
    while (!token.stopped()) std::this_thread::yield();
  });
  token.Stop(StopReason::kCancelled);
  worker.join();
}

}  // namespace
}  // namespace graft

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

TEST(CancelTokenTest, ADeadlineIsOfACopyAlone) {
  FakeClock clock;
  const CancelToken token;
  const CancelToken limited = token.Until(&clock, clock.Now() + absl::Seconds(2));
  clock.Advance(absl::Seconds(1));
  EXPECT_TRUE(limited.status().ok());
  clock.Advance(absl::Seconds(1));
  EXPECT_EQ(limited.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_FALSE(limited.stopped()) << "nobody switched it";
  EXPECT_TRUE(token.status().ok());
}

TEST(CancelTokenTest, TheSwitchComesBeforeTheDeadline) {
  FakeClock clock;
  CancelToken token;
  const CancelToken limited = token.Until(&clock, clock.Now());
  token.Stop(StopReason::kDrain);
  EXPECT_EQ(limited.status().code(), absl::StatusCode::kCancelled);
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

#include "server/rpc/chunk_pipe.h"

#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace graft {
namespace {

TEST(ChunkPipeTest, GivesChunksInOrderAndThenTheEnd) {
  ChunkPipe pipe({}, [] {});
  EXPECT_TRUE(pipe.Offer("a"));
  EXPECT_TRUE(pipe.Offer("b"));
  pipe.Close(absl::OkStatus());
  EXPECT_EQ(*pipe.Pop(), "a");
  EXPECT_EQ(*pipe.Pop(), "b");
  EXPECT_EQ(*pipe.Pop(), "");
  EXPECT_EQ(*pipe.Pop(), "");
}

TEST(ChunkPipeTest, FullPipeTakesTheChunkAndAsksOnceForTheNext) {
  int room = 0;
  ChunkPipe pipe({2, absl::Minutes(1)}, [&] { ++room; });
  EXPECT_TRUE(pipe.Offer("a"));
  EXPECT_FALSE(pipe.Offer("b"));
  EXPECT_EQ(room, 0);
  EXPECT_EQ(*pipe.Pop(), "a");
  EXPECT_EQ(room, 1);
  EXPECT_EQ(*pipe.Pop(), "b");
  EXPECT_EQ(room, 1);
}

TEST(ChunkPipeTest, ErrorDropsWhatIsLeft) {
  ChunkPipe pipe({}, [] {});
  pipe.Offer("a");
  pipe.Close(absl::CancelledError("gone"));
  pipe.Close(absl::OkStatus());
  EXPECT_EQ(pipe.Pop().status(), absl::CancelledError("gone"));
}

TEST(ChunkPipeTest, ClosedPipeTakesNoChunkAndAsksForNone) {
  int room = 0;
  ChunkPipe pipe({1, absl::Minutes(1)}, [&] { ++room; });
  EXPECT_FALSE(pipe.Offer("a"));
  pipe.Close(absl::OkStatus());
  EXPECT_FALSE(pipe.Offer("b"));
  EXPECT_EQ(*pipe.Pop(), "a");
  EXPECT_EQ(*pipe.Pop(), "");
  EXPECT_EQ(room, 0);
}

TEST(ChunkPipeTest, SilenceIsDeadlineExceeded) {
  ChunkPipe pipe({8, absl::Milliseconds(1)}, [] {});
  EXPECT_TRUE(absl::IsDeadlineExceeded(pipe.Pop().status()));
}

TEST(ChunkPipeTest, ProducerThatWaitsForRoomLosesNothing) {
  constexpr int kChunks = 10'000;
  int sent = 0;
  ChunkPipe* target = nullptr;
  // on_room continues the producer, as the next read does.
  const auto produce = [&] {
    while (sent < kChunks && target->Offer(absl::StrCat(sent++, "."))) {
    }
    if (sent == kChunks) target->Close(absl::OkStatus());
  };
  ChunkPipe pipe({3, absl::Minutes(1)}, produce);
  target = &pipe;
  std::thread producer(produce);
  int received = 0;
  for (auto chunk = pipe.Pop(); chunk.ok() && !chunk->empty(); chunk = pipe.Pop())
    EXPECT_EQ(*chunk, absl::StrCat(received++, "."));
  producer.join();
  EXPECT_EQ(received, kChunks);
}

}  // namespace
}  // namespace graft

#include "server/rpc/validate.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/rpc/limits.h"
#include "server/rpc/slots.h"

namespace graft {
namespace {

TEST(ParsePageTest, ZeroIsTheDefault) {
  EXPECT_EQ(ParsePage(0, "")->size, 50);
  EXPECT_EQ(ParsePage(1000, "next")->size, 1000);
  EXPECT_EQ(ParsePage(1000, "next")->token, "next");
}

TEST(ParsePageTest, OutOfRangeIsInvalid) {
  for (const int size : {-1, 1001})
    EXPECT_THAT(std::string(ParsePage(size, "").status().message()), testing::HasSubstr("page_size: got"));
}

TEST(ValidateTest, ClassifyListsAllViolations) {
  v1::ClassifyRequest request;
  request.set_top_k(-1);
  EXPECT_EQ(Validate(request, Limits()).message(),
            "model: got nothing, want \"name\", \"name@alias\", \"name/version\" or \"backbone/name\"\n"
            "images: got 0, want 1 to 64\n"
            "top_k: got -1, want >= 0");
}

TEST(ValidateTest, ClassifyNamesThePictureThatIsTooLarge) {
  Limits limits;
  limits.ingest.image.max_bytes = 3;
  v1::ClassifyRequest request;
  request.set_model("flowers");
  request.add_images("123");
  EXPECT_TRUE(Validate(request, limits).ok());
  request.add_images("1234");
  request.add_images("");
  EXPECT_EQ(Validate(request, limits).message(),
            "images[1]: got 4 bytes, want 1 to 3\nimages[2]: got 0 bytes, want 1 to 3");
}

TEST(ValidateTest, AliasStartsWithALetter) {
  v1::SetAliasRequest request;
  request.set_name("flowers");
  request.set_alias("canary");
  EXPECT_TRUE(Validate(request).ok());
  for (const char* alias : {"", "3", "-", "Canary"}) {
    request.set_alias(alias);
    EXPECT_THAT(std::string(Validate(request).message()), testing::StartsWith("alias: got"));
  }
}

TEST(ValidateTest, DeletedVersionIsPositive) {
  v1::DeleteModelVersionRequest request;
  request.set_name("flowers");
  EXPECT_EQ(Validate(request).message(), "version: got 0, want >= 1");
}

TEST(ValidateTest, ChunkSizes) {
  const Limits limits;
  EXPECT_TRUE(ValidateChunk(1, limits).ok());
  EXPECT_TRUE(ValidateChunk(2 << 20, limits).ok());
  EXPECT_EQ(ValidateChunk(0, limits).message(), "chunk: got 0 bytes, want 1 to 2097152");
  EXPECT_EQ(ValidateChunk(3 << 20, limits).message(), "chunk: got 3145728 bytes, want 1 to 2097152");
}

TEST(LimitsTest, DefaultsAreValid) { EXPECT_TRUE(Limits().Validate().ok()); }

TEST(LimitsTest, AllViolationsInOneAnswer) {
  Limits limits;
  limits.max_images_per_request = 0;
  limits.max_request_bytes = 1;
  const std::string message(limits.Validate().message());
  EXPECT_THAT(message, testing::HasSubstr("max_images_per_request: got 0, want > 0"));
  EXPECT_THAT(message, testing::HasSubstr("max_request_bytes: got 1, want"));
}

TEST(SlotsTest, ASlotThatIsGivenBackIsFree) {
  Slots slots(2);
  auto first = slots.TryTake();
  const auto second = slots.TryTake();
  EXPECT_NE(second, nullptr);
  EXPECT_EQ(slots.TryTake(), nullptr);
  first.reset();
  EXPECT_NE(slots.TryTake(), nullptr);
}

}  // namespace
}  // namespace graft

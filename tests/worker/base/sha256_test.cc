#include "worker/base/sha256.h"

#include <gtest/gtest.h>

namespace graft {
namespace {

std::string Digest(absl::string_view bytes) {
  Sha256 sha;
  sha.Update(bytes);
  return sha.Finish();
}

// Vectors of FIPS 180-4 (NIST, "Examples with Intermediate Values", SHA-256).
TEST(Sha256Test, KnownVectors) {
  EXPECT_EQ(Digest(""), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(Digest("abc"), "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(Digest("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "sha256:248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(Digest(std::string(1'000'000, 'a')),
            "sha256:cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256Test, PiecesGiveTheDigestOfTheWhole) {
  Sha256 sha;
  for (const char* piece : {"a", "", "bc"}) sha.Update(piece);
  EXPECT_EQ(sha.Finish(), Digest("abc"));
}

}  // namespace
}  // namespace graft

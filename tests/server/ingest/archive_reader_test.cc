#include "server/ingest/archive_reader.h"

#include <sys/resource.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/server/ingest/test_archives.h"

namespace graft {
namespace {

constexpr ArchiveLimits kLimits{100'000, int64_t{1} << 40};

std::unique_ptr<ArchiveReader> Open(std::string bytes) {
  auto reader = ArchiveReader::Create(InPieces(std::move(bytes)), kLimits);
  GRAFT_CHECK(reader.ok());
  return *std::move(reader);
}

// Opens the next entry, whose path is `path`.
void ExpectEntry(ArchiveReader& reader, const std::string& path) {
  auto entry = reader.Next();
  ASSERT_TRUE(entry.ok()) << entry.status();
  ASSERT_TRUE(entry->has_value());
  EXPECT_EQ((*entry)->path, path);
}

TEST(ArchiveReaderTest, ReadsOrSkipsEachEntry) {
  for (const Packing packing : {Packing::kZip, Packing::kTar, Packing::kTarGz}) {
    auto reader = Open(Pack(packing, {{"a/", "", AE_IFDIR}, {"a/1", "one"}, {"2", "two"}, {"3", ""}, {"4", "four"}}));
    auto folder = reader->Next();
    ASSERT_TRUE(folder.ok()) << folder.status();
    EXPECT_TRUE((*folder)->is_folder);
    ExpectEntry(*reader, "a/1");
    EXPECT_EQ(reader->Read(3).value_or(std::nullopt), "one");
    ExpectEntry(*reader, "2");  // not read
    ExpectEntry(*reader, "3");
    EXPECT_EQ(reader->Read(0).value_or(std::nullopt), "");
    ExpectEntry(*reader, "4");
    EXPECT_EQ(reader->Read(3).value_or("failed"), std::nullopt);
    auto end = reader->Next();
    ASSERT_TRUE(end.ok()) << end.status();
    EXPECT_FALSE(end->has_value());
  }
}

// As programs write it that cannot seek.
TEST(ArchiveReaderTest, ReadsAZipThatHasItsSizesBehindTheData) {
  const std::string zip("PK\3\4\x14\0\x08\0\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0"
                        "a\x4B\x04\0"                           // "a", deflated
                        "PK\7\x08\x43\xBE\xB7\xE8\x03\0\0\0\x01\0\0\0"
                        "PK\1\2\x14\0\x14\0\x08\0\x08\0\0\0\0\0\x43\xBE\xB7\xE8\x03\0\0\0\x01\0\0\0"
                        "\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0a"
                        "PK\5\6\0\0\0\0\x01\0\x01\0\x2F\0\0\0\x32\0\0\0\0\0",
                        30 + 4 + 16 + 47 + 22);
  auto reader = Open(zip);
  ExpectEntry(*reader, "a");
  EXPECT_EQ(reader->Read(10).value_or(std::nullopt), "a");
  auto end = reader->Next();
  ASSERT_TRUE(end.ok()) << end.status();
  EXPECT_FALSE(end->has_value());
}

int64_t PeakBytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} << 10;
}

// 800 MB of entries, generated while they are read. AddressSanitizer keeps 256 MiB of what was freed.
TEST(ArchiveReaderTest, ArchiveMayBeLargerThanMemory) {
  constexpr int kEntries = 800;
  const std::string body(1'000'000, 'x');
  const std::string closing(1024, '\0');
  int64_t given = 0;
  int next = 0;
  const ArchiveSource source = [&]() -> absl::StatusOr<std::string> {
    if (next > kEntries) return std::string();
    std::string piece = next == kEntries ? closing : Pack(Packing::kTar, {{absl::StrCat(next), body}});
    if (next < kEntries) piece.resize(piece.size() - closing.size());  // one archive of them all
    ++next;
    given += static_cast<int64_t>(piece.size());
    return piece;
  };
  const int64_t before = PeakBytes();
  auto reader = ArchiveReader::Create(source, kLimits);
  ASSERT_TRUE(reader.ok()) << reader.status();
  for (int i = 0; i < kEntries; ++i) {
    ExpectEntry(**reader, absl::StrCat(i));
    auto data = (*reader)->Read(static_cast<int64_t>(body.size()));
    ASSERT_TRUE(data.ok()) << data.status();
    ASSERT_EQ(*data, body);
  }
  auto end = (*reader)->Next();
  ASSERT_TRUE(end.ok()) << end.status();
  EXPECT_FALSE(end->has_value());
  EXPECT_GT(given, 800'000'000);
  EXPECT_LT(PeakBytes() - before, 400 << 20);
}

TEST(ArchiveReaderTest, HolesOfASparseTarAreZeros) {
  // GNU sparse, old format: 3 bytes at 0 and 3 bytes at 1000, of 1003.
  std::string header(512, '\0');
  const auto put = [&](size_t at, const std::string& text) { header.replace(at, text.size(), text); };
  put(0, "sparse");
  put(100, "0000644");
  put(108, "0000000");
  put(116, "0000000");
  put(124, "00000000006");
  put(136, "00000000000");
  put(156, "S");
  put(257, "ustar  ");
  put(386, "00000000000");
  put(398, "00000000003");
  put(410, "00000001750");
  put(422, "00000000003");
  put(483, "00000001753");
  put(148, "        ");
  unsigned sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  std::string digits(6, '0');
  for (int i = 5; i >= 0; --i, sum >>= 3) digits[i] = static_cast<char>('0' + (sum & 7));
  put(148, digits + std::string(1, '\0'));
  std::string data = "abcdef";
  data.resize(512, '\0');
  auto reader = Open(header + data + std::string(1024, '\0'));
  ExpectEntry(*reader, "sparse");
  EXPECT_EQ(reader->Read(2000).value_or(std::nullopt), "abc" + std::string(997, '\0') + "def");
}

}  // namespace
}  // namespace graft

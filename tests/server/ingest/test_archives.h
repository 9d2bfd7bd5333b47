#pragma once

#include <archive.h>
#include <archive_entry.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "server/ingest/archive_reader.h"
#include "worker/base/status.h"

namespace graft {

// An 8x8 picture, another one for each seed.
inline std::string Bmp(uint32_t seed) {
  std::string bytes("BM\xF6\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x08\0\0\0\x08\0\0\0\x01\0\x18\0", 30);
  bytes.resize(54, '\0');
  for (uint32_t i = 0; i < 8 * 8 * 3; ++i) bytes.push_back(static_cast<char>(i < 4 ? seed >> (8 * i) : i * 7));
  return bytes;
}

enum class Packing { kZip, kTar, kTarGz };

struct TestEntry {
  std::string name;
  std::string bytes;
  unsigned type = AE_IFREG;
  std::string link_target = "";  // of AE_IFLNK; of AE_IFREG: a hard link
};

inline la_ssize_t AppendTo(archive*, void* out, const void* bytes, size_t size) {
  static_cast<std::string*>(out)->append(static_cast<const char*>(bytes), size);
  return static_cast<la_ssize_t>(size);
}

inline void WriteEntry(archive* a, const TestEntry& entry) {
  const std::unique_ptr<archive_entry, void (*)(archive_entry*)> header(archive_entry_new(), archive_entry_free);
  archive_entry_set_pathname(header.get(), entry.name.c_str());
  archive_entry_set_filetype(header.get(), entry.type);
  archive_entry_set_perm(header.get(), 0644);
  archive_entry_set_size(header.get(), static_cast<la_int64_t>(entry.bytes.size()));
  if (entry.type == AE_IFLNK) archive_entry_set_symlink(header.get(), entry.link_target.c_str());
  if (entry.type == AE_IFREG && !entry.link_target.empty())
    archive_entry_set_hardlink(header.get(), entry.link_target.c_str());
  GRAFT_CHECK(archive_write_header(a, header.get()) >= ARCHIVE_WARN);
  if (!entry.bytes.empty())
    GRAFT_CHECK(archive_write_data(a, entry.bytes.data(), entry.bytes.size()) ==
                static_cast<la_ssize_t>(entry.bytes.size()));
}

inline std::string Pack(Packing packing, const std::vector<TestEntry>& entries, const char* password = nullptr) {
  std::string out;
  archive* a = archive_write_new();
  archive_write_set_bytes_in_last_block(a, 1);
  if (packing == Packing::kZip) {
    archive_write_set_format_zip(a);
    if (password != nullptr) {
      archive_write_set_options(a, "zip:encryption=aes256");
      archive_write_set_passphrase(a, password);
    }
  } else {
    archive_write_set_format_pax_restricted(a);
    if (packing == Packing::kTarGz) archive_write_add_filter_gzip(a);
  }
  GRAFT_CHECK(archive_write_open(a, &out, nullptr, AppendTo, nullptr) == ARCHIVE_OK);
  for (const TestEntry& entry : entries) WriteEntry(a, entry);
  GRAFT_CHECK(archive_write_close(a) == ARCHIVE_OK);
  archive_write_free(a);
  return out;
}

// Gives `bytes` in pieces.
inline ArchiveSource InPieces(std::string bytes, size_t piece_bytes = 64 << 10) {
  return [bytes = std::move(bytes), piece_bytes, pos = size_t{0}]() mutable -> absl::StatusOr<std::string> {
    std::string piece = bytes.substr(pos, piece_bytes);
    pos += piece.size();
    return piece;
  };
}

}  // namespace graft

#pragma once

#include <archive.h>
#include <archive_entry.h>

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace graft {

// Names and contents of a tar, in order, as libarchive reads them back. Empty when it cannot.
inline std::vector<std::pair<std::string, std::string>> ReadTar(const std::string& tar) {
  std::vector<std::pair<std::string, std::string>> files;
  archive* in = archive_read_new();
  archive_read_support_format_tar(in);
  archive_entry* entry = nullptr;
  if (archive_read_open_memory(in, tar.data(), tar.size()) == ARCHIVE_OK) {
    while (archive_read_next_header(in, &entry) == ARCHIVE_OK) {
      std::string content(static_cast<size_t>(archive_entry_size(entry)), '\0');
      const la_ssize_t got = archive_read_data(in, content.data(), content.size());
      content.resize(got < 0 ? 0 : static_cast<size_t>(got));
      files.emplace_back(archive_entry_pathname(entry), std::move(content));
    }
  }
  archive_read_free(in);
  return files;
}

}  // namespace graft

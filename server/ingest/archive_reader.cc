#include "server/ingest/archive_reader.h"

#include <archive.h>
#include <archive_entry.h>
#include <locale.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/ingest/entry_path.h"
#include "server/ingest/names.h"
#include "worker/base/status.h"

namespace graft {
namespace {

// Pictures and photos hardly compress; 200 is beyond what any data set reaches in sum, deflate's own limit is 1032.
constexpr int64_t kMaxRatio = 200;
constexpr int64_t kRatioFreeBytes = 64 << 20;
constexpr size_t kZipEndBytes = 22;                    // APPNOTE.TXT 4.3.16: end of central directory, without comment
constexpr size_t kTailBytes = kZipEndBytes + 0xFFFF;   // the longest comment
constexpr size_t kTarBlockBytes = 512;

// libarchive turns names into the thread's locale; in "C" it loses everything outside ASCII.
class Utf8Locale {
 public:
  Utf8Locale() : before_(uselocale(Utf8())) {}
  ~Utf8Locale() { uselocale(before_); }
  Utf8Locale(const Utf8Locale&) = delete;
  Utf8Locale& operator=(const Utf8Locale&) = delete;

 private:
  static locale_t Utf8() {
    static const locale_t locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", locale_t{});
    return locale;  // null when there is none: uselocale() then changes nothing
  }
  const locale_t before_;
};

absl::string_view KindFault(archive_entry* entry) {
  if (archive_entry_is_encrypted(entry) != 0) return "an encrypted entry";
  if (archive_entry_hardlink(entry) != nullptr || archive_entry_filetype(entry) == AE_IFLNK) return "a link";
  if (archive_entry_filetype(entry) != AE_IFREG && archive_entry_filetype(entry) != AE_IFDIR) return "a device";
  return "";
}

}  // namespace

void ArchiveReader::Free::operator()(archive* a) const { archive_read_free(a); }

ArchiveReader::ArchiveReader(ArchiveSource source, const ArchiveLimits& limits, archive* a)
    : source_(std::move(source)), limits_(limits), archive_(a) {}

absl::StatusOr<std::unique_ptr<ArchiveReader>> ArchiveReader::Create(ArchiveSource source,
                                                                     const ArchiveLimits& limits) {
  archive* a = archive_read_new();
  if (a == nullptr) return absl::ResourceExhaustedError("archive: out of memory");
  std::unique_ptr<ArchiveReader> reader(new ArchiveReader(std::move(source), limits, a));
  archive_read_support_filter_gzip(a);
  archive_read_support_format_tar(a);
  archive_read_support_format_zip_streamable(a);
  const Utf8Locale locale;
  if (archive_read_open(a, reader.get(), nullptr, &ArchiveReader::OnRead, nullptr) != ARCHIVE_OK)
    return reader->Failure("archive");
  return reader;
}

absl::StatusOr<std::optional<ArchiveEntry>> ArchiveReader::Next() {
  if (entry_open_) RETURN_IF_ERROR(Read(0).status());
  const Utf8Locale locale;
  archive_entry* entry = nullptr;
  const int result = archive_read_next_header(archive_.get(), &entry);
  if (result == ARCHIVE_EOF) {
    RETURN_IF_ERROR(CheckFormat());
    RETURN_IF_ERROR(Finish());
    return std::nullopt;
  }
  // A warning is about what we do not use (times, owners), or about a name, which is checked below.
  if (result != ARCHIVE_OK && result != ARCHIVE_WARN)
    return Failure(entries_ == 0 ? "archive" : absl::StrCat("archive, after \"", entry_name_, "\""));
  RETURN_IF_ERROR(CheckFormat());
  RETURN_IF_ERROR(CheckBomb());
  if (++entries_ > limits_.max_entries)
    return absl::InvalidArgumentError(
        absl::StrCat("archive: got more than ", limits_.max_entries, " entries, want at most that many"));
  ASSIGN_OR_RETURN(ArchiveEntry checked, CheckEntry(entry));
  entry_open_ = true;
  return checked;
}

absl::StatusOr<std::optional<std::string>> ArchiveReader::Read(int64_t max_bytes) {
  GRAFT_CHECK(entry_open_);
  entry_open_ = false;
  std::string data;
  bool fits = true;
  while (true) {
    const void* block = nullptr;
    size_t size = 0;
    la_int64_t offset = 0;  // sparse tars leave holes
    const int result = archive_read_data_block(archive_.get(), &block, &size, &offset);
    if (result == ARCHIVE_EOF) break;
    if (result != ARCHIVE_OK || offset < 0) return Failure(absl::StrCat("archive: entry \"", entry_name_, "\""));
    RETURN_IF_ERROR(CountEntryBytes(static_cast<int64_t>(size)));
    fits = fits && offset <= max_bytes && static_cast<int64_t>(size) <= max_bytes - offset;
    if (!fits || size == 0) continue;
    data.resize(static_cast<size_t>(offset), '\0');
    data.append(static_cast<const char*>(block), size);
  }
  if (!fits) return std::nullopt;
  return data;
}

ssize_t ArchiveReader::OnRead(archive*, void* self, const void** bytes) {
  return static_cast<ArchiveReader*>(self)->PullForArchive(bytes);
}

ssize_t ArchiveReader::PullForArchive(const void** bytes) {
  source_status_ = Pull();
  // Here too, because a gzip may expand to something that never becomes an entry.
  if (source_status_.ok()) source_status_ = CheckBomb();
  if (!source_status_.ok()) {
    archive_set_error(archive_.get(), EIO, "the source failed");
    return -1;
  }
  *bytes = chunk_.data();
  return static_cast<ssize_t>(chunk_.size());
}

absl::Status ArchiveReader::Pull() {
  chunk_.clear();
  if (source_ended_) return absl::OkStatus();
  ASSIGN_OR_RETURN(chunk_, source_());
  source_ended_ = chunk_.empty();
  received_bytes_ += static_cast<int64_t>(chunk_.size());
  tail_.append(chunk_, chunk_.size() - std::min(chunk_.size(), kTailBytes));
  if (tail_.size() > 4 * kTailBytes) tail_.erase(0, tail_.size() - kTailBytes);
  return absl::OkStatus();
}

absl::Status ArchiveReader::Failure(absl::string_view where) const {
  RETURN_IF_ERROR(source_status_);
  if (archive_errno(archive_.get()) == ENOMEM) return absl::ResourceExhaustedError("archive: out of memory");
  if (entries_ == 0 && archive_format(archive_.get()) == 0)
    return absl::InvalidArgumentError("archive: got something else, want a zip, tar or tar.gz");
  const char* reason = archive_error_string(archive_.get());
  return absl::InvalidArgumentError(
      absl::StrCat(where, ": damaged: ", Printable(reason == nullptr ? "unknown reason" : reason)));
}

absl::Status ArchiveReader::CheckFormat() const {
  const bool is_tar = (archive_format(archive_.get()) & ARCHIVE_FORMAT_BASE_MASK) == ARCHIVE_FORMAT_TAR;
  // libarchive takes gzip in gzip, 25 deep; its count includes the source itself.
  if (archive_filter_count(archive_.get()) <= (is_tar ? 2 : 1)) return absl::OkStatus();
  return absl::InvalidArgumentError("archive: got a gzip of something else than a tar, want a zip, tar or tar.gz");
}

absl::StatusOr<ArchiveEntry> ArchiveReader::CheckEntry(archive_entry* entry) {
  const char* name = archive_entry_pathname(entry);
  if (name == nullptr)
    return absl::InvalidArgumentError(absl::StrCat("archive: entry ", entries_, ": got a name that is no text"));
  entry_name_ = Printable(name);
  ArchiveEntry checked;
  ASSIGN_OR_RETURN(checked.path, NormalizeEntryPath(name));
  checked.is_folder = archive_entry_filetype(entry) == AE_IFDIR;
  const absl::string_view fault = KindFault(entry);
  if (fault.empty()) return checked;
  return absl::InvalidArgumentError(
      absl::StrCat("archive: entry \"", entry_name_, "\": got ", fault, ", want files and folders"));
}

absl::Status ArchiveReader::CheckBomb() const {
  const int64_t expanded = std::max<int64_t>(entry_bytes_, archive_filter_bytes(archive_.get(), 0));
  if (expanded <= kRatioFreeBytes || expanded / kMaxRatio <= received_bytes_) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("archive: got ", expanded, " bytes out of ", received_bytes_,
                                                 ", want at most ", kMaxRatio, " times its size: a compression bomb"));
}

absl::Status ArchiveReader::CountEntryBytes(int64_t bytes) {
  entry_bytes_ += bytes;
  if (entry_bytes_ > limits_.max_total_bytes)
    return absl::InvalidArgumentError(absl::StrCat("archive: got more than ", limits_.max_total_bytes,
                                                   " bytes decompressed, want at most that many"));
  return CheckBomb();
}

absl::Status ArchiveReader::Finish() {
  while (!source_ended_) RETURN_IF_ERROR(Pull());
  if (archive_format(archive_.get()) == ARCHIVE_FORMAT_ZIP) return CheckZipEnd();
  // libarchive takes the end of the file for the end of a tar; a tar ends in two blocks of zeros. A gzip's own end was
  // checked on the way.
  if (archive_filter_count(archive_.get()) > 1) return absl::OkStatus();
  const absl::string_view tail(tail_);
  const absl::string_view last = tail.substr(tail.size() - std::min(tail.size(), kTarBlockBytes));
  if (last.find_first_not_of('\0') == absl::string_view::npos) return absl::OkStatus();
  return absl::InvalidArgumentError("archive: truncated: a tar ends in blocks of zeros");
}

// A zip read from its front ends where its directory begins; only the directory's own end shows that it is whole.
// Source: APPNOTE.TXT 4.3.16.
absl::Status ArchiveReader::CheckZipEnd() const {
  const absl::string_view tail(tail_);
  const size_t end = tail.rfind(absl::string_view("PK\5\6", 4));
  if (end == absl::string_view::npos || tail.size() - end < kZipEndBytes)
    return absl::InvalidArgumentError("archive: truncated: the zip's directory has no end");
  const int64_t listed = static_cast<uint8_t>(tail[end + 10]) | static_cast<uint8_t>(tail[end + 11]) << 8;
  if (listed == 0xFFFF || listed == entries_) return absl::OkStatus();  // 0xFFFF: zip64 has it elsewhere
  return absl::InvalidArgumentError(
      absl::StrCat("archive: damaged: got ", entries_, " entries, want the ", listed, " of the zip's directory"));
}

}  // namespace graft

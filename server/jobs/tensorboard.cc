#include "server/jobs/tensorboard.h"

#include <fcntl.h>
#include <unistd.h>

#include <boost/crc.hpp>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/io/coded_stream.h"
#include "server/write_all.h"
#include "tensorboard/event.pb.h"
#include "worker/base/status.h"

namespace graft {
namespace {

using google::protobuf::io::CodedOutputStream;

constexpr char kFileVersion[] = "brain.Event:2";  // tensorflow/core/util/events_writer.h
constexpr char kTextPlugin[] = "text";            // tensorboard/plugins/text/metadata.py

// CRC-32C (Castagnoli et al. 1993), with the parameters of RFC 3720, section 12.1.
using Crc32c = boost::crc_optimal<32, 0x1EDC6F41, 0xFFFFFFFF, 0xFFFFFFFF, true, true>;

// tensorflow/core/lib/hash/crc32c.h: a CRC is masked so that the CRC of data that contains CRCs stays a good one.
uint32_t MaskedCrc(absl::string_view bytes) {
  Crc32c crc;
  crc.process_bytes(bytes.data(), bytes.size());
  const uint32_t sum = static_cast<uint32_t>(crc.checksum());
  return ((sum >> 15) | (sum << 17)) + 0xa282ead8u;
}

std::string LittleEndian32(uint32_t value) {
  uint8_t bytes[4];
  CodedOutputStream::WriteLittleEndian32ToArray(value, bytes);
  return std::string(bytes, bytes + sizeof(bytes));
}

std::string LittleEndian64(uint64_t value) {
  uint8_t bytes[8];
  CodedOutputStream::WriteLittleEndian64ToArray(value, bytes);
  return std::string(bytes, bytes + sizeof(bytes));
}

std::string TfRecord(absl::string_view data) {
  const std::string length = LittleEndian64(data.size());
  return absl::StrCat(length, LittleEndian32(MaskedCrc(length)), data, LittleEndian32(MaskedCrc(data)));
}

absl::Status FileError(absl::string_view what, int error) {
  const std::string message = absl::StrCat("TensorBoard file: cannot ", what, ": ", std::strerror(error));
  // EFBIG: the most that this process may write to a file.
  if (error == ENOSPC || error == EDQUOT || error == EFBIG) return absl::ResourceExhaustedError(message);
  return absl::InternalError(message);
}

// A file that was not there before; `path` becomes its name: as given, or with the first free ".1", ".2", ...
absl::StatusOr<int> CreateNewFile(std::string& path) {
  const std::string first = path;
  for (int n = 1;; ++n) {
    const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0644);
    if (file >= 0) return file;
    if (errno != EEXIST) return FileError("create", errno);
    path = absl::StrCat(first, ".", n);
  }
}

tensorboard::Event EventAt(absl::Time time) {
  tensorboard::Event event;
  event.set_wall_time(absl::ToDoubleSeconds(time - absl::UnixEpoch()));
  return event;
}

}  // namespace

absl::StatusOr<std::unique_ptr<TensorBoardWriter>> TensorBoardWriter::Open(const std::string& directory,
                                                                           absl::Time now) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) return FileError("make its directory", error.value());
  std::string path = absl::StrFormat("%s/events.out.tfevents.%010d.graft", directory, absl::ToUnixSeconds(now));
  ASSIGN_OR_RETURN(const int file, CreateNewFile(path));
  auto writer = absl::WrapUnique(new TensorBoardWriter(file));
  tensorboard::Event event = EventAt(now);
  event.set_file_version(kFileVersion);
  if (absl::Status status = writer->Append(event); !status.ok()) {
    ::unlink(path.c_str());
    return status;
  }
  return writer;
}

TensorBoardWriter::~TensorBoardWriter() { ::close(file_); }

absl::Status TensorBoardWriter::AddScalars(int64_t step, absl::Time time,
                                           const std::vector<std::pair<std::string, double>>& values) {
  tensorboard::Event event = EventAt(time);
  event.set_step(step);
  tensorboard::Summary& summary = *event.mutable_summary();
  for (const auto& [tag, value] : values) {
    tensorboard::Summary::Value& point = *summary.add_value();
    point.set_tag(tag);
    point.set_simple_value(static_cast<float>(value));
  }
  return Append(event);
}

absl::Status TensorBoardWriter::AddText(const std::string& tag, int64_t step, absl::Time time,
                                        const std::string& markdown) {
  tensorboard::Event event = EventAt(time);
  event.set_step(step);
  tensorboard::Summary::Value& value = *event.mutable_summary()->add_value();
  value.set_tag(tag);
  value.mutable_metadata()->mutable_plugin_data()->set_plugin_name(kTextPlugin);
  tensorboard::TensorProto& tensor = *value.mutable_tensor();
  tensor.set_dtype(tensorboard::DT_STRING);
  tensor.mutable_tensor_shape();  // written though empty: a scalar, which the dashboard shows without a table around it
  tensor.add_string_val(markdown);
  return Append(event);
}

absl::Status TensorBoardWriter::Append(const tensorboard::Event& event) {
  const std::string record = TfRecord(event.SerializeAsString());
  if (const int error = WriteAll(file_, record); error != 0) {
    // Half a record would make all that follow it unreadable.
    if (::ftruncate(file_, size_bytes_) != 0) return FileError("take back half a record", errno);
    return FileError("write", error);
  }
  size_bytes_ += static_cast<int64_t>(record.size());
  return absl::OkStatus();
}

}  // namespace graft

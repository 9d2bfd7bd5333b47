#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace graft {

namespace tensorboard {
class Event;
}  // namespace tensorboard

// Writes one TensorBoard event file: a run of TFRecords (length, masked CRC-32C, Event).
//
// Each Add is one record, in the file when it returns, so that TensorBoard shows it live; it is not synced to the disk.
// An Add that fails leaves the file as it was, and later ones may succeed.
//
// Threads: one call at a time.
// Source:  tensorflow/core/lib/io/record_writer.h and tensorflow/core/util/events_writer.cc (format);
//          proto/tensorboard/event.proto.
class TensorBoardWriter {
 public:
  // Makes `directory` and a new file DIRECTORY/events.out.tfevents.SECONDS.graft[.N] in it. A resumed job goes on in a
  // new file: TensorBoard merges the files of a directory in the order of their names.
  //   ResourceExhausted  no space left
  //   Internal           the directory or the file cannot be made otherwise
  static absl::StatusOr<std::unique_ptr<TensorBoardWriter>> Open(const std::string& directory, absl::Time now);

  ~TensorBoardWriter();
  TensorBoardWriter(const TensorBoardWriter&) = delete;
  TensorBoardWriter& operator=(const TensorBoardWriter&) = delete;

  // One point of several curves: tag ("loss/train", UTF-8) -> value, which is rounded to a float; NaN and infinities
  // are written as they are.
  //   ResourceExhausted  no space left
  //   Internal           it cannot be written otherwise
  absl::Status AddScalars(int64_t step, absl::Time time, const std::vector<std::pair<std::string, double>>& values);
  // A text for the Text dashboard, UTF-8. Errors as AddScalars().
  absl::Status AddText(const std::string& tag, int64_t step, absl::Time time, const std::string& markdown);

 private:
  explicit TensorBoardWriter(int file) : file_(file) {}
  absl::Status Append(const tensorboard::Event& event);

  const int file_;
  int64_t size_bytes_ = 0;  // of the whole records
};

}  // namespace graft

#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace graft {

// The newest training state of each running job: DIR/JOB_ID.state, replaced atomically, so that a killed process finds
// the old or the new one whole.
//
// Threads: safe, one job at a time for each thread.
class StateFiles {
 public:
  //   Internal  the directory cannot be made
  static absl::StatusOr<StateFiles> Open(std::string directory);

  // Durable on return.
  //   ResourceExhausted  no space left
  //   Internal           it cannot be written otherwise
  absl::Status Write(const std::string& job_id, absl::string_view state) const;
  // Empty when there is none.   Internal: it cannot be read
  absl::StatusOr<std::string> Read(const std::string& job_id) const;
  void Remove(const std::string& job_id) const;
  // Ids of the jobs that have a state; removes what a killed Write left behind.
  std::vector<std::string> Jobs() const;

 private:
  explicit StateFiles(std::string directory) : directory_(std::move(directory)) {}
  std::string Path(const std::string& job_id) const;

  std::string directory_;
};

}  // namespace graft

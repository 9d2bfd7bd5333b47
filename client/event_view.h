#pragma once

#include <cstdint>
#include <ostream>
#include <string>

#include "client/render.h"
#include "graft/v1/job.pb.h"

namespace graft {

// A line that redraws itself at the foot of a terminal.
//
// Threads:  one at a time.
// Lifetime: `out` outlives it; the destructor clears the line.
class StatusLine {
 public:
  StatusLine(std::ostream& out, int width) : out_(out), width_(width) {}
  ~StatusLine() { Clear(); }
  StatusLine(const StatusLine&) = delete;
  StatusLine& operator=(const StatusLine&) = delete;

  void Show(const ProgressBar& bar);
  // Removes it, so that other lines can be written.
  void Clear();

 private:
  std::ostream& out_;
  const int width_;
  std::string shown_;
};

// Shows a job's events as they come: on a terminal progress is a bar that the next line replaces, elsewhere a line for
// every tenth of the way.
//
// Threads:  one at a time.
// Lifetime: `out` outlives it.
class EventView {
 public:
  struct Options {
    bool terminal = false;
    int width = 80;
  };

  EventView(std::ostream& out, Options options)
      : out_(out), options_(options), status_line_(out, options.width) {}

  void Show(const v1::JobEvent& event);

 private:
  void ShowProgress(const v1::JobEvent& event);
  void Print(const v1::JobEvent& event);

  std::ostream& out_;
  const Options options_;
  StatusLine status_line_;
  std::string last_activity_;  // of the plain progress line written last, and its tenths
  int64_t last_tenths_ = -1;
};

}  // namespace graft

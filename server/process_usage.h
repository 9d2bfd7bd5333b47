#pragma once

#include <cstdint>

namespace graft {

// What this process has used so far.
struct ProcessUsage {
  double cpu_seconds = 0;      // user and system, all threads
  int64_t resident_bytes = 0;  // now; 0 when /proc does not say
};
ProcessUsage ReadProcessUsage();

}  // namespace graft

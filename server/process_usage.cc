#include "server/process_usage.h"

#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include <fstream>

namespace graft {
namespace {

double Seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
}

}  // namespace

ProcessUsage ReadProcessUsage() {
  ProcessUsage usage;
  rusage times = {};
  if (::getrusage(RUSAGE_SELF, &times) == 0) usage.cpu_seconds = Seconds(times.ru_utime) + Seconds(times.ru_stime);
  int64_t total_pages = 0, resident_pages = 0;
  std::ifstream statm("/proc/self/statm");
  if (statm >> total_pages >> resident_pages) usage.resident_bytes = resident_pages * ::sysconf(_SC_PAGESIZE);
  return usage;
}

}  // namespace graft

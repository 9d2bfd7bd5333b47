#include "worker/device/memory.h"

#include <cstddef>

// jemalloc's, where the program has it: only programs link it, and no sanitizer's build does.
extern "C" int mallctl(const char* name, void* old_value, size_t* old_bytes, void* new_value, size_t new_bytes)
    __attribute__((weak));

namespace graft {

void ReleaseFreedMemory() {
  // 4096 is MALLCTL_ARENAS_ALL. Source: jemalloc(3), arena.<i>.purge
  if (mallctl != nullptr) mallctl("arena.4096.purge", nullptr, nullptr, nullptr, 0);
}

}  // namespace graft

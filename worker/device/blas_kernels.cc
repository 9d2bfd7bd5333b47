#include "worker/device/blas_kernels.h"

#include <climits>
#include <cstdlib>
#include <unistd.h>

// Absent with another BLAS.
extern "C" __attribute__((weak)) const char* openblas_get_corename();

namespace graft {
namespace {

constexpr char kVariable[] = "OPENBLAS_CORETYPE";

#if defined(__x86_64__)
bool HasAvx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
bool HasAvx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512cd");
}
#else
bool HasAvx2() { return false; }
bool HasAvx512() { return false; }
#endif

}  // namespace

std::string BlasCore() { return openblas_get_corename == nullptr ? "" : openblas_get_corename(); }

std::string FasterBlasCore(const std::string& core, bool has_avx2, bool has_avx512) {
  if (core != "Prescott") return "";
  if (has_avx512) return "SkylakeX";
  return has_avx2 ? "Haswell" : "";
}

void UseFastBlasKernels(char** argv) {
  if (std::getenv(kVariable) != nullptr) return;
  const std::string core = FasterBlasCore(BlasCore(), HasAvx2(), HasAvx512());
  char program[PATH_MAX];
  const ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 1);
  if (core.empty() || length <= 0) return;
  program[length] = '\0';
  setenv(kVariable, core.c_str(), 1);
  execv(program, argv);
  unsetenv(kVariable);  // it goes on with what it has
}

}  // namespace graft

#pragma once

#include <string>

namespace graft {

// OpenBLAS picks its kernels by the CPU's model when it is loaded; on a model that is newer than the library it takes
// those of the first 64-bit CPUs, which are several times slower, whatever instructions the CPU has. Starts the program
// again, with better ones chosen in the environment (OPENBLAS_CORETYPE), when that has happened and the user has chosen
// none. The first call of main(): it does not return then. Does nothing with another BLAS.
void UseFastBlasKernels(char** argv);

// The OPENBLAS_CORETYPE to ask for where OpenBLAS chose `core` by itself; empty: leave it.
std::string FasterBlasCore(const std::string& core, bool has_avx2, bool has_avx512);

// OpenBLAS's kernels in use ("SkylakeX"); empty with another BLAS.
std::string BlasCore();

}  // namespace graft

#include "worker/device/threads.h"

#include <torch/torch.h>
#include <torch/version.h>

// OpenBLAS's own pool is not OpenMP's; absent with another BLAS.
extern "C" __attribute__((weak)) void openblas_set_num_threads(int);

namespace graft {

void UseOneIntraOpThread() {
  at::set_num_threads(1);
  if (openblas_set_num_threads != nullptr) openblas_set_num_threads(1);
}

std::string LibTorchVersion() { return TORCH_VERSION; }

}  // namespace graft

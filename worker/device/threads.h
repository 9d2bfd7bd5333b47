#pragma once

#include <string>

namespace graft {

// Gives the calling thread one intra-op thread in LibTorch, OpenMP and OpenBLAS: parallelism is many single-threaded
// workers, since an OpenMP team over all cores collapses as soon as another thread runs. Every thread that computes
// calls it first; the process's first call must come before any worker starts.
void UseOneIntraOpThread();

std::string LibTorchVersion();

}  // namespace graft

#pragma once

namespace graft {

// Gives memory that has been freed back to the kernel. Programs keep it by default (jemalloc_options.cc), which suits a
// server's steady batches; after a training job it is worth the page faults. Does nothing without jemalloc.
void ReleaseFreedMemory();

}  // namespace graft

// What programs tell jemalloc when they start (graft_use_jemalloc in cmake/GraftTargets.cmake). A forward pass frees its
// activations and allocates the same again for the next batch: freed pages stay, or each pass pays for page faults, up
// to half of its time (docs/adr/0016-freed-memory-stays.md). ReleaseFreedMemory() gives them back.
extern "C" {
const char* malloc_conf = "dirty_decay_ms:-1,muzzy_decay_ms:-1";
}

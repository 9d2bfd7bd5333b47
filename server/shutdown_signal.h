#pragma once

namespace graft {

// SIGTERM and SIGINT from now on ask the process to stop instead of killing it; a second one ends it at once with
// status 128 + its number. SIGPIPE is ignored: a peer that went away is an error of its call.
//
// A handler and not sigwait(): OpenBLAS starts threads before main(), which nobody can make block signals.
void CatchShutdownSignals();
// Returns the number of the first signal, also when it came before the call.
int WaitForShutdownSignal();

}  // namespace graft

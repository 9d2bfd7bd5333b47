#pragma once

#include <utility>

#include <c10/util/Exception.h>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace graft {

// The Status of an exception that LibTorch threw while doing `what`.
//   ResourceExhausted  out of memory;  Internal  anything else
absl::Status TorchError(absl::string_view what, const std::exception& error);

// Runs `fn`, which may call LibTorch, and returns its Status; what it throws becomes one. The only place that catches
// LibTorch's exceptions.
template <typename Fn>
absl::Status TryTorch(absl::string_view what, Fn&& fn) {
  try {
    return std::forward<Fn>(fn)();
  } catch (const std::exception& error) {
    return TorchError(what, error);
  }
}

}  // namespace graft

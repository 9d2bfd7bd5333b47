#pragma once

#include <functional>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace graft {

// Runs `fn`, which calls OpenCV: the only place that catches its exceptions.
//   InvalidArgument    OpenCV threw: "image: cannot <what>: ..."
//   ResourceExhausted  it is out of memory
absl::Status TryOpenCv(absl::string_view what, const std::function<void()>& fn);

}  // namespace graft

#include "worker/backbone/torch_status.h"

#include <new>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace graft {

absl::Status TorchError(absl::string_view what, const std::exception& error) {
  const auto* c10_error = dynamic_cast<const c10::Error*>(&error);
  const std::string message = c10_error != nullptr ? c10_error->what_without_backtrace() : error.what();
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr || absl::StrContains(message, "out of memory") ||
      absl::StrContains(message, "can't allocate memory")) {
    return absl::ResourceExhaustedError(absl::StrCat(what, ": out of memory"));
  }
  return absl::InternalError(absl::StrCat(what, ": ", message));
}

}  // namespace graft

#include "worker/device/threads.h"

namespace graft {
namespace {

// Before main(), as LibTorch wants it: results of several intra-op threads differ in rounding.
[[maybe_unused]] const bool kDone = (UseOneIntraOpThread(), true);

}  // namespace
}  // namespace graft

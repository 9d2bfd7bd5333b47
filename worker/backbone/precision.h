#pragma once

#include <ATen/core/Tensor.h>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace graft {

// What the layers of a network compute in. Weights that are trained stay float32 in all of them.
enum class Precision {
  kAuto,      // kBfloat16 where the device computes it natively, else kFloat32
  kFloat32,
  kBfloat16,  // elsewhere it is emulated, and slower than float32
  kFloat16,   // CUDA only
};

// kAuto decided for a device; the others as they are.
//   FailedPrecondition  "precision: got float16, want auto, float32 or bfloat16 on the device cpu"
absl::StatusOr<Precision> ResolvePrecision(Precision asked, const at::Device& device);

at::ScalarType ScalarTypeOf(Precision precision);  // not of kAuto
absl::string_view PrecisionName(Precision precision);

// While it lives, the calling thread's convolutions and matrix products on `device` compute in `precision`, from weights
// that stay float32 (torch.autocast).
class AutocastScope {
 public:
  AutocastScope(Precision precision, const at::Device& device);
  ~AutocastScope();
  AutocastScope(const AutocastScope&) = delete;
  AutocastScope& operator=(const AutocastScope&) = delete;

 private:
  void Set(bool on, at::ScalarType type) const;

  const bool cuda_, outer_on_;
  const at::ScalarType outer_type_;
};

}  // namespace graft

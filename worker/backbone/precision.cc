#include "worker/backbone/precision.h"

#include <ATen/autocast_mode.h>
#include <torch/torch.h>

#include "absl/strings/str_cat.h"
#include "worker/base/status.h"

namespace graft {
namespace {

bool CpuHasBfloat16() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512bf16") != 0 && at::hasMKLDNN();
#else
  return false;
#endif
}

// LibTorch tells the device's abilities without CUDA's own headers by this alone: compute capability 8 and more.
bool CudaHasBfloat16() { return at::detail::getCUDAHooks().supportsBFloat16ConvolutionWithCuDNNv8(); }

}  // namespace

absl::StatusOr<Precision> ResolvePrecision(Precision asked, const at::Device& device) {
  const bool bfloat16 = device.is_cuda() ? CudaHasBfloat16() : CpuHasBfloat16();
  if (asked == Precision::kAuto) return bfloat16 ? Precision::kBfloat16 : Precision::kFloat32;
  if (asked == Precision::kFloat16 && !device.is_cuda()) {
    return absl::FailedPreconditionError(
        absl::StrCat("precision: got float16, want auto, float32 or bfloat16 on the device ", device.str()));
  }
  return asked;
}

at::ScalarType ScalarTypeOf(Precision precision) {
  switch (precision) {
    case Precision::kAuto: break;
    case Precision::kFloat32: return at::kFloat;
    case Precision::kBfloat16: return at::kBFloat16;
    case Precision::kFloat16: return at::kHalf;
  }
  GRAFT_CHECK(false);
  return at::kFloat;
}

absl::string_view PrecisionName(Precision precision) {
  switch (precision) {
    case Precision::kAuto: return "auto";
    case Precision::kFloat32: return "float32";
    case Precision::kBfloat16: return "bfloat16";
    case Precision::kFloat16: return "float16";
  }
  GRAFT_CHECK(false);
  return "";
}

AutocastScope::AutocastScope(Precision precision, const at::Device& device)
    : cuda_(device.is_cuda()), outer_on_(cuda_ ? at::autocast::is_enabled() : at::autocast::is_cpu_enabled()),
      outer_type_(cuda_ ? at::autocast::get_autocast_gpu_dtype() : at::autocast::get_autocast_cpu_dtype()) {
  const bool on = precision != Precision::kFloat32;
  Set(on, on ? ScalarTypeOf(precision) : outer_type_);
  at::autocast::increment_nesting();
}

AutocastScope::~AutocastScope() {
  if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();  // of the weights' lower copies
  Set(outer_on_, outer_type_);
}

void AutocastScope::Set(bool on, at::ScalarType type) const {
  if (cuda_) {
    at::autocast::set_autocast_gpu_dtype(type);
    at::autocast::set_enabled(on);
  } else {
    at::autocast::set_autocast_cpu_dtype(type);
    at::autocast::set_cpu_enabled(on);
  }
}

}  // namespace graft

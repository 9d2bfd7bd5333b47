#pragma once

#include <cstddef>
#include <cstdint>

#include "worker/backbone/safetensors.h"

namespace graft {

// Reads every byte of every tensor, so that AddressSanitizer sees a view that is not its own.
inline uint64_t SumOfBytes(const SafeTensors& file) {
  uint64_t sum = 0;
  for (const auto& [name, tensor] : file.tensors) {
    const auto* bytes = static_cast<const uint8_t*>(tensor.data_ptr());
    for (size_t i = 0; i < tensor.nbytes(); ++i) sum += bytes[i];
  }
  return sum;
}

}  // namespace graft

#include "worker/data/sampler.h"

#include <numeric>
#include <random>
#include <utility>

namespace graft {

std::vector<int64_t> ShuffledIndices(int64_t count, uint64_t seed, uint64_t phase, uint64_t epoch) {
  std::seed_seq mixed{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32), static_cast<uint32_t>(phase),
                      static_cast<uint32_t>(epoch)};
  std::mt19937_64 random(mixed);
  std::vector<int64_t> indices(count);
  std::iota(indices.begin(), indices.end(), 0);
  for (int64_t i = count - 1; i > 0; --i) {
    // Not std::uniform_int_distribution: its results differ between standard libraries. The modulo's bias is < 2^-40.
    std::swap(indices[i], indices[random() % static_cast<uint64_t>(i + 1)]);
  }
  return indices;
}

}  // namespace graft

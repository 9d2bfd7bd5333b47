#pragma once

#include <cstdint>
#include <vector>

namespace graft {

// A permutation of [0, count) that depends on nothing but its arguments, so that an epoch can be repeated or resumed
// without stored random state. Source: Fisher-Yates over std::mt19937_64 (its sequence is fixed by the C++ standard).
std::vector<int64_t> ShuffledIndices(int64_t count, uint64_t seed, uint64_t phase, uint64_t epoch);

}  // namespace graft

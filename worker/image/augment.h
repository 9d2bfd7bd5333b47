#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"
#include "worker/image/augment_spec.h"
#include "worker/image/image.h"
#include "worker/image/preprocess.h"

namespace graft {

// Writes one random view of a picture to `out`: float32 [crop_px, crop_px, 3], normalised, as Preprocess() does. In
// this order: random resized crop (off: the evaluation's resize and crop), flips, affine, RandAugment or
// TrivialAugment, colour jitter, grey, normalising, erasing. Both specs are valid and `image` is not empty.
//
// The same picture, specs and seed give the same view on every thread. Each step draws from a stream of its own, so
// that switching one on leaves the others' draws as they were. With a spec that varies nothing the result is
// Preprocess()'s, byte for byte.
//
// Threads: safe for concurrent calls.
void Augment(const Image& image, const AugmentSpec& spec, const PreprocessSpec& preprocessing, uint64_t seed,
             float* out);

// The seed of one view of a picture, from a job's seed, the picture's id and the view's number: FNV-1a of the id, mixed
// in by splitmix64. Views of one picture never share a seed.
uint64_t ViewSeed(uint64_t seed, absl::string_view id, int64_t view);

}  // namespace graft

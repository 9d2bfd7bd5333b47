#pragma once

#include <string>

#include "worker/backbone/precision.h"
#include "worker/data/dataset.h"
#include "worker/train/trainer.h"

namespace graft {

// Of everything that the trained weights depend on: states of equal fingerprints can go on in each other's place.
std::string Fingerprint(const TrainOptions& options, const Dataset& data, int pool_size, Precision precision);

}  // namespace graft
